use super::CallBody;
use crate::{Attribute, Scope};

/// The attributes of HTTP requests beside the common ones; `NAME` stands for any name.
pub const KNOWN_ATTRIBUTES: [&str; 10] = [
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
];

type Request<B> = http::Request<CallBody<B>>;

/// An attribute of HTTP requests: the common ones, `path` (without the query), `host` (without the port), `query.NAME`
/// (as it was sent, percent signs and all), `cookie.NAME`. `None` for any other path.
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
    use crate::{Context, Nanos, Peer};
    use std::sync::Arc;

    #[test]
    fn values() {
        let peer = Peer { address: Some("[::1]:5".parse().unwrap()), ..Peer::UNKNOWN };
        let context = Context::begin(Nanos::from_nanos(1), Some(Arc::new(peer)));
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
        assert!(http_attribute::<()>("pth").is_none() && http_attribute::<()>("query.").is_none());
    }
}
