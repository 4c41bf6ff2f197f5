//! Events: what the two ends of a connection say to each other beside calls.

use super::{Flags, Frame, Head, Serialization, Status};
use crate::hessian2::{Limits, Reader, Token};
use bytes::Bytes;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody is there. A two-way one is answered.
    Heartbeat,
    /// No new requests, please: the sender is about to go. It still answers what it has.
    ReadOnly,
    /// New requests are welcome again.
    Writable,
    /// Something else, which is passed over.
    Other,
}

impl Frame {
    /// A heartbeat that is answered, in Hessian2.
    pub const fn heartbeat(id: u64) -> Self {
        Self::event_of(Flags::two_way(Serialization::HESSIAN2), Status(0), id, b"N")
    }

    /// "No new requests", which is not answered.
    pub const fn read_only(id: u64) -> Self {
        Self::event_of(Flags::one_way(Serialization::HESSIAN2), Status(0), id, b"\x01R")
    }

    /// "New requests are welcome again", which is not answered.
    pub const fn writable(id: u64) -> Self {
        Self::event_of(Flags::one_way(Serialization::HESSIAN2), Status(0), id, b"\x01W")
    }

    const fn event_of(flags: Flags, status: Status, id: u64, body: &'static [u8]) -> Self {
        Self { head: Head { flags: flags.event(), status, id }, body: Bytes::from_static(body) }
    }

    /// The answer to a heartbeat: the same id, serialization and null.
    pub fn heartbeat_answer(&self) -> Self {
        let serialization = self.head.flags.serialization();
        let flags = Flags::response(serialization).event();
        let is_hessian = serialization == Serialization::HESSIAN2;
        let body = if is_hessian { Bytes::from_static(b"N") } else { self.body.clone() };
        Self { head: Head { flags, status: Status::OK, id: self.head.id }, body }
    }

    /// Which event it is; nothing for a call.
    ///
    /// A heartbeat is any event that begins with a null, whatever follows. In a serialization that is not looked into
    /// it is a two-way one, since the others want no answer, and what is called null as text.
    pub fn event(&self) -> Option<Event> {
        if !self.head.flags.is_event() {
            return None;
        }
        if self.head.flags.serialization() != Serialization::HESSIAN2 {
            return Some(match self.body.trim_ascii() {
                b"null" => Event::Heartbeat,
                b"\"R\"" => Event::ReadOnly,
                b"\"W\"" => Event::Writable,
                _ if self.head.flags.is_two_way() => Event::Heartbeat,
                _ => Event::Other,
            });
        }
        Some(match Reader::new(&self.body, Limits::WALK).read() {
            Ok(Token::Null) => Event::Heartbeat,
            Ok(Token::String(text)) if text == "R" => Event::ReadOnly,
            Ok(Token::String(text)) if text == "W" => Event::Writable,
            _ => Event::Other,
        })
    }
}
