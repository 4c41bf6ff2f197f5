//! The head of a response.

use super::{decode::Decoder, message::content_length};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use std::mem::MaybeUninit;

/// The most fields in a head.
const MAX_FIELDS: usize = 100;
/// The longest head.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// What came is not what HTTP/1.1 has there.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A head, what is to come behind it, and what of that has come with it.
pub(super) struct Head {
    pub(super) response: http::Response<()>,
    pub(super) decoder: Decoder,
    pub(super) rest: Bytes,
    /// Whether the connection may be used again afterwards.
    pub(super) keeps_alive: bool,
}

/// Reads a head; informational ones before it are passed over. `None`: it is not whole; then what is to be looked at
/// again with what comes is in `partial`. `to_head`: the request was a HEAD.
pub(super) fn read(partial: &mut Vec<u8>, come: &[u8], to_head: bool) -> Result<Option<Head>, Malformed> {
    let earlier = std::mem::take(partial);
    if earlier.is_empty() {
        return go_on(partial, come, to_head);
    }
    let looked_at = earlier.len();
    let mut all = earlier;
    all.extend_from_slice(come);
    // a head that comes in many pieces is looked at once
    if !ends_in(&all[looked_at.saturating_sub(3)..]) {
        if all.len() > MAX_HEAD {
            return Err(Malformed("a head is too long"));
        }
        *partial = all;
        return Ok(None);
    }
    go_on(partial, &all, to_head)
}

fn ends_in(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

fn go_on(partial: &mut Vec<u8>, mut bytes: &[u8], to_head: bool) -> Result<Option<Head>, Malformed> {
    loop {
        match parse(bytes, to_head)? {
            Parsed::Informational(length) => bytes = &bytes[length..],
            Parsed::Whole(head) => return Ok(Some(head)),
            Parsed::Partial if bytes.len() > MAX_HEAD => return Err(Malformed("a head is too long")),
            Parsed::Partial => {
                *partial = bytes.to_vec();
                return Ok(None);
            }
        }
    }
}

enum Parsed {
    Partial,
    Informational(usize),
    Whole(Head),
}

fn parse(bytes: &[u8], to_head: bool) -> Result<Parsed, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    let length = match status {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("a head has too many fields")),
        Err(_) => return Err(Malformed("what came is no response of HTTP/1.1")),
    };
    if length > MAX_HEAD {
        return Err(Malformed("a head is too long"));
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("a response has no status"))?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Parsed::Informational(length));
    }
    let is_current = parsed.version == Some(1);
    // one copy, of which the values are parts
    let whole = Bytes::copy_from_slice(bytes);
    // with room for what is added on the way to the client
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + 2);
    let (mut length_fields, mut is_coded, mut keeps_alive) = (0, false, is_current);
    let mut closes = false;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed("a field's name"))?;
        match name {
            CONTENT_LENGTH => length_fields += 1,
            TRANSFER_ENCODING => is_coded = true,
            CONNECTION => {
                closes |= has_token(field.value, b"close");
                keeps_alive |= has_token(field.value, b"keep-alive");
            }
            _ => {}
        }
        let start = field.value.as_ptr().addr() - bytes.as_ptr().addr();
        let value = if field.value.is_empty() { Bytes::new() } else { whole.slice(start..start + field.value.len()) };
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed("a field's value"))?);
    }
    keeps_alive &= !closes;
    let decoder = if to_head || matches!(status.as_u16(), 101 | 204 | 304) {
        Decoder::Done
    } else if is_coded {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !is_current || !is_chunked || codings.next().is_some() {
            return Err(Malformed("a transfer coding other than chunked"));
        }
        if length_fields > 0 {
            // one of the two lies (RFC 9112, section 6.3)
            headers.remove(CONTENT_LENGTH);
            keeps_alive = false;
        }
        Decoder::chunked()
    } else if length_fields > 0 {
        let length = content_length(&headers).ok_or(Malformed("a content-length"))?;
        if length_fields > 1 || headers.get(CONTENT_LENGTH).is_some_and(|value| value.as_bytes().contains(&b',')) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Decoder::length(length)
    } else {
        keeps_alive = false;
        Decoder::UntilEnd
    };
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if is_current { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = headers;
    let reason = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    if let Some(Ok(reason)) = reason.map(|reason| hyper::ext::ReasonPhrase::try_from(reason.as_bytes())) {
        // for the codec that writes it to the client
        response.extensions_mut().insert(reason);
    }
    Ok(Parsed::Whole(Head { response, decoder, rest: whole.slice(length..), keeps_alive }))
}

/// Whether a list has this word, in any case.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}
