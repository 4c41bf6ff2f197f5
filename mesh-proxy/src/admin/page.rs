//! The page to look at: plain HTML, without a script.

use crate::Engine;
use std::fmt::{self, Write as _};

/// What a browser may do with it: show it.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}\
     table{border-collapse:collapse;margin:1em 0}td,th{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #ddd}\
     .out{color:#a00}";

/// Text in HTML, in an element or an attribute.
struct Escaped<T>(T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string().chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// What runs, in tables, with links to the rest.
pub(super) fn page(engine: &Engine, links: &[&str]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>mesh</title><style>{STYLE}</style>\n\
         <h1>mesh {}</h1><p>{}</p>\n<p>",
        env!("CARGO_PKG_VERSION"),
        if engine.is_draining() { "It ends after the requests in flight." } else { "Ready." }
    );
    for link in links {
        let _ = write!(html, "<a href=\"{0}\">{0}</a> ", Escaped(link));
    }
    html.push_str("</p>\n<h2>Listeners</h2><table><tr><th>name<th>address<th>layers<th>routes\n");
    for listener in engine.listener_status() {
        let relay = listener.cluster.iter().map(|cluster| format!("→ {cluster}"));
        let routes = listener.routes.iter().map(|route| match route.status {
            Some(status) => format!("{} → {} {status}", route.name, route.action),
            None => format!("{} → {}", route.name, route.clusters.join(" | ")),
        });
        let routes: Vec<String> = relay.chain(routes).collect();
        let _ = writeln!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}",
            Escaped(&listener.name),
            Escaped(&listener.address),
            Escaped(listener.pipeline.join(", ")),
            Escaped(routes.join(", "))
        );
    }
    html.push_str("</table>\n<h2>Clusters</h2><table><tr><th>name<th>endpoint<th>in flight<th>picks<th>failures<th>\n");
    for cluster in engine.clusters() {
        if cluster.endpoints.is_empty() {
            let _ = writeln!(html, "<tr><td>{}<td class=out>no endpoint<td><td><td><td>", Escaped(&cluster.name));
        }
        for endpoint in &cluster.endpoints {
            let reasons: Vec<&str> = endpoint.out_because.iter().map(|reason| reason.reason).collect();
            let _ = writeln!(
                html,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td class=out>{}",
                Escaped(&cluster.name),
                Escaped(&endpoint.address),
                endpoint.in_flight,
                endpoint.picks,
                endpoint.failures,
                Escaped(reasons.join(", "))
            );
        }
    }
    html.push_str("</table></html>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn text_stays_text() {
        assert_eq!(Escaped("<b a='x\"'>&").to_string(), "&lt;b a=&#39;x&quot;&#39;&gt;&amp;");
    }
}
