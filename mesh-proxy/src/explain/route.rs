//! A route in one line: what it takes, and what it does.

use crate::spec::{
    ActionSpec, DubboMatchSpec, HeaderOps, HostPattern, MatchSpec, PathPattern, RedirectSpec, RouteSpec, StringMatcher,
};

pub(super) fn line(route: &RouteSpec) -> String {
    let mut line = format!("route {}: {} → {}", route.name, conditions(route), action(&route.action));
    for change in changes(route) {
        line.push_str(", ");
        line.push_str(&change);
    }
    line
}

pub(super) fn conditions(route: &RouteSpec) -> String {
    let conditions = match &route.dubbo {
        Some(matches) => of_calls(matches),
        None => of_requests(&route.matches),
    };
    if conditions.is_empty() { "everything".into() } else { conditions.join(", ") }
}

fn of_calls(matches: &DubboMatchSpec) -> Vec<String> {
    let mut conditions: Vec<String> = matches.service.iter().map(|service| format!("service {service}")).collect();
    for (name, value) in [("method", &matches.method), ("version", &matches.version), ("group", &matches.group)] {
        conditions.extend(value.iter().map(|value| format!("{name} {}", matcher(value))));
    }
    for (kind, values) in [("attachment", &matches.attachments), ("argument", &matches.arguments)] {
        conditions.extend(values.iter().map(|(name, value)| format!("{kind} {name} {}", matcher(value))));
    }
    conditions
}

fn of_requests(matches: &MatchSpec) -> Vec<String> {
    let mut conditions = Vec::new();
    match &matches.host {
        Some(HostPattern::Exact(host)) => conditions.push(format!("host {host}")),
        Some(HostPattern::Below(domain)) => conditions.push(format!("host *{domain}")),
        None => {}
    }
    match &matches.path {
        Some(PathPattern::Exact(path)) => conditions.push(format!("path = {}", path.0)),
        Some(PathPattern::Prefix(path)) => conditions.push(format!("path {}…", path.0)),
        Some(PathPattern::Template(template)) => conditions.push(format!("path {template}")),
        Some(PathPattern::Regex(pattern)) => conditions.push(format!("path ~ {}", pattern.as_str())),
        None => {}
    }
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(http::Method::as_str).collect();
        conditions.push(methods.join("|"));
    }
    conditions.extend(matches.headers.iter().map(|(name, value)| format!("header {name} {}", matcher(value))));
    conditions.extend(matches.query.iter().map(|(name, value)| format!("query {name} {}", matcher(value))));
    conditions
}

fn matcher(matcher: &StringMatcher) -> String {
    match matcher {
        StringMatcher::Exact(text) => format!("= {text}"),
        StringMatcher::Prefix(text) => format!("{text}…"),
        StringMatcher::Suffix(text) => format!("…{text}"),
        StringMatcher::Regex(pattern) => format!("~ {}", pattern.as_str()),
        StringMatcher::Present(true) => "present".into(),
        StringMatcher::Present(false) => "absent".into(),
    }
}

fn action(action: &ActionSpec) -> String {
    match action {
        ActionSpec::Cluster(cluster) => format!("cluster {}", cluster.value),
        ActionSpec::Split(split) => {
            let total: u64 = split.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
            let parts = split.0.iter().map(|(cluster, weight)| format!("{} {weight}/{total}", cluster.value));
            format!("split {}", parts.collect::<Vec<_>>().join(", "))
        }
        ActionSpec::Redirect(redirect) => format!("redirect {} to {}", redirect.status.as_u16(), place(redirect)),
        ActionSpec::Respond(respond) => {
            format!("respond {} with {} bytes", respond.status.as_u16(), respond.body.len())
        }
    }
}

/// What stays as the client used it is in brackets.
fn place(redirect: &RedirectSpec) -> String {
    let scheme = redirect.scheme.map_or("<scheme>", |scheme| scheme.as_str());
    let host = redirect.host.as_ref().map_or("<host>", |host| host.as_str());
    let path = redirect.path.as_ref().map_or("<path>".into(), ToString::to_string);
    match (redirect.scheme, &redirect.host) {
        (None, None) => path,
        _ => format!("{scheme}://{host}{}{path}", if path.starts_with('/') { "" } else { "/" }),
    }
}

fn changes(route: &RouteSpec) -> Vec<String> {
    let mut changes = Vec::new();
    changes.extend(route.rewrite.prefix.as_ref().map(|prefix| format!("prefix becomes {}", prefix.0)));
    changes.extend(route.rewrite.host.as_ref().map(|host| format!("host becomes {host}")));
    let mut headers = |of: &str, ops: &HeaderOps| {
        let names = |fields: &[(http::HeaderName, http::HeaderValue)]| {
            fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let removed: Vec<&str> = ops.remove.iter().map(http::HeaderName::as_str).collect();
        // values may be secrets
        for (what, names) in [("removed", removed.join(" ")), ("set", names(&ops.set)), ("added", names(&ops.add))] {
            if !names.is_empty() {
                changes.push(format!("{names} {what} in the {of}"));
            }
        }
    };
    headers("request", &route.headers.request);
    headers("response", &route.headers.response);
    changes
}
