use super::{CallBody, template::variable};
use crate::{Attribute, Scope};

/// The attributes of HTTP requests beside the common ones; `NAME` stands for any name.
pub const KNOWN_ATTRIBUTES: [&str; 12] = [
    "peer.address",
    "peer.uid",
    "peer.identity",
    "service",
    "method",
    "metadata.NAME",
    "path",
    "host",
    "query.NAME",
    "cookie.NAME",
    "path.NAME",
    "template",
];

type Request<B> = http::Request<CallBody<B>>;

/// An attribute of HTTP requests: the common ones, `path` (without the query), `host` (without the port), `query.NAME`
/// (as it was sent, percent signs and all), `cookie.NAME`; and of the route that was chosen `template`, the path's, and
/// `path.NAME`, what a variable of it stands for. `None` for any other path.
pub fn http_attribute<B: 'static>(path: &str) -> Option<Attribute<Request<B>>> {
    if let Some(common) = Attribute::common(path) {
        return Some(common);
    }
    match path.split_once('.') {
        None if path == "path" => Some(Attribute::new(path, Scope::Request, |request: &Request<B>, visit| {
            visit(request.uri().path().as_bytes());
        })),
        None if path == "host" => Some(Attribute::new(path, Scope::Request, |request: &Request<B>, visit| {
            visit(super::view::host(request).as_bytes());
        })),
        None if path == "template" => Some(Attribute::new(path, Scope::Route, |request: &Request<B>, visit| {
            let template = request.body().context().template();
            if !template.is_none() {
                visit(template.as_str().as_bytes());
            }
        })),
        Some(("path", name)) if !name.is_empty() => {
            let name = name.to_owned();
            Some(Attribute::new(path, Scope::Route, move |request: &Request<B>, visit| {
                let template = request.body().context().template();
                if let Some(value) = variable(template.as_str(), request.uri().path(), &name) {
                    visit(value.as_bytes());
                }
            }))
        }
        Some(("query", name)) if !name.is_empty() => {
            let name = name.to_owned();
            Some(Attribute::new(path, Scope::Request, move |request: &Request<B>, visit| {
                let pairs = request.uri().query().unwrap_or("").split('&');
                named(pairs, &name).for_each(|value| visit(value.as_bytes()));
            }))
        }
        Some(("cookie", name)) if !name.is_empty() => {
            let name = name.to_owned();
            Some(Attribute::new(path, Scope::Request, move |request: &Request<B>, visit| {
                let headers = request.headers().get_all(http::header::COOKIE);
                for header in headers.iter().filter_map(|value| value.to_str().ok()) {
                    named(header.split(';').map(str::trim_start), &name).for_each(|value| visit(value.as_bytes()));
                }
            }))
        }
        _ => None,
    }
}

fn named<'a>(pairs: impl Iterator<Item = &'a str>, name: &str) -> impl Iterator<Item = &'a str> {
    pairs.filter_map(move |pair| match pair.split_once('=') {
        Some((present, value)) => (present == name).then_some(value),
        None => (pair == name && !pair.is_empty()).then_some(""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Name, Nanos, Peer};
    use std::sync::Arc;

    #[test]
    fn values() {
        let peer = Peer { address: Some("[::1]:5".parse().unwrap()), ..Peer::UNKNOWN };
        let context = Context::begin(Nanos::from_nanos(1), Some(Arc::new(peer)));
        let of_the_call = context.clone();
        let request = http::Request::get("/a/b?x=1&y&x=2%20")
            .header("host", "shop:80")
            .header("cookie", "a=1; id=7")
            .header("cookie", "id=8")
            .body(CallBody::new(context, ()))
            .unwrap();
        let values = |path: &str| {
            let mut values = Vec::new();
            let attribute = http_attribute::<()>(path).expect(path);
            attribute.visit(&request, &mut |value| values.push(String::from_utf8_lossy(value).into_owned()));
            values
        };
        assert_eq!(values("path"), ["/a/b"]);
        assert_eq!(values("host"), ["shop"]);
        assert_eq!(values("query.x"), ["1", "2%20"]);
        assert_eq!(values("query.y"), [""]);
        assert_eq!(values("query.z"), [""; 0]);
        assert_eq!(values("cookie.id"), ["7", "8"]);
        assert_eq!(values("metadata.Host"), ["shop:80"]);
        assert_eq!(values("peer.address"), ["::1"]);
        assert_eq!(values("peer.uid"), [""; 0]);
        assert_eq!(values("method"), ["GET"]);
        assert_eq!((values("template"), values("path.id")), (vec![], vec![]));
        of_the_call.set_template(Name::intern("/a/{id}"));
        assert_eq!((values("template"), values("path.id")), (vec!["/a/{id}".into()], vec!["b".into()]));
        assert_eq!(values("path.other"), [""; 0]);
        assert_eq!(http_attribute::<()>("path.id").unwrap().scope(), Scope::Route);
        assert!(http_attribute::<()>("pth").is_none() && http_attribute::<()>("query.").is_none());
    }
}
