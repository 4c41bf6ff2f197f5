//! What stands between a tag and the values: numbers, types, classes, and the chunks of strings and binaries.

use super::{
    Binary, ClassId, Error, ErrorKind, Limit, Reader, Text, TypeId,
    pieces::{Head, Kind, Pieces, binary_head, string_head},
    tables::Definition,
    text::{Broken, end_of},
};

impl<'a> Reader<'a> {
    /// A class definition, whose tag has been read.
    pub(super) fn define(&mut self) -> Result<(), Error> {
        let start = self.at - 1;
        if self.tables.classes.len() >= self.limits.definitions as usize {
            return Err(self.error(ErrorKind::Limit(Limit::Definitions), start));
        }
        let name = self.at as u32;
        self.string()?;
        let fields = self.length()?;
        self.count(fields)?;
        let names = self.at as u32;
        for _ in 0..fields {
            self.string()?;
        }
        self.tables.classes.push(Definition { name, names, fields });
        Ok(())
    }

    /// A string that has to stand here.
    fn string(&mut self) -> Result<(), Error> {
        let tag = self.byte()?;
        self.text(tag).map(drop)
    }

    /// A number of values, names or bytes that follow: each takes a byte at least.
    pub(super) fn length(&mut self) -> Result<u32, Error> {
        let start = self.at;
        let length = self.int()?;
        let length = u32::try_from(length).map_err(|_| self.error(ErrorKind::Negative, start))?;
        if length as usize > self.rest().len() { Err(self.short()) } else { Ok(length) }
    }

    fn int(&mut self) -> Result<i32, Error> {
        match self.byte()? {
            tag @ (0x80..=0xd7 | b'I') => self.int_of(tag),
            _ => Err(self.unexpected("an int", self.at - 1)),
        }
    }

    /// An int's value, whose tag has been read.
    #[inline]
    pub(super) fn int_of(&mut self, tag: u8) -> Result<i32, Error> {
        let tag = i32::from(tag);
        Ok(match tag {
            0x80..=0xbf => tag - 0x90,
            0xc0..=0xcf => (tag - 0xc8) << 8 | i32::from(self.byte()?),
            0xd0..=0xd7 => (tag - 0xd4) << 16 | i32::from(u16::from_be_bytes(self.array()?)),
            _ => i32::from_be_bytes(self.array()?),
        })
    }

    /// A long's value, whose tag has been read.
    pub(super) fn long_of(&mut self, tag: u8) -> Result<i64, Error> {
        let number = i64::from(tag);
        Ok(match tag {
            0x38..=0x3f => (number - 0x3c) << 16 | i64::from(u16::from_be_bytes(self.array()?)),
            0xd8..=0xef => number - 0xe0,
            0xf0..=0xff => (number - 0xf8) << 8 | i64::from(self.byte()?),
            b'Y' => i64::from(i32::from_be_bytes(self.array()?)),
            _ => i64::from_be_bytes(self.array()?),
        })
    }

    pub(super) fn reference(&mut self) -> Result<u32, Error> {
        let start = self.at;
        let known = u32::try_from(self.int()?).ok().filter(|number| *number < self.tables.containers);
        known.ok_or_else(|| self.error(ErrorKind::Reference, start))
    }

    /// The class of an object, whose tag has been read.
    #[inline]
    pub(super) fn class(&mut self, tag: u8) -> Result<ClassId, Error> {
        let start = self.at;
        let index = if tag == b'O' { u32::try_from(self.int()?).ok() } else { Some(u32::from(tag) - 0x60) };
        let known = index.and_then(|index| Some((index, self.tables.classes.get(index as usize)?.fields)));
        let (index, fields) = known.ok_or_else(|| self.error(ErrorKind::Class, start))?;
        if fields as usize > self.rest().len() {
            return Err(self.short());
        }
        Ok(ClassId { index, fields })
    }

    /// A type: named here, or before.
    pub(super) fn kind(&mut self) -> Result<TypeId, Error> {
        let start = self.at;
        match self.byte()? {
            tag @ (0x80..=0xd7 | b'I') => {
                let index = u32::try_from(self.int_of(tag)?).ok();
                let known = index.filter(|index| (*index as usize) < self.tables.types.len());
                known.map(TypeId).ok_or_else(|| self.error(ErrorKind::Type, start))
            }
            tag @ (0x00..=0x1f | 0x30..=0x33 | b'R' | b'S') => {
                if self.tables.types.len() >= self.limits.definitions as usize {
                    return Err(self.error(ErrorKind::Limit(Limit::Definitions), start));
                }
                self.text(tag)?;
                self.tables.types.push(start as u32);
                Ok(TypeId(self.tables.types.len() as u32 - 1))
            }
            _ => Err(self.unexpected("a type", start)),
        }
    }

    /// Type and length of a list, whose tag has been read.
    #[inline]
    pub(super) fn list(&mut self, tag: u8) -> Result<(Option<TypeId>, Option<u32>), Error> {
        let kind = if matches!(tag, b'U' | b'V' | 0x70..=0x77) { Some(self.kind()?) } else { None };
        let length = match tag {
            b'U' | b'W' => None,
            b'V' | b'X' => Some(self.length()?),
            _ => {
                let length = u32::from(tag & 7);
                if length as usize > self.rest().len() {
                    return Err(self.short());
                }
                Some(length)
            }
        };
        Ok((kind, length))
    }

    /// A string, whose first tag has been read.
    #[inline]
    pub(super) fn text(&mut self, tag: u8) -> Result<Text<'a>, Error> {
        // names, which are most strings
        if tag <= 0x1f
            && let Some(content) = self.bytes.get(self.at..self.at + usize::from(tag))
            && content.is_ascii()
            && content.len() <= self.limits.length
        {
            self.at += content.len();
            return Ok(Text::new(Pieces::new(content, content.len(), Kind::Whole)));
        }
        self.any_text(tag)
    }

    fn any_text(&mut self, tag: u8) -> Result<Text<'a>, Error> {
        self.pieces(tag, string_head, Kind::Strings, "a string").map(Text::new)
    }

    /// A binary, whose first tag has been read.
    pub(super) fn binary(&mut self, tag: u8) -> Result<Binary<'a>, Error> {
        self.pieces(tag, binary_head, Kind::Binaries, "bytes").map(Binary::new)
    }

    #[inline]
    fn pieces(
        &mut self,
        mut tag: u8,
        head: fn(u8, &[u8]) -> Option<Option<Head>>,
        kind: Kind,
        expected: &'static str,
    ) -> Result<Pieces<'a>, Error> {
        let start = self.at - 1;
        let mut length = 0;
        let mut first = true;
        loop {
            let head = head(tag, self.rest()).ok_or_else(|| self.unexpected(expected, self.at - 1))?;
            let head = head.ok_or_else(|| self.short())?;
            length += head.length;
            if length > self.limits.length {
                return Err(self.error(ErrorKind::Limit(Limit::Length), start));
            }
            let content = self.at + head.width;
            self.at = self.pass(content, head.length, kind)?;
            if head.last {
                return Ok(match first {
                    true => Pieces::new(&self.bytes[content..self.at], length, Kind::Whole),
                    false => Pieces::new(&self.bytes[start..self.at], length, kind),
                });
            }
            first = false;
            tag = self.byte()?;
        }
    }

    /// The end of a chunk's content.
    #[inline]
    fn pass(&self, content: usize, length: usize, kind: Kind) -> Result<usize, Error> {
        let end = match kind {
            Kind::Strings => end_of(self.bytes, content, length).map_err(|broken| match broken {
                Broken::Short => self.short(),
                Broken::At(at) => self.error(ErrorKind::Text, at),
            })?,
            _ => content + length,
        };
        if end > self.bytes.len() { Err(self.short()) } else { Ok(end) }
    }
}
