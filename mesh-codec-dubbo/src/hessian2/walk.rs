//! Past values without a look at them, and what a walk stops at.

use super::{Error, ErrorKind, Limit, Reader, Text, Token};
use smallvec::SmallVec;
use std::ops::Range;

/// An open container's state; below these, the number of values that it still has.
mod open {
    /// A list without a length.
    pub(super) const LIST: u32 = 0x8000_0000;
    /// A map, before a key.
    pub(super) const KEY: u32 = 0x8000_0001;
    /// A map, before a value.
    pub(super) const VALUE: u32 = 0x8000_0002;
}

/// An entry of a map whose keys are usually strings: a Dubbo call's attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key, where it is a string.
    pub key: Option<Text<'a>>,
    /// The value, where it is a string.
    pub value: Option<Text<'a>>,
    /// Where in the stream the key stands.
    pub key_at: Range<usize>,
    /// Where in the stream the value stands.
    pub value_at: Range<usize>,
}

impl<'a> Reader<'a> {
    /// Goes past one value with all that is in it, in time linear in its bytes and without recursion.
    ///
    /// # Errors
    /// Where the bytes are no value, exactly as [`read`](Self::read) refuses them, or more than the limits allow.
    #[inline]
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.pass_one()? {
            None => Ok(()),
            Some(open) => self.pass_container(open),
        }
    }

    /// Goes to the end of a container that is open.
    fn pass_container(&mut self, mut open: u32) -> Result<(), Error> {
        let mut outer = SmallVec::<[u32; 64]>::new();
        if self.limits.depth == 0 {
            return Err(self.error(ErrorKind::Limit(Limit::Depth), self.at - 1));
        }
        loop {
            match open {
                0 => match outer.pop() {
                    Some(state) => {
                        open = state;
                        continue;
                    }
                    None => return Ok(()),
                },
                open::LIST | open::KEY if self.end() => {
                    open = 0;
                    continue;
                }
                open::LIST => {}
                open::KEY => open = open::VALUE,
                open::VALUE => open = open::KEY,
                values => open = values - 1,
            }
            if let Some(inner) = self.pass_one()? {
                // with the one that is in it
                if outer.len() + 1 >= self.limits.depth {
                    return Err(self.error(ErrorKind::Limit(Limit::Depth), self.at - 1));
                }
                outer.push(open);
                open = inner;
            }
        }
    }

    /// Goes past a scalar, or into a container, whose state it gives.
    #[inline]
    fn pass_one(&mut self) -> Result<Option<u32>, Error> {
        let tag = self.tag()?;
        let width = match tag {
            b'N' | b'T' | b'F' | 0x5b | 0x5c | 0x80..=0xbf | 0xd8..=0xef => return Ok(None),
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => return self.text(tag).map(|_| None),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => return self.binary(tag).map(|_| None),
            0x5d | 0xc0..=0xcf | 0xf0..=0xff => 1,
            0x38..=0x3f | 0x5e | 0xd0..=0xd7 => 2,
            b'I' | b'Y' | 0x4b | 0x5f => 4,
            b'D' | b'L' | 0x4a => 8,
            b'Q' => return self.reference().map(|_| None),
            b'H' => return self.number().map(|_| Some(open::KEY)),
            b'M' => {
                self.number()?;
                return self.kind().map(|_| Some(open::KEY));
            }
            b'U' | b'V' | b'W' | b'X' | 0x70..=0x7f => {
                self.number()?;
                return self.list(tag).map(|(_, length)| Some(length.unwrap_or(open::LIST)));
            }
            b'O' | 0x60..=0x6f => {
                self.number()?;
                return self.class(tag).map(|class| Some(class.fields()));
            }
            _ => return Err(self.unexpected("a value", self.at - 1)),
        };
        if width > self.rest().len() {
            return Err(self.short());
        }
        self.at += width;
        Ok(None)
    }

    /// Reads a string, or nothing for a null.
    ///
    /// # Errors
    /// Where another value stands, or none.
    pub fn read_text(&mut self) -> Result<Option<Text<'a>>, Error> {
        let tag = self.tag()?;
        match tag {
            b'N' => Ok(None),
            tag => self.text(tag).map(Some),
        }
    }

    /// Reads an int, or a long that fits one.
    ///
    /// # Errors
    /// Where another value stands, or none.
    pub fn read_int(&mut self) -> Result<i32, Error> {
        let tag = self.tag()?;
        let start = self.at - 1;
        match tag {
            0x80..=0xd7 | b'I' => self.int_of(tag),
            0x38..=0x3f | 0xd8..=0xff | b'L' | b'Y' => {
                i32::try_from(self.long_of(tag)?).map_err(|_| self.unexpected("an int", start))
            }
            _ => Err(self.unexpected("an int", start)),
        }
    }

    /// Opens a map, of whatever type: its entries follow. False for a null, which has none.
    ///
    /// # Errors
    /// Where another value stands, or none.
    pub fn open_map(&mut self) -> Result<bool, Error> {
        let start = self.at;
        match self.read()? {
            Token::Null => Ok(false),
            Token::Map { .. } => Ok(true),
            _ => Err(self.unexpected("a map", start)),
        }
    }

    /// The next entry of a map that is open; nothing at its end, which is read then. Keys and values that are not
    /// strings are passed over. A key may come again: in Java the last one counts.
    ///
    /// # Errors
    /// Where a key or value is none, or the map does not end.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, Error> {
        if self.end() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.text_or_skip()?;
        let middle = self.at;
        let value = self.text_or_skip()?;
        Ok(Some(Entry { key, value, key_at: start..middle, value_at: middle..self.at }))
    }

    /// Goes into an object or a map, to the value of a field or a string key; false where it has none, or where another
    /// value stands. The reader is then behind the value's start, or anywhere: keep a [`mark`](Self::mark).
    ///
    /// Where a name stands twice, in a class or a map, the last one counts, as in Java.
    ///
    /// # Errors
    /// Where the bytes are no value, or more than the limits allow.
    pub fn enter(&mut self, name: &str) -> Result<bool, Error> {
        match self.read()? {
            Token::Object { class, .. } => {
                let mut place = None;
                for (at, field) in (0_u32..).zip(self.field_names(class)?) {
                    if field == *name {
                        place = Some(at);
                    }
                }
                for _ in 0..place.unwrap_or(0) {
                    self.skip()?;
                }
                Ok(place.is_some())
            }
            Token::Map { .. } => {
                let mut found = None;
                while !self.end() {
                    let is_it = self.text_or_skip()?.is_some_and(|key| key == *name);
                    if is_it {
                        found = Some(self.mark());
                    }
                    self.skip()?;
                }
                if let Some(mark) = &found {
                    self.rewind(mark);
                }
                Ok(found.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Goes into a list, to its value at an index from 0; false where it has none, or where another value stands. As
    /// of [`enter`](Self::enter).
    ///
    /// # Errors
    /// Where the bytes are no value, or more than the limits allow.
    pub fn enter_at(&mut self, index: u32) -> Result<bool, Error> {
        let Token::List { length, .. } = self.read()? else { return Ok(false) };
        if length.is_some_and(|length| index >= length) {
            return Ok(false);
        }
        for _ in 0..index {
            if length.is_none() && self.end() {
                return Ok(false);
            }
            self.skip()?;
        }
        Ok(length.is_some() || self.bytes.get(self.at) != Some(&b'Z'))
    }

    /// A string, or nothing for another value, which is passed over.
    fn text_or_skip(&mut self) -> Result<Option<Text<'a>>, Error> {
        match self.bytes.get(self.at) {
            Some(0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') => self.read_text(),
            _ => self.skip().map(|()| None),
        }
    }
}
