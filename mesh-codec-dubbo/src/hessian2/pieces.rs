//! The chunks of a string or a binary, and binaries as they stand in a stream.

use super::text::end_of;
use std::{borrow::Cow, fmt};

/// The content of a string or binary whose end has been found: one run of bytes, or several between heads of chunks.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    /// The content itself, or from the first head on.
    bytes: &'a [u8],
    length: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In one piece.
    Whole,
    /// Strings in chunks, each with its units counted.
    Strings,
    /// Binaries in chunks.
    Binaries,
}

/// A chunk's head: how many units or bytes, whether it is the last, and how many bytes the head has behind its tag.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) last: bool,
    pub(crate) width: usize,
}

/// The head at the start of `bytes` for a tag of a string; nothing where the bytes are used up or the tag is another.
pub(crate) fn string_head(tag: u8, after: &[u8]) -> Option<Option<Head>> {
    head(tag, after, 0x00, 0x1f, 0x30, (0x52, 0x53))
}

/// The same for a binary.
pub(crate) fn binary_head(tag: u8, after: &[u8]) -> Option<Option<Head>> {
    head(tag, after, 0x20, 0x2f, 0x34, (0x41, 0x42))
}

/// The outer option is nothing for another tag, the inner one where the bytes are used up.
#[inline]
fn head(tag: u8, after: &[u8], first: u8, last: u8, middle: u8, chunks: (u8, u8)) -> Option<Option<Head>> {
    if (first..=last).contains(&tag) {
        return Some(Some(Head { length: usize::from(tag - first), last: true, width: 0 }));
    }
    if (middle..=middle + 3).contains(&tag) {
        let high = usize::from(tag - middle) << 8;
        return Some(after.first().map(|low| Head { length: high | usize::from(*low), last: true, width: 1 }));
    }
    let is_last = tag == chunks.1;
    (is_last || tag == chunks.0).then(|| {
        let length = after.first_chunk::<2>()?;
        Some(Head { length: usize::from(u16::from_be_bytes(*length)), last: is_last, width: 2 })
    })
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(bytes: &'a [u8], length: usize, kind: Kind) -> Self {
        // readers refuse more than 4 GiB
        Self { bytes, length: u32::try_from(length).unwrap_or(u32::MAX), kind }
    }

    pub(crate) const fn length(&self) -> usize {
        self.length as usize
    }

    /// How many bytes there are, heads of chunks included.
    pub(crate) const fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_slice(&self) -> Option<&'a [u8]> {
        (self.kind == Kind::Whole).then_some(self.bytes)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (tag, after) = self.bytes.split_first()?;
        let head = match self.kind {
            Kind::Whole => return Some(std::mem::take(&mut self.bytes)),
            Kind::Strings => string_head(*tag, after),
            Kind::Binaries => binary_head(*tag, after),
        }??;
        let content = after.get(head.width..)?;
        let end = match self.kind {
            Kind::Strings => end_of(content, 0, head.length).ok()?,
            _ => head.length,
        };
        let (piece, rest) = content.split_at_checked(end)?;
        self.bytes = if head.last { &[] } else { rest };
        Some(piece)
    }
}

impl fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Bytes within a stream: nothing is copied until they are asked for.
#[derive(Clone, Copy)]
pub struct Binary<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Binary<'a> {
    pub(crate) fn new(pieces: Pieces<'a>) -> Self {
        Self { pieces }
    }

    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.pieces.length()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes where they stand in one piece.
    pub fn as_slice(&self) -> Option<&'a [u8]> {
        self.pieces.as_slice()
    }

    /// The bytes, copied together where they stand in several chunks.
    pub fn to_bytes(&self) -> Cow<'a, [u8]> {
        match self.as_slice() {
            Some(bytes) => Cow::Borrowed(bytes),
            None => {
                let mut bytes = Vec::with_capacity(self.len());
                self.pieces.for_each(|piece| bytes.extend_from_slice(piece));
                Cow::Owned(bytes)
            }
        }
    }

    /// The bytes, chunk by chunk.
    pub fn chunks(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.pieces
    }
}

impl PartialEq for Binary<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Binary<'_> {}

impl fmt::Debug for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.len())
    }
}
