//! What a header says.

use super::{FrameError, HEADER_LEN};
use std::fmt;

const MAGIC: [u8; 2] = [0xda, 0xbb];

/// The serialization of a body: the low five bits of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serialization(u8);

impl Serialization {
    /// Hessian2, the usual one, and the only one whose bodies are looked into here.
    pub const HESSIAN2: Self = Self(2);

    /// The serialization with this number; bits above the fifth are cut off.
    pub const fn new(number: u8) -> Self {
        Self(number & 0x1f)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The third byte of a header. All bits are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    const REQUEST: u8 = 0x80;
    const TWO_WAY: u8 = 0x40;
    const EVENT: u8 = 0x20;

    /// The flags with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Of a request that is answered.
    pub const fn two_way(serialization: Serialization) -> Self {
        Self(Self::REQUEST | Self::TWO_WAY | serialization.0)
    }

    /// Of a request that is not answered.
    pub const fn one_way(serialization: Serialization) -> Self {
        Self(Self::REQUEST | serialization.0)
    }

    /// Of a response.
    pub const fn response(serialization: Serialization) -> Self {
        Self(serialization.0)
    }

    /// The same, of an event.
    #[must_use]
    pub const fn event(self) -> Self {
        Self(self.0 | Self::EVENT)
    }

    /// All eight bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether it is a request, else a response.
    pub const fn is_request(self) -> bool {
        self.0 & Self::REQUEST != 0
    }

    /// Whether a request is answered. Of a response it means nothing.
    pub const fn is_two_way(self) -> bool {
        self.0 & Self::TWO_WAY != 0
    }

    /// Whether it is an event of the connection (a heartbeat, "read only"), not a call.
    pub const fn is_event(self) -> bool {
        self.0 & Self::EVENT != 0
    }

    /// The serialization of the body.
    pub const fn serialization(self) -> Serialization {
        Serialization::new(self.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.is_request(), self.is_two_way()) {
            (true, true) => "request",
            (true, false) => "one-way request",
            (false, _) => "response",
        };
        let event = if self.is_event() { ", event" } else { "" };
        write!(f, "Flags({kind}{event}, serialization {})", self.serialization().0)
    }
}

/// The status of a response. Of a status other than [`OK`](Self::OK) the body is a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// The method was called; it may have thrown.
    pub const OK: Self = Self(20);
    /// The provider could not encode its answer.
    pub const SERIALIZATION_ERROR: Self = Self(25);
    /// No answer in time, as a client says it.
    pub const CLIENT_TIMEOUT: Self = Self(30);
    /// No answer in time, as a server says it.
    pub const SERVER_TIMEOUT: Self = Self(31);
    /// The connection was lost.
    pub const CHANNEL_INACTIVE: Self = Self(35);
    /// The request could not be read.
    pub const BAD_REQUEST: Self = Self(40);
    /// The answer cannot be used.
    pub const BAD_RESPONSE: Self = Self(50);
    /// No such service.
    pub const SERVICE_NOT_FOUND: Self = Self(60);
    /// Something around the method failed.
    pub const SERVICE_ERROR: Self = Self(70);
    /// The server failed.
    pub const SERVER_ERROR: Self = Self(80);
    /// The client failed.
    pub const CLIENT_ERROR: Self = Self(90);
    /// The server has too much to do.
    pub const EXHAUSTED: Self = Self(100);
}

/// What a header says, the length of the body excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What kind of frame it is.
    pub flags: Flags,
    /// The status of a response; 0 in requests, where nobody reads it.
    pub status: Status,
    /// Which request it is, or answers: any 64 bits, unique on one connection and in one direction only.
    pub id: u64,
}

impl Head {
    /// Reads a header, and the length of the body.
    ///
    /// # Errors
    /// [`FrameError::Magic`]; [`FrameError::Length`] for a negative one.
    pub fn read(header: &[u8; HEADER_LEN]) -> Result<(Self, usize), FrameError> {
        let [m0, m1, flags, status, id @ .., l0, l1, l2, l3] = *header;
        if [m0, m1] != MAGIC {
            return Err(FrameError::Magic);
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let head = Self { flags: Flags(flags), status: Status(status), id: u64::from_be_bytes(id) };
        match i32::try_from(length) {
            Ok(_) => Ok((head, length as usize)),
            Err(_) => Err(FrameError::Length(length)),
        }
    }

    /// Whether bytes may be the beginning of a header.
    pub(super) fn may_begin(bytes: &[u8]) -> bool {
        bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic)
    }

    /// The header before a body of so many bytes.
    pub fn write(&self, length: usize) -> [u8; HEADER_LEN] {
        debug_assert!(i32::try_from(length).is_ok(), "a body of {length} bytes");
        let mut header = [0; HEADER_LEN];
        header[..2].copy_from_slice(&MAGIC);
        header[2] = self.flags.0;
        header[3] = self.status.0;
        header[4..12].copy_from_slice(&self.id.to_be_bytes());
        header[12..].copy_from_slice(&(length as u32).to_be_bytes());
        header
    }
}
