//! Who may ask. The admin listener is on the loopback interface, where every page in a browser of this machine can
//! reach it too: by a name that was made to point here, or across sites. No browser reaches a Unix socket: there any
//! host will do, for clients write what they like.

use http::{HeaderMap, HeaderValue, header};
use mesh_core::Address;
use std::net::{IpAddr, SocketAddr};

/// Whether a request means this listener.
pub(super) fn check(headers: &HeaderMap, own: &Address) -> Result<(), &'static str> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    if let Address::Tcp(own) = own
        && !is_own_host(host, *own)
    {
        return Err("the host is not this listener");
    }
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let same_site = origin.is_none_or(|origin| origin.strip_prefix(b"http://") == Some(host.as_bytes()));
    if !same_site {
        return Err("requests from other sites are refused");
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err("requests from other sites are refused"),
    }
}

/// The listener's own address, or a loopback name of it. A name could be anybody's; an address that was reached is
/// this machine's.
fn is_own_host(host: &str, own: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.contains(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    if port != Some(own.port()) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_ask() {
        let own: Address = "127.0.0.1:15000".parse().unwrap();
        let asked = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            check(&headers, &own).is_ok()
        };
        for host in ["127.0.0.1:15000", "localhost:15000", "[::1]:15000", "10.0.0.7:15000"] {
            assert!(asked(&[("host", host)]), "{host}");
        }
        for host in ["evil.example:15000", "127.0.0.1", "127.0.0.1:80", "", "localhost.evil.example:15000"] {
            assert!(!asked(&[("host", host)]), "{host}");
        }
        let host = ("host", "localhost:15000");
        assert!(asked(&[host, ("origin", "http://localhost:15000")]));
        assert!(!asked(&[host, ("origin", "http://evil.example")]));
        assert!(!asked(&[host, ("origin", "null")]));
        assert!(!asked(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(asked(&[host, ("sec-fetch-site", "none")]));
    }

    #[test]
    fn on_a_unix_socket_any_host_is_meant() {
        let own = Address::Unix("/run/mesh/admin.sock".into());
        let mut headers = HeaderMap::new();
        assert!(check(&headers, &own).is_ok());
        headers.insert("host", "anything".parse().unwrap());
        assert!(check(&headers, &own).is_ok());
        headers.insert("origin", "http://evil.example".parse().unwrap());
        assert!(check(&headers, &own).is_err());
    }
}
