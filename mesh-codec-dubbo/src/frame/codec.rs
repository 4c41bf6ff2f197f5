//! Frames from bytes as they arrive, and back.

use super::{Frame, HEADER_LEN, Head};
use bytes::{Buf, BytesMut};
use std::{error::Error, fmt, io};
use tokio_util::codec::{Decoder, Encoder};

/// The longest body that is taken if nothing else is said: 8 MiB, Dubbo's own default.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// How many times the limit a body may have and still be passed over; a longer one is the end of the connection.
const PASSED_OVER: usize = 8;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A frame.
    Frame(Frame),
    /// The header of one whose body is longer than is taken. The body is passed over as it arrives, so that the
    /// connection may go on.
    TooLong {
        /// The header.
        head: Head,
        /// The bytes of the body.
        length: usize,
    },
}

/// Frames from bytes as they arrive, and back. Nothing is reserved for bytes that have not arrived.
#[derive(Clone, Debug)]
pub struct Codec {
    max_body: usize,
    /// Bytes that are still to be passed over.
    skip: usize,
}

impl Codec {
    /// Takes bodies up to so many bytes. Longer ones, up to eight times that, are passed over and said to be
    /// [too long](Incoming::TooLong); one longer than that is an error.
    pub fn new(max_body: usize) -> Self {
        Self { max_body, skip: 0 }
    }
}

impl Default for Codec {
    /// With [`MAX_BODY`].
    fn default() -> Self {
        Self::new(MAX_BODY)
    }
}

impl Decoder for Codec {
    type Item = Incoming;
    type Error = FrameError;

    /// After an error nothing that comes can be trusted: frames out of step bring answers to the wrong caller.
    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        if self.skip > 0 {
            let passed = self.skip.min(bytes.len());
            bytes.advance(passed);
            self.skip -= passed;
        }
        let Some(header) = bytes.first_chunk() else {
            return if Head::may_begin(bytes) { Ok(None) } else { Err(FrameError::Magic) };
        };
        let (head, length) = Head::read(header)?;
        if length > self.max_body {
            if length > self.max_body.saturating_mul(PASSED_OVER) {
                return Err(FrameError::Length(length as u32));
            }
            bytes.advance(HEADER_LEN);
            self.skip = length;
            return Ok(Some(Incoming::TooLong { head, length }));
        }
        if bytes.len() < HEADER_LEN + length {
            return Ok(None);
        }
        bytes.advance(HEADER_LEN);
        Ok(Some(Incoming::Frame(Frame { head, body: bytes.split_to(length).freeze() })))
    }
}

impl Encoder<&Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        match i32::try_from(frame.body.len()) {
            Ok(_) => frame.write(out),
            Err(_) => return Err(FrameError::Length(u32::try_from(frame.body.len()).unwrap_or(u32::MAX))),
        }
        Ok(())
    }
}

/// Bytes that are no frames. The connection they came on is of no more use.
#[derive(Debug)]
pub enum FrameError {
    /// No header begins where one has to.
    Magic,
    /// A body of so many bytes: negative, or far more than is taken.
    Length(u32),
    /// From below, or the end of the stream within a frame: of `tokio_util`'s streams.
    Io(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a frame of Dubbo2"),
            Self::Length(length) => write!(f, "a body of {length} bytes"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for FrameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
