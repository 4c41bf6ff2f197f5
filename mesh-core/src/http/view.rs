use super::{CallBody, GovernedBody};
use crate::{Code, Context, Head, HttpHead, Nanos, Outcome, RequestView};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONTENT_TYPE, HOST},
};
use http_body::Body;
use std::time::Duration;

pub(crate) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Whether a message is gRPC: its content type is `application/grpc`, alone or with a suffix.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let Some(rest) = value.as_bytes().strip_prefix(b"application/grpc") else { return false };
        // `application/grpc-web` is another protocol, over any HTTP
        rest.is_empty() || matches!(rest[0], b'+' | b';')
    })
}

/// A `grpc-timeout`: one to eight digits and a unit, `H M S m u n`.
pub fn parse_grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The deadline that a request's `grpc-timeout` sets, for a request that arrived at `arrived`.
pub fn deadline_from_grpc_timeout(headers: &HeaderMap, arrived: Nanos) -> Option<Nanos> {
    static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
    let timeout = parse_grpc_timeout(headers.get(&GRPC_TIMEOUT)?.as_bytes())?;
    Some(arrived.plus(timeout))
}

impl<B> RequestView for http::Request<CallBody<B>> {
    fn service(&self) -> &str {
        if let Some((service, _)) = grpc_path(self) {
            return service;
        }
        host(self)
    }

    fn method(&self) -> &str {
        match grpc_path(self) {
            Some((_, method)) => method,
            None => http::Request::method(self).as_str(),
        }
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers().get(name).map(HeaderValue::as_bytes)
    }

    fn get_all(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
        self.headers().get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    #[inline]
    fn get_several<'a>(&'a self, names: &[&str], visit: &mut dyn FnMut(usize, &'a [u8])) {
        // most names are told apart by their length alone; to look one up by its text costs as much as to pass 20
        let lengths = names.iter().fold(0_u64, |lengths, name| lengths | 1 << (name.len() & 63));
        for (name, value) in self.headers() {
            let name = name.as_str();
            if lengths >> (name.len() & 63) & 1 != 0
                && let Some(place) = names.iter().position(|one| *one == name)
            {
                visit(place, value.as_bytes());
            }
        }
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        set(self.headers_mut(), name, value);
    }

    fn remove(&mut self, name: &str) {
        self.headers_mut().remove(name);
    }

    fn context(&self) -> &Context {
        self.body().context()
    }

    fn http(&self) -> Option<HttpHead<'_>> {
        let uri = self.uri();
        let authority = match uri.authority() {
            // without a name and password
            Some(authority) => authority.as_str().rsplit('@').next().unwrap_or(""),
            None => host_field(self.headers()).and_then(|host| host.to_str().ok()).unwrap_or(""),
        };
        Some(HttpHead {
            method: http::Request::method(self).as_str(),
            scheme: uri.scheme_str(),
            authority,
            path: uri.path(),
            query: uri.query(),
            version: match self.version() {
                Version::HTTP_09 => "0.9",
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                Version::HTTP_3 => "3",
                _ => "1.1",
            },
            is_grpc: is_grpc(self.headers()),
        })
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Service and method of a gRPC request: `/package.Service/Method`.
fn grpc_path<B>(request: &http::Request<B>) -> Option<(&str, &str)> {
    if !is_grpc(request.headers()) {
        return None;
    }
    let (service, method) = request.uri().path().strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

/// The host asked for, without its port. The absolute form wins over the header.
pub fn host<B>(request: &http::Request<B>) -> &str {
    if let Some(host) = request.uri().host() {
        return host;
    }
    let value = host_field(request.headers()).and_then(|value| value.to_str().ok()).unwrap_or("");
    match value.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => value,
    }
}

/// The first `host`. Most who send one do so first of all: it is at hand, where to look it up costs a hash.
#[inline]
fn host_field(headers: &HeaderMap) -> Option<&HeaderValue> {
    match headers.iter().next() {
        Some((name, value)) if *name == HOST => Some(value),
        _ => headers.get(HOST),
    }
}

/// What a gRPC status says.
pub(crate) fn grpc_code(value: &HeaderValue) -> Code {
    // anything that is no number is *unknown*, as gRPC clients take it
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    Code::Grpc(number.unwrap_or(2))
}

impl<B: Body> Head for http::Response<GovernedBody<B>> {
    fn outcome(&self) -> Option<Outcome> {
        self.outcome_and_code().0
    }

    /// The HTTP status, or the gRPC one of an answer without a body.
    fn code(&self) -> Code {
        self.outcome_and_code().1
    }

    fn outcome_and_code(&self) -> (Option<Outcome>, Code) {
        let http = Code::Http(http::Response::status(self).as_u16());
        if self.body().is_not_grpc() || !is_grpc(self.headers()) {
            return (Some(http.outcome()), http);
        }
        match self.headers().get(&GRPC_STATUS) {
            Some(status) => {
                let code = grpc_code(status);
                (Some(code.outcome()), code)
            }
            // the trailers will tell
            None if http == Code::Http(200) => (None, http),
            None => (Some(http.outcome()), http),
        }
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers().get(name).map(HeaderValue::as_bytes)
    }

    fn set(&mut self, name: &'static str, value: &[u8]) {
        set(self.headers_mut(), name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("", None),
        ] {
            assert_eq!(parse_grpc_timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn service_and_method() {
        let request = |uri: &str, content_type: &str| {
            let request = http::Request::post(uri).header("content-type", content_type).header("host", "Orders:80");
            request.body(CallBody::new(Context::none(), ())).unwrap()
        };
        let grpc = request("/demo.Echo/Say", "application/grpc+proto");
        assert_eq!((grpc.service(), RequestView::method(&grpc)), ("demo.Echo", "Say"));
        let web = request("/demo.Echo/Say", "application/grpc-web");
        assert_eq!((web.service(), RequestView::method(&web)), ("Orders", "POST"));
        let absolute = request("http://other:81/x", "text/plain");
        assert_eq!(absolute.service(), "other");
        let head = HttpHead {
            method: "POST",
            scheme: Some("http"),
            authority: "other:81",
            path: "/x",
            query: None,
            version: "1.1",
            is_grpc: false,
        };
        assert_eq!(
            (absolute.http(), grpc.http().map(|head| (head.authority, head.is_grpc))),
            (Some(head), Some(("Orders:80", true)))
        );
        let mut seen = Vec::new();
        grpc.get_several(&["x", "content-type", "host"], &mut |place, value| seen.push((place, value)));
        seen.sort_unstable();
        assert_eq!(seen, [(1, &b"application/grpc+proto"[..]), (2, b"Orders:80")]);
        let v6 = http::Request::get("/").header("host", "[::1]").body(CallBody::new(Context::none(), ())).unwrap();
        assert_eq!(v6.service(), "[::1]");
    }

    #[test]
    fn heads() {
        let response = |status: u16, headers: &[(&str, &str)]| {
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let response = response.body(GovernedBody::<String>::default()).unwrap();
            (response.outcome(), response.code())
        };
        let grpc = ("content-type", "application/grpc");
        assert_eq!(response(200, &[]), (Some(Outcome::Success), Code::Http(200)));
        assert_eq!(response(200, &[grpc]), (None, Code::Http(200)));
        assert_eq!(response(200, &[grpc, ("grpc-status", "14")]), (Some(Outcome::Failure), Code::Grpc(14)));
        assert_eq!(response(200, &[grpc, ("grpc-status", "x")]), (Some(Outcome::Failure), Code::Grpc(2)));
        assert_eq!(response(503, &[grpc]), (Some(Outcome::Failure), Code::Http(503)));
        assert_eq!(response(501, &[]), (Some(Outcome::Success), Code::Http(501)));
    }
}
