use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields of a head that a proxy has to do with, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fields(u32);

impl Fields {
    /// Fields that belong to one connection and are always removed (RFC 9110, section 7.6.1).
    pub(crate) const HOP_BY_HOP: Fields = Fields(1);
    pub(crate) const TE: Fields = Fields(1 << 1);
    pub(crate) const EXPECT: Fields = Fields(1 << 2);
    pub(crate) const HOST: Fields = Fields(1 << 3);
    /// A second `host`.
    pub(crate) const HOSTS: Fields = Fields(1 << 4);
    pub(crate) const FORWARDED_FOR: Fields = Fields(1 << 5);
    pub(crate) const FORWARDED_PROTO: Fields = Fields(1 << 6);
    pub(crate) const REQUEST_ID: Fields = Fields(1 << 7);
    /// The content type says gRPC.
    pub(crate) const GRPC: Fields = Fields(1 << 8);
    pub(crate) const GRPC_TIMEOUT: Fields = Fields(1 << 9);
    pub(crate) const REJECTED_BY: Fields = Fields(1 << 10);

    pub(crate) const fn has(self, other: Fields) -> bool {
        self.0 & other.0 != 0
    }

    /// What one pass over a head finds. Names that `http` knows are numbers to it; of the others most are told apart by
    /// their length alone.
    pub(crate) fn of(headers: &HeaderMap) -> Fields {
        let mut found = 0;
        for (name, value) in headers {
            let field = match *name {
                header::HOST if found & Fields::HOST.0 == 0 => Fields::HOST,
                header::HOST => Fields::HOSTS,
                header::CONTENT_TYPE if is_grpc(value) => Fields::GRPC,
                header::TE => Fields::TE,
                header::EXPECT => Fields::EXPECT,
                header::CONNECTION
                | header::TRANSFER_ENCODING
                | header::UPGRADE
                | header::PROXY_AUTHENTICATE
                | header::PROXY_AUTHORIZATION => Fields::HOP_BY_HOP,
                _ => Fields::by_text(name.as_str().as_bytes()),
            };
            found |= field.0;
        }
        Fields(found)
    }

    fn by_text(name: &[u8]) -> Fields {
        match name.len() {
            10 if name == b"keep-alive" => Fields::HOP_BY_HOP,
            12 if name == b"grpc-timeout" => Fields::GRPC_TIMEOUT,
            12 if name == b"x-request-id" => Fields::REQUEST_ID,
            15 if name == b"x-forwarded-for" => Fields::FORWARDED_FOR,
            16 if name == b"proxy-connection" => Fields::HOP_BY_HOP,
            17 if name == b"x-forwarded-proto" => Fields::FORWARDED_PROTO,
            18 if name == b"x-mesh-rejected-by" => Fields::REJECTED_BY,
            _ => Fields(0),
        }
    }
}

/// The same rule as [`mesh_core::http::is_grpc`], for a value at hand.
fn is_grpc(content_type: &HeaderValue) -> bool {
    match content_type.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || matches!(rest[0], b'+' | b';'),
        None => false,
    }
}

pub(crate) static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(crate) static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes the fields of one connection, and those that `connection` names: all but the ones without which a message
/// would change its meaning on the way, which a sender must not name (RFC 9110, section 7.6.1).
#[cold]
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter();
    let named: Vec<HeaderName> = named
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TE | header::COOKIE))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
    ] {
        headers.remove(name);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
}

/// `te` says what the next hop may send; the one thing that is passed on is that trailers are welcome.
#[cold]
pub(crate) fn reduce_te(headers: &mut HeaderMap) {
    let mut all = headers.get_all(header::TE).iter();
    let wants_trailers = all.any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
}
