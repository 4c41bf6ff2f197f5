use super::{
    fields::{Fields, reduce_te, remove_hop_by_hop},
    request_id::new_request_id,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery};
use mesh_core::{Kind, Peer, Rejection, http::parse_grpc_timeout};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

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
    /// What a client claims is not believed: `forwarded`, `x-forwarded-*` and `x-real-ip` as they came go, and
    /// `x-forwarded-for` (the client's address, see [`Rules::trusted_hops`]) and `x-forwarded-proto` are written anew.
    Replace,
    /// Both go on as they came.
    Off,
}

/// What becomes of `x-request-id`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestId {
    /// The one that came goes on; where none came, a random UUID is made.
    #[default]
    Keep,
    /// A random UUID is made for every request, in place of what came.
    Always,
    /// None is made.
    Off,
}

/// What is written into the requests of one connection, made once for all of them.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The text of the peer's address.
    client: Option<HeaderValue>,
    forwarded: Forwarded,
    request_id: RequestId,
    trusted_hops: usize,
}

impl Rules {
    /// The rules for a connection from this peer.
    pub fn new(peer: &Peer, forwarded: Forwarded, request_id: RequestId) -> Self {
        let address = peer.address.filter(|_| forwarded != Forwarded::Off);
        let client = address.and_then(|address| text_of(address.ip()));
        Self { client, forwarded, request_id, trusted_hops: 0 }
    }

    /// How many proxies stand before this one whose word counts. With none, the default, the client is the peer; with
    /// one, which then is the peer, the client is the last address in `x-forwarded-for`; with two the last but one. Where
    /// there are fewer, or that one is no IP address, it is the peer.
    #[must_use]
    pub fn trusted_hops(mut self, hops: usize) -> Self {
        self.trusted_hops = hops;
        self
    }
}

/// What [`received`] has seen on its way, so that nobody looks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceivedHead {
    /// The request is gRPC.
    pub grpc: bool,
    /// The time that a gRPC client gives the call.
    pub grpc_timeout: Option<Duration>,
    /// It asks for another protocol, which its `upgrade` names still.
    pub upgrade: bool,
    /// The client's address by the word of trusted proxies; `None`: it is the peer.
    pub client: Option<IpAddr>,
}

/// Makes the head of a request that came from a client one that may be passed on.
///
/// - Hop-by-hop fields and those that `connection` names go, but for the `upgrade` of an HTTP/1.1 request without a
///   body that asks for one other protocol, not HTTP or TLS; `te` stays as far as it says `trailers`; `expect` goes,
///   since 100-continue is answered here.
/// - The authority is settled: that of an absolute form (HTTP/1) or `:authority` (HTTP/2) wins over `host`.
/// - `x-forwarded-for`, `x-forwarded-proto` and `x-request-id` are written as the rules say.
///
/// One allocation for a new `x-request-id`, one where something is added to a list in `x-forwarded-for`; none
/// otherwise on the usual way, some where claims are replaced.
///
/// # Errors
/// [`Kind::Malformed`]: an HTTP/1.1 request without `host`, any request with two, an HTTP/2 one with neither
/// `:authority` nor `host` (RFC 9112, section 3.2; RFC 9113, section 8.3.1); a transfer coding other than `chunked`; a
/// CONNECT that has a body, or no authority.
pub fn received<B>(request: &mut Request<B>, rules: &Rules) -> Result<ReceivedHead, Rejection> {
    let mut found = Fields::of(request.headers());
    let mut upgrade = None;
    if found.has(Fields::HOP_BY_HOP) {
        only_chunked(request)?;
        upgrade = upgrade_of(request);
        remove_hop_by_hop(request.headers_mut());
        if let Some(upgrade) = &upgrade {
            request.headers_mut().insert(header::UPGRADE, upgrade.clone());
        }
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
    let client = match rules.trusted_hops {
        0 => None,
        hops => client_behind(headers, hops),
    };
    if rules.forwarded == Forwarded::Replace {
        replace_forwarded(headers, client.and_then(text_of).or_else(|| rules.client.clone()));
    } else if let Some(client) = &rules.client {
        if found.has(Fields::FORWARDED_FOR) {
            append_client(headers, client);
        } else {
            headers.insert(&X_FORWARDED_FOR, client.clone());
        }
        if !found.has(Fields::FORWARDED_PROTO) {
            headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
    }
    match rules.request_id {
        RequestId::Keep if found.has(Fields::REQUEST_ID) => {}
        RequestId::Keep | RequestId::Always => _ = headers.insert(&X_REQUEST_ID, new_request_id()),
        RequestId::Off => {}
    }
    let grpc = found.has(Fields::GRPC);
    let grpc_timeout = if grpc && found.has(Fields::GRPC_TIMEOUT) {
        headers.get(&GRPC_TIMEOUT).and_then(|value| parse_grpc_timeout(value.as_bytes()))
    } else {
        None
    };
    Ok(ReceivedHead { grpc, grpc_timeout, upgrade: upgrade.is_some(), client })
}

/// Other codings are passed on by nobody, and what stands in more than one way is taken for each.
#[cold]
fn only_chunked<B>(request: &Request<B>) -> Result<(), Rejection> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if *request.method() == Method::CONNECT => {
            Err(Rejection::new(Kind::Malformed).because("CONNECT with a body"))
        }
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Rejection::new(Kind::Malformed).because("a transfer coding other than chunked")),
    }
}

/// The protocol that a request asks for, if it may: one, which is neither HTTP nor TLS, and no body goes before it.
#[cold]
fn upgrade_of<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else { return None };
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let may = request.version() == Version::HTTP_11
        && *request.method() != Method::CONNECT
        && named.map(<[u8]>::trim_ascii).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && is_foreign_protocol(protocol.as_bytes());
    may.then(|| protocol.clone())
}

fn is_foreign_protocol(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    let known: [&[u8]; 5] = [b"h2", b"h2c", b"h3", b"http", b"tls"];
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    !name.is_empty() && protocol.iter().all(is_token) && !known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn text_of(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::from_str(&address.to_string()).ok()
}

/// The address that is `hops` from the end of the list.
#[cold]
fn client_behind(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let values = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let mut list = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let text = std::str::from_utf8(list.nth(hops - 1)?.trim_ascii()).ok()?;
    let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    // as some write an IPv6 address without a port
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cold]
fn replace_forwarded(headers: &mut HeaderMap, client: Option<HeaderValue>) {
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
    headers.remove(header::FORWARDED);
    headers.remove("x-real-ip");
    if let Some(client) = client {
        headers.insert(&X_FORWARDED_FOR, client);
    }
    headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static("http"));
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
            if *request.method() == Method::CONNECT {
                name_the_tunnels_host(request)?;
            } else if has_authority {
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

/// `CONNECT host:port` has its authority where others have a path, and that is what counts (RFC 9112, section 3.2.3).
#[cold]
fn name_the_tunnels_host<B>(request: &mut Request<B>) -> Result<(), Rejection> {
    let malformed = |why: &str| Rejection::new(Kind::Malformed).because(why);
    let uri = request.uri();
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_none()) else {
        return Err(malformed("CONNECT to no authority"));
    };
    let host = host_of(authority.as_str())?;
    let headers = request.headers_mut();
    if headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(malformed("CONNECT with a body"));
    }
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::HOST, host);
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
