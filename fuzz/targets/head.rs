//! Heads of requests and responses, made fit to be passed on: what may not go on does not.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use mesh_codec_http::forward::{
    Forwarded, RequestId, Rules, Slashes, normalise, received, shrink_grpc_timeout, strip_response, to_http1, to_http2,
};
use mesh_core::{Context, Nanos, Peer};

/// As a client may send it; over HTTP/2 the head has an authority in its URI.
fn request(data: &[u8]) -> Option<Request<()>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut fields);
    head.parse(data).ok()?.is_complete().then_some(())?;
    let mut request = Request::new(());
    *request.method_mut() = head.method?.parse().ok()?;
    *request.uri_mut() = head.path?.parse::<Uri>().ok()?;
    *request.version_mut() = match head.version? {
        0 => Version::HTTP_10,
        _ if data.len() % 2 == 0 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    for field in head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request)
}

fn is_clean(headers: &HeaderMap) -> bool {
    ["connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"]
        .iter()
        .all(|name| !headers.contains_key(*name))
}

fuzz_target!(|data: &[u8]| {
    let Some(mut request) = request(data) else { return };
    for slashes in [Slashes::Keep, Slashes::Merge] {
        let Ok(path) = normalise(request.uri().path(), slashes) else { continue };
        assert_eq!(normalise(&path, slashes).as_deref(), Ok(&*path));
        assert!(!path.starts_with('/') || path.split('/').all(|segment| segment != ".."), "{path}");
    }
    let mut response = request.headers().clone();
    strip_response(&mut response);
    let rules = Rules::new(&Peer::default(), Forwarded::Append, RequestId::Keep);
    if received(&mut request, &rules).is_err() {
        return;
    }
    assert!(is_clean(request.headers()), "{request:?}");
    let context = Context::begin(Nanos::from_nanos(1), None);
    let _ = shrink_grpc_timeout(request.headers_mut(), &context);
    let mut other = Request::new(());
    *other.method_mut() = request.method().clone();
    *other.uri_mut() = request.uri().clone();
    *other.version_mut() = request.version();
    *other.headers_mut() = request.headers().clone();
    if to_http1(&mut request).is_ok() {
        assert!(request.headers().get_all("host").iter().count() <= 1, "{request:?}");
    }
    if to_http2(&mut other).is_ok() {
        assert!(!other.headers().contains_key("host"), "{other:?}");
    }
});
