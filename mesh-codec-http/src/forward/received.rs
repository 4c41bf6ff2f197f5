use super::{
    fields::{Fields, reduce_te, remove_hop_by_hop},
    request_id::new_request_id,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery};
use mesh_core::{Kind, Peer, Rejection, http::parse_grpc_timeout};
use std::time::Duration;

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What becomes of `x-forwarded-for` and `x-forwarded-proto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Forwarded {
    /// The address of the peer is added to the list in `x-forwarded-for`, without its port; `x-forwarded-proto` is set
    /// where there is none. A peer without an address adds nothing.
    #[default]
    Append,
    /// Both go on as they came.
    Off,
}

/// What becomes of `x-request-id`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestId {
    /// The one that came goes on; where none came, a random UUID is made.
    #[default]
    Keep,
    /// None is made.
    Off,
}

/// What is written into the requests of one connection, made once for all of them.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The text of the peer's address.
    client: Option<HeaderValue>,
    request_id: RequestId,
}

impl Rules {
    /// The rules for a connection from this peer.
    pub fn new(peer: &Peer, forwarded: Forwarded, request_id: RequestId) -> Self {
        let address = peer.address.filter(|_| forwarded == Forwarded::Append);
        let client = address.and_then(|address| HeaderValue::from_str(&address.ip().to_string()).ok());
        Self { client, request_id }
    }
}

/// What [`received`] has seen on its way, so that nobody looks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceivedHead {
    /// The request is gRPC.
    pub grpc: bool,
    /// The time that a gRPC client gives the call.
    pub grpc_timeout: Option<Duration>,
}

/// Makes the head of a request that came from a client one that may be passed on.
///
/// - Hop-by-hop fields and those that `connection` names go; `te` stays as far as it says `trailers`; `expect` goes,
///   since 100-continue is answered here.
/// - The authority is settled: that of an absolute form (HTTP/1) or `:authority` (HTTP/2) wins over `host`.
/// - `x-forwarded-for`, `x-forwarded-proto` and `x-request-id` are written as the rules say.
///
/// One allocation for a new `x-request-id`, one where something is added to a list in `x-forwarded-for`; none
/// otherwise on the usual way.
///
/// # Errors
/// [`Kind::Malformed`]: an HTTP/1.1 request without `host`, any request with two, an HTTP/2 one with neither
/// `:authority` nor `host` (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
pub fn received<B>(request: &mut Request<B>, rules: &Rules) -> Result<ReceivedHead, Rejection> {
    let mut found = Fields::of(request.headers());
    if found.has(Fields::HOP_BY_HOP) {
        remove_hop_by_hop(request.headers_mut());
        found = Fields::of(request.headers());
    }
    if found.has(Fields::TE) {
        reduce_te(request.headers_mut());
    }
    if found.has(Fields::EXPECT) {
        request.headers_mut().remove(header::EXPECT);
    }
    settle_authority(request, found)?;
    let headers = request.headers_mut();
    if let Some(client) = &rules.client {
        if found.has(Fields::FORWARDED_FOR) {
            append_client(headers, client);
        } else {
            headers.insert(&X_FORWARDED_FOR, client.clone());
        }
        if !found.has(Fields::FORWARDED_PROTO) {
            headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
    }
    if rules.request_id == RequestId::Keep && !found.has(Fields::REQUEST_ID) {
        headers.insert(&X_REQUEST_ID, new_request_id());
    }
    let grpc = found.has(Fields::GRPC);
    let grpc_timeout = if grpc && found.has(Fields::GRPC_TIMEOUT) {
        headers.get(&GRPC_TIMEOUT).and_then(|value| parse_grpc_timeout(value.as_bytes()))
    } else {
        None
    };
    Ok(ReceivedHead { grpc, grpc_timeout })
}

fn settle_authority<B>(request: &mut Request<B>, found: Fields) -> Result<(), Rejection> {
    let malformed = |why: &str| Err(Rejection::new(Kind::Malformed).because(why));
    if found.has(Fields::HOSTS) {
        return malformed("more than one host");
    }
    let has_host = found.has(Fields::HOST);
    let has_authority = request.uri().authority().is_some();
    match request.version() {
        Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => {
            if !has_host && request.version() == Version::HTTP_11 {
                return malformed("no host");
            }
            if has_authority && request.method() != Method::CONNECT {
                take_absolute_form_apart(request)?;
            }
        }
        _ if has_authority && has_host => {
            request.headers_mut().remove(header::HOST);
        }
        _ if !has_authority && !has_host => return malformed("no authority"),
        _ => {}
    }
    Ok(())
}

/// `GET http://host/path` becomes `GET /path` and `host: host` (RFC 9112, section 3.2.2).
#[cold]
fn take_absolute_form_apart<B>(request: &mut Request<B>) -> Result<(), Rejection> {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = &parts.authority {
        request.headers_mut().insert(header::HOST, host_of(authority.as_str())?);
    }
    *request.uri_mut() = origin_form(parts.path_and_query);
    Ok(())
}

/// The value of `host` for an authority: all of it but a name and password.
pub(super) fn host_of(authority: &str) -> Result<HeaderValue, Rejection> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    HeaderValue::from_str(host).map_err(|error| Rejection::new(Kind::Malformed).because(error))
}

/// A URI of a path alone.
pub(super) fn origin_form(path: Option<PathAndQuery>) -> Uri {
    path.map_or_else(Uri::default, Uri::from)
}

/// The whole list in one field, whatever number it came in: many applications read one only.
fn append_client(headers: &mut HeaderMap, client: &HeaderValue) {
    let mut list = Vec::with_capacity(64);
    for value in headers.get_all(&X_FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(client.as_bytes());
    if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        headers.insert(&X_FORWARDED_FOR, list);
    }
}
