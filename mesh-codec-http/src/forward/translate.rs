use super::received::{host_of, origin_form};
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version, header,
    uri::{Authority, Parts, Scheme},
};
use mesh_core::{Kind, Rejection};

/// Brings a request that [`received`](super::received) has seen into the form of HTTP/1.1: authority in `host`, a URI
/// of a path alone, one `cookie` field (RFC 9113, section 8.2.3). One that came over HTTP/1 has that form already.
///
/// # Errors
/// [`Kind::Malformed`]: the authority cannot stand in a field.
pub fn to_http1<B>(request: &mut Request<B>) -> Result<(), Rejection> {
    if request.version() == Version::HTTP_2 {
        let parts = std::mem::take(request.uri_mut()).into_parts();
        if let Some(authority) = &parts.authority {
            request.headers_mut().insert(header::HOST, host_of(authority.as_str())?);
        }
        *request.uri_mut() = match parts.authority {
            Some(authority) if *request.method() == Method::CONNECT => Uri::from(authority),
            _ => origin_form(parts.path_and_query),
        };
        join_cookies(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Brings a request that [`received`](super::received) has seen into the form of HTTP/2: scheme and authority in the
/// URI, no `host`. One that came over HTTP/2 has that form already.
///
/// A request of HTTP/1.0 may have no authority at all: then its URI stays a path and its version HTTP/1.1, by which
/// the `h2` crate knows that this is on purpose.
///
/// # Errors
/// [`Kind::Malformed`]: what stands in `host` is no authority.
pub fn to_http2<B>(request: &mut Request<B>) -> Result<(), Rejection> {
    if request.uri().authority().is_some() {
        if *request.method() == Method::CONNECT {
            request.headers_mut().remove(header::HOST);
        }
        *request.version_mut() = Version::HTTP_2;
        return Ok(());
    }
    let host = request.headers_mut().remove(header::HOST);
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        *request.version_mut() = Version::HTTP_11;
        return Ok(());
    };
    let malformed = |error: http::Error| Rejection::new(Kind::Malformed).because(error);
    let authority = Authority::try_from(host.as_bytes()).map_err(|error| malformed(error.into()))?;
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = std::mem::take(request.uri_mut()).into_parts().path_and_query;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}
