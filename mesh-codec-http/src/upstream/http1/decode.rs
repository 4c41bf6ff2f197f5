//! The body of a response out of the bytes of its connection (RFC 9112, sections 6 and 7).

use super::head::Malformed;
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

/// How many bytes of chunk extensions a body may have, and how many of trailers.
const MAX_EXTENSIONS: usize = 16 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_FIELDS: usize = 100;

/// How the end of a body is known, and how far it is.
#[derive(Debug, PartialEq)]
pub(super) enum Decoder {
    /// So much is to come.
    Length(u64),
    Chunked(Box<Chunked>),
    /// Until the connection ends.
    UntilEnd,
    /// Nothing is to come.
    Done,
}

/// A body in chunks.
#[derive(Debug, PartialEq)]
pub(super) struct Chunked {
    at: At,
    extensions: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// A size, of so many digits up to here.
    Size(u64, u8),
    /// Blanks behind a size.
    Blank(u64),
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataEnd,
    DataEndLine,
    Trailers,
}

/// What came.
#[derive(Debug)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    /// All bytes are taken, more are to come.
    More,
    /// That was all. What is left of the bytes does not belong to it.
    Done,
}

impl Decoder {
    pub(super) fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Box::new(Chunked { at: At::Size(0, 0), extensions: 0, trailers: Vec::new() }))
    }

    /// Takes what is next from the bytes that have come.
    pub(super) fn decode(&mut self, bytes: &mut Bytes) -> Result<Decoded, Malformed> {
        let decoded = match self {
            Self::Done => return Ok(Decoded::Done),
            _ if bytes.is_empty() => return Ok(Decoded::More),
            Self::UntilEnd => return Ok(Decoded::Data(std::mem::take(bytes))),
            Self::Length(left) => {
                let data = take(bytes, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                return Ok(Decoded::Data(data));
            }
            Self::Chunked(chunked) => chunked.decode(bytes)?,
        };
        if matches!(decoded, Decoded::Trailers(_) | Decoded::Done) {
            *self = Self::Done;
        }
        Ok(decoded)
    }
}

/// At most `left` bytes, which it is then less.
fn take(bytes: &mut Bytes, left: &mut u64) -> Bytes {
    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= part as u64;
    bytes.split_to(part)
}

impl Chunked {
    fn decode(&mut self, bytes: &mut Bytes) -> Result<Decoded, Malformed> {
        loop {
            if let At::Data(left) = &mut self.at {
                if bytes.is_empty() {
                    return Ok(Decoded::More);
                }
                let data = take(bytes, left);
                if *left == 0 {
                    self.at = At::DataEnd;
                }
                return Ok(Decoded::Data(data));
            }
            if !bytes.has_remaining() {
                return Ok(Decoded::More);
            }
            if self.at == At::Trailers {
                if !self.take_trailers(bytes)? {
                    return Ok(Decoded::More);
                }
                let trailers = std::mem::take(&mut self.trailers);
                return if trailers == b"\r\n" { Ok(Decoded::Done) } else { fields(&trailers).map(Decoded::Trailers) };
            }
            self.at = self.step(bytes.get_u8())?;
        }
    }

    /// One byte between the data.
    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size(_, 16), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return Err(Malformed("a chunk is too large"));
            }
            (At::Size(size, digits), b'0'..=b'9') => At::Size(size << 4 | u64::from(byte - b'0'), digits + 1),
            (At::Size(size, digits), b'a'..=b'f') => At::Size(size << 4 | u64::from(byte - b'a' + 10), digits + 1),
            (At::Size(size, digits), b'A'..=b'F') => At::Size(size << 4 | u64::from(byte - b'A' + 10), digits + 1),
            (At::Size(_, 0), _) => return Err(Malformed("a chunk has no size")),
            (At::Size(size, _) | At::Blank(size), b' ' | b'\t') => At::Blank(self.count(size)?),
            (At::Size(size, _) | At::Blank(size), b';') => At::Extension(size),
            (At::Size(size, _) | At::Blank(size) | At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Extension(_), b'\n') => return Err(Malformed("a line of a chunk's size")),
            (At::Extension(size), _) => At::Extension(self.count(size)?),
            (At::SizeEnd(0), b'\n') => At::Trailers,
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::DataEnd, b'\r') => At::DataEndLine,
            (At::DataEndLine, b'\n') => At::Size(0, 0),
            _ => return Err(Malformed("the framing of a chunk")),
        })
    }

    /// Counts a byte that means nothing.
    fn count(&mut self, size: u64) -> Result<u64, Malformed> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(Malformed("too many chunk extensions")) } else { Ok(size) }
    }

    /// Whether they are whole.
    fn take_trailers(&mut self, bytes: &mut Bytes) -> Result<bool, Malformed> {
        while bytes.has_remaining() {
            self.trailers.push(bytes.get_u8());
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                return Ok(true);
            }
            if self.trailers.len() > MAX_TRAILERS {
                return Err(Malformed("the trailers are too long"));
            }
        }
        Ok(false)
    }
}

fn fields(bytes: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let malformed = Malformed("a trailer");
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(bytes, &mut fields) else {
        return Err(malformed);
    };
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        match (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value)) {
            (Ok(name), Ok(value)) => _ = trailers.append(name, value),
            _ => return Err(malformed),
        }
    }
    Ok(trailers)
}
