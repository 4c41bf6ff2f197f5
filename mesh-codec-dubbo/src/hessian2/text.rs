//! Strings as they stand in a stream: counted in UTF-16 units, each unit encoded by itself.

use super::pieces::Pieces;
use bytes::BufMut;
use std::{borrow::Cow, fmt};

/// A string within a stream: nothing is copied until its text is asked for.
///
/// The encoding is CESU-8: a character beyond U+FFFF is two surrogates of three bytes each. Surrogates may stand alone;
/// such a string is no Rust [`str`]. Sequences of four bytes, which some writers use, are read as two units.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pieces: Pieces<'a>,
}

/// Why a run of units has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The bytes are used up.
    Short,
    /// The byte there begins or continues no character.
    At(usize),
}

/// Sixteen bytes, the pattern repeated.
const fn repeated<const N: usize>(pattern: [u8; N], bytes: usize) -> u128 {
    let mut all = [0; 16];
    let mut at = 0;
    while at < bytes {
        all[at] = pattern[at % N];
        at += 1;
    }
    u128::from_le_bytes(all)
}

/// Where in `bytes` the run of `units` units ends that begins at `start`.
///
/// Runs of characters of one width, which is what texts consist of, are passed 8 to 32 bytes at a time.
pub(crate) fn end_of(bytes: &[u8], start: usize, units: usize) -> Result<usize, Broken> {
    const THREES: (u128, u128) = (repeated([0xf0, 0xc0, 0xc0], 12), repeated([0xe0, 0x80, 0x80], 12));
    const TWOS: (u128, u128) = (repeated([0xe0, 0xc0], 16), repeated([0xc0, 0x80], 16));
    const NOT_ASCII: u64 = 0x8080_8080_8080_8080;

    let mut rest = bytes.get(start..).ok_or(Broken::Short)?;
    let mut left = units;
    while left > 0 {
        let broken = || Broken::At(bytes.len() - rest.len());
        match *rest.first().ok_or(Broken::Short)? {
            0..=0x7f => {
                while left >= 32
                    && let Some((block, after)) = rest.split_first_chunk::<32>()
                    && block.iter().fold(0, |all, byte| all | byte) < 0x80
                {
                    (rest, left) = (after, left - 32);
                }
                // what is behind the run may be in the block too
                if let Some(block) = rest.first_chunk::<8>() {
                    let others = u64::from_le_bytes(*block) & NOT_ASCII;
                    let ascii = (others.trailing_zeros() as usize / 8).min(left);
                    (rest, left) = (&rest[ascii..], left - ascii);
                } else {
                    while left > 0
                        && let Some((0..=0x7f, after)) = rest.split_first()
                    {
                        (rest, left) = (after, left - 1);
                    }
                }
            }
            0xc0..=0xdf => {
                while left >= 8
                    && let Some((block, after)) = rest.split_first_chunk::<16>()
                    && u128::from_le_bytes(*block) & TWOS.0 == TWOS.1
                {
                    (rest, left) = (after, left - 8);
                }
                match rest {
                    [0xc0..=0xdf, 0x80..=0xbf, after @ ..] if left > 0 => (rest, left) = (after, left - 1),
                    [0xc0..=0xdf, _, ..] if left > 0 => return Err(broken()),
                    [0xc0..=0xdf] if left > 0 => return Err(Broken::Short),
                    _ => {}
                }
            }
            0xe0..=0xef => {
                while left >= 4
                    && let Some(block) = rest.first_chunk::<16>()
                    && u128::from_le_bytes(*block) & THREES.0 == THREES.1
                {
                    (rest, left) = (&rest[12..], left - 4);
                }
                match rest {
                    [0xe0..=0xef, 0x80..=0xbf, 0x80..=0xbf, after @ ..] if left > 0 => {
                        (rest, left) = (after, left - 1);
                    }
                    [0xe0..=0xef, _, _, ..] if left > 0 => return Err(broken()),
                    [0xe0..=0xef, ..] if left > 0 => return Err(Broken::Short),
                    _ => {}
                }
            }
            0xf0..=0xf7 => match rest {
                [_, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, after @ ..] if left > 1 => (rest, left) = (after, left - 2),
                [_, _, _, _, ..] => return Err(broken()),
                _ => return Err(Broken::Short),
            },
            _ => return Err(broken()),
        }
    }
    Ok(bytes.len() - rest.len())
}

/// The UTF-16 units of a [`Text`], from [`Text::units`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    pieces: Pieces<'a>,
    piece: &'a [u8],
    low: Option<u16>,
}

impl Iterator for Units<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some(low) = self.low.take() {
            return Some(low);
        }
        while self.piece.is_empty() {
            self.piece = self.pieces.next()?;
        }
        let (unit, low, after) = unit(self.piece)?;
        (self.low, self.piece) = (low, after);
        Some(unit)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.piece.len().div_ceil(3), None)
    }
}

/// The unit at the start of bytes, the second where four bytes are two, and what follows; nothing where a character is
/// not whole, and no text ends so: `end_of` has seen it.
fn unit(bytes: &[u8]) -> Option<(u16, Option<u16>, &[u8])> {
    let bits = |byte: u8| u32::from(byte & 0x3f);
    Some(match *bytes {
        [one @ 0..=0x7f, ref after @ ..] => (u16::from(one), None, after),
        [one @ ..=0xdf, two, ref after @ ..] => (((u32::from(one) & 0x1f) << 6 | bits(two)) as u16, None, after),
        [one @ ..=0xef, two, three, ref after @ ..] => {
            (((u32::from(one) & 0x0f) << 12 | bits(two) << 6 | bits(three)) as u16, None, after)
        }
        [one, two, three, four, ref after @ ..] => {
            let scalar = (u32::from(one) & 0x07) << 18 | bits(two) << 12 | bits(three) << 6 | bits(four);
            // of what is no pair, as an overlong form, the arithmetic of the pair is kept
            let above = scalar.wrapping_sub(0x1_0000);
            let (high, low) = (0xd800 | (above >> 10 & 0x3ff), 0xdc00 | (above & 0x3ff));
            (high as u16, Some(low as u16), after)
        }
        _ => return None,
    })
}

/// How many UTF-16 units a text has.
pub(crate) fn units_of(text: &str) -> usize {
    let of = |byte: &u8| u8::from(byte & 0xc0 != 0x80) + u8::from(*byte >= 0xf0);
    // two at most for each byte: in blocks, so that bytes can be added up side by side
    text.as_bytes().chunks(64).map(|block| usize::from(block.iter().map(of).sum::<u8>())).sum()
}

impl<'a> Text<'a> {
    pub(crate) fn new(pieces: Pieces<'a>) -> Self {
        Self { pieces }
    }

    /// How many UTF-16 units it has, as Java's `String.length()`.
    pub const fn len(&self) -> usize {
        self.pieces.length()
    }

    /// Whether it has no units.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text where its bytes are those of a Rust string: in one piece, without surrogates. The usual case; the bytes
    /// are looked through, and nothing is copied.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.pieces.as_slice()?).ok()
    }

    /// The text, copied where [`as_str`](Self::as_str) has none; nothing where a surrogate stands alone.
    pub fn to_str(&self) -> Option<Cow<'a, str>> {
        match self.as_str() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => self.joined().map(Cow::Owned),
        }
    }

    /// The text, U+FFFD in place of each surrogate that stands alone.
    pub fn to_string_lossy(&self) -> Cow<'a, str> {
        match self.as_str() {
            Some(text) => Cow::Borrowed(text),
            None => {
                let scalars = char::decode_utf16(self.units());
                Cow::Owned(scalars.map(|scalar| scalar.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
            }
        }
    }

    /// The text from its runs of what Rust encodes alike, pairs between them; nothing where a surrogate stands alone.
    fn joined(&self) -> Option<String> {
        let mut text = String::with_capacity(self.pieces.size());
        let mut high = None;
        for mut piece in self.pieces {
            while !piece.is_empty() {
                let alike = match std::str::from_utf8(piece) {
                    Ok(all) => all,
                    Err(error) => std::str::from_utf8(&piece[..error.valid_up_to()]).ok()?,
                };
                if !alike.is_empty() {
                    if high.is_some() {
                        return None;
                    }
                    text.push_str(alike);
                    piece = &piece[alike.len()..];
                }
                // surrogates, which Rust does not have, and forms that are longer than they need to be
                while !matches!(piece, [] | [0..=0x7f, ..]) {
                    let (first, second, after) = unit(piece)?;
                    for unit in [Some(first), second].into_iter().flatten() {
                        match (high.take(), unit) {
                            (None, 0xd800..=0xdbff) => high = Some(unit),
                            (before, unit) => {
                                text.push(char::decode_utf16(before.into_iter().chain([unit])).next()?.ok()?);
                            }
                        }
                    }
                    let another = piece[0] == 0xed && matches!(after, [0xed, 0xa0..=0xff, ..]);
                    piece = after;
                    if !another {
                        break;
                    }
                }
            }
        }
        high.is_none().then_some(text)
    }

    /// Its UTF-16 units.
    pub fn units(&self) -> Units<'a> {
        Units { pieces: self.pieces, piece: &[], low: None }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        match self.pieces.as_slice() {
            Some(bytes) if bytes == other.as_bytes() => true,
            // the usual names are ASCII and have one encoding
            Some(bytes) if bytes.is_ascii() => false,
            _ => self.units().eq(other.encode_utf16()),
        }
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.units().eq(other.units())
    }
}

impl Eq for Text<'_> {}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string_lossy(), f)
    }
}

/// Where the first sequence of four bytes begins.
fn first_of_four(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let blocks = bytes.chunks(BLOCK).take_while(|block| block.iter().fold(0, |most, byte| (*byte).max(most)) < 0xf0);
    let passed = (blocks.count() * BLOCK).min(bytes.len());
    let at = bytes[passed..].iter().position(|byte| *byte >= 0xf0)?;
    Some(passed + at)
}

/// Writes a text: its own bytes but for characters beyond U+FFFF, which become pairs.
pub(crate) fn write_str(out: &mut impl BufMut, text: &str) {
    let mut rest = text;
    // those begin with the bytes f0 to f4, which nothing else has
    while let Some(at) = first_of_four(rest.as_bytes()) {
        let (before, from) = rest.split_at(at);
        out.put_slice(before.as_bytes());
        let mut chars = from.chars();
        if let Some(char) = chars.next()
            && let [high, low] = *char.encode_utf16(&mut [0; 2])
        {
            let ([a, b, c], [d, e, f]) = (three(high), three(low));
            out.put_slice(&[a, b, c, d, e, f]);
        }
        rest = chars.as_str();
    }
    out.put_slice(rest.as_bytes());
}

/// A unit from U+0800 on.
fn three(unit: u16) -> [u8; 3] {
    [0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]
}

/// Writes a UTF-16 unit by itself.
pub(crate) fn write_unit(out: &mut impl BufMut, unit: u16) {
    match unit {
        0..=0x7f => out.put_u8(unit as u8),
        0x80..=0x7ff => out.put_slice(&[0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
        _ => out.put_slice(&three(unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One character after the other.
    fn slowly(bytes: &[u8], units: usize) -> Option<usize> {
        let (mut at, mut left) = (0, units);
        while left > 0 {
            let (width, taken) = match bytes.get(at)? {
                0..=0x7f => (1, 1),
                0xc0..=0xdf => (2, 1),
                0xe0..=0xef => (3, 1),
                0xf0..=0xf7 => (4, 2),
                _ => return None,
            };
            let continued = bytes.get(at + 1..at + width)?;
            if taken > left || !continued.iter().all(|byte| byte & 0xc0 == 0x80) {
                return None;
            }
            (at, left) = (at + width, left - taken);
        }
        Some(at)
    }

    fn runs() -> impl Strategy<Value = Vec<u8>> {
        let char = prop_oneof![
            4 => Just("a"), 2 => Just("ß"), 3 => Just("中"), 1 => Just("\u{1f600}")
        ];
        prop::collection::vec((char, 0_usize..40), 0..8)
            .prop_map(|runs| runs.iter().flat_map(|(char, times)| char.repeat(*times).into_bytes()).collect())
    }

    proptest! {
        #[test]
        fn runs_end_where_their_last_character_ends(bytes in runs(), units in 0_usize..200) {
            prop_assert_eq!(end_of(&bytes, 0, units).ok(), slowly(&bytes, units));
        }

        #[test]
        fn a_changed_byte_is_seen(mut bytes in runs(), units in 0_usize..200, at: prop::sample::Index, byte: u8) {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(end_of(&bytes, 0, units).ok(), slowly(&bytes, units));
        }
    }
}
