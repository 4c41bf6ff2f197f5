use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// More fields than this are not read again.
const MAX_FIELDS: usize = 256;

/// Reads back the head of an HTTP/1.1 request that was written before. `None`: it is not whole, or too long.
///
/// A head is kept as the bytes that went out, a copy of some hundred bytes, and read again only when it has to be sent
/// again: to clone every head in advance would cost two to three allocations per request.
pub(super) fn parse(bytes: &[u8]) -> Option<Request<()>> {
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    if !parsed.parse(bytes).ok()?.is_complete() {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(parsed.path?).ok()?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    *request.headers_mut() = headers;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let request = parse(b"DELETE /a?b=%20 HTTP/1.1\r\nhost: x:1\r\na: 1\r\na: \xff\r\nempty: \r\n\r\n").unwrap();
        assert_eq!((request.method(), request.uri().to_string()), (&Method::DELETE, "/a?b=%20".into()));
        let values: Vec<_> = request.headers().get_all("a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
        assert_eq!(request.headers().len(), 4);
        assert_eq!(request.headers()["empty"], "");
    }

    #[test]
    fn a_part_is_nothing() {
        assert!(parse(b"GET / HTTP/1.1\r\nhost: x").is_none() && parse(b"").is_none());
    }
}
