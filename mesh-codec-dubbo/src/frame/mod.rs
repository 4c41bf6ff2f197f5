//! Frames of Dubbo2: a header of 16 bytes and a body that is passed on as it is.
//!
//! | offset | bytes | |
//! | --- | --- | --- |
//! | 0 | 2 | `da bb` |
//! | 2 | 1 | [`Flags`]: request, two-way, event, and the [`Serialization`] of the body |
//! | 3 | 1 | [`Status`], of responses |
//! | 4 | 8 | the id, any 64 bits |
//! | 12 | 4 | bytes of the body |
//!
//! [`Codec`] is a codec of `tokio_util`: it takes what has arrived, however it is cut, and its bodies are parts of what was
//! read, not copies.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use mesh_codec_dubbo::frame::{Codec, Event, Frame, Incoming};
//! use tokio_util::codec::{Decoder, Encoder};
//!
//! let mut codec = Codec::default();
//! let mut wire = BytesMut::new();
//! codec.encode(&Frame::heartbeat(7), &mut wire)?;
//! assert_eq!(wire[..], *b"\xda\xbb\xe2\0\0\0\0\0\0\0\0\x07\0\0\0\x01N");
//!
//! let Some(Incoming::Frame(frame)) = codec.decode(&mut wire)? else { panic!("it is whole") };
//! assert_eq!((frame.head.id, frame.event()), (7, Some(Event::Heartbeat)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod event;
mod head;

pub use codec::{Codec, FrameError, Incoming, MAX_BODY};
pub use event::Event;
pub use head::{Flags, Head, Serialization, Status};

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a header.
pub const HEADER_LEN: usize = 16;

/// A header and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the header says, the length of the body excepted.
    pub head: Head,
    /// The body, in the serialization that the flags name.
    pub body: Bytes,
}

impl Frame {
    /// Writes it behind what a buffer holds. A body has at most 2³¹ − 1 bytes.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(HEADER_LEN + self.body.len());
        out.put_slice(&self.head.write(self.body.len()));
        out.put_slice(&self.body);
    }
}
