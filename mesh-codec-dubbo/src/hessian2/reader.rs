//! Values one after the other, as they are asked for.

use super::{ClassId, Error, ErrorKind, Limit, Limits, Mark, Tables, Text, Token, TypeId, tables::Definition};

/// Reads a stream of values from bytes: a token at a time, or past a whole value.
///
/// It copies nothing and, up to 8 classes, 8 types and 64 open containers, allocates nothing. Class definitions are
/// taken in silently where they stand before a value. After an error its position is anywhere; a [`Mark`] leads back.
///
/// ```
/// use mesh_codec_dubbo::hessian2::{Limits, Reader, Token};
///
/// // a call's path, an argument (a list of two), and an int
/// let stream = b"\x04path\x7a\x91\x01b\x95";
/// let mut reader = Reader::new(stream, Limits::WALK);
/// assert_eq!(reader.read_text()?.ok_or("null")?.as_str(), Some("path"));
/// reader.skip()?;
/// assert_eq!(reader.position(), 9);
/// assert_eq!(reader.read()?, Token::Int(5));
/// assert!(reader.is_at_end());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) tables: Tables,
    pub(super) limits: Limits,
    /// The stream is longer than the limit.
    cut: bool,
}

impl<'a> Reader<'a> {
    /// At the start of a stream.
    pub fn new(stream: &'a [u8], limits: Limits) -> Self {
        Self::resume(stream, 0, Tables::new(), limits)
    }

    /// Within a stream, at a position and with the tables that another reader had there
    /// ([`into_tables`](Self::into_tables)). Tables of other bytes, or of another position, read wrong values or
    /// errors.
    pub fn resume(stream: &'a [u8], position: usize, tables: Tables, limits: Limits) -> Self {
        let total = limits.total.min(u32::MAX as usize);
        let cut = stream.len() > total;
        let bytes = &stream[..stream.len().min(total)];
        Self { bytes, at: position.min(bytes.len()), tables, limits, cut }
    }

    /// How many bytes have been read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The bytes that have not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Whether all bytes have been read.
    pub const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len() && !self.cut
    }

    /// That all bytes have been read.
    ///
    /// # Errors
    /// [`ErrorKind::Trailing`] where some are left.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_at_end() { Ok(()) } else { Err(self.error(ErrorKind::Trailing, self.at)) }
    }

    /// What the stream has defined so far.
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What the stream has defined so far, to go on later with [`resume`](Self::resume).
    pub fn into_tables(self) -> Tables {
        self.tables
    }

    /// This place, to come back to.
    pub fn mark(&self) -> Mark {
        self.tables.mark(self.at)
    }

    /// Goes back to a place where this reader has been; what was defined behind it is forgotten.
    pub fn rewind(&mut self, mark: &Mark) {
        self.tables.rewind(mark);
        self.at = mark.at.min(self.bytes.len());
    }

    /// The next scalar, reference, or opening of a container.
    ///
    /// # Errors
    /// Where the bytes are no value, an end of a container included, or more than the limits allow.
    pub fn read(&mut self) -> Result<Token<'a>, Error> {
        let tag = self.tag()?;
        let start = self.at - 1;
        Ok(match tag {
            0x00..=0x1f | 0x30..=0x33 | b'R' | b'S' => Token::String(self.text(tag)?),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => Token::Binary(self.binary(tag)?),
            b'N' => Token::Null,
            b'T' => Token::Bool(true),
            b'F' => Token::Bool(false),
            0x80..=0xd7 | b'I' => Token::Int(self.int_of(tag)?),
            0x38..=0x3f | 0xd8..=0xff | b'L' | b'Y' => Token::Long(self.long_of(tag)?),
            b'D' => Token::Double(f64::from_be_bytes(self.array()?)),
            0x5b => Token::Double(0.0),
            0x5c => Token::Double(1.0),
            0x5d => Token::Double(f64::from(i8::from_be_bytes(self.array()?))),
            0x5e => Token::Double(f64::from(i16::from_be_bytes(self.array()?))),
            // multiplied: a division by 1000 differs in the last bit for some
            0x5f => Token::Double(0.001 * f64::from(i32::from_be_bytes(self.array()?))),
            0x4a => Token::Date(i64::from_be_bytes(self.array()?)),
            0x4b => Token::Date(i64::from(i32::from_be_bytes(self.array()?)) * 60_000),
            b'Q' => Token::Reference(self.reference()?),
            b'H' => Token::Map { number: self.number()?, kind: None },
            b'M' => {
                let number = self.number()?;
                Token::Map { number, kind: Some(self.kind()?) }
            }
            b'U' | b'V' | b'W' | b'X' | 0x70..=0x7f => {
                let number = self.number()?;
                let (kind, length) = self.list(tag)?;
                Token::List { number, kind, length }
            }
            b'O' | 0x60..=0x6f => {
                let number = self.number()?;
                Token::Object { number, class: self.class(tag)? }
            }
            _ => return Err(self.unexpected("a value", start)),
        })
    }

    /// As [`read`](Self::read), and nothing at the end of a map or of a list without a length, which is read then.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn read_or_end(&mut self) -> Result<Option<Token<'a>>, Error> {
        if self.end() { Ok(None) } else { self.read().map(Some) }
    }

    /// A type's name.
    ///
    /// # Errors
    /// For a type of another stream.
    pub fn type_name(&self, kind: TypeId) -> Result<Text<'a>, Error> {
        let at = self.tables.types.get(kind.0 as usize).ok_or_else(|| self.error(ErrorKind::Type, self.at))?;
        self.text_at(*at).map(|(text, _)| text)
    }

    /// A class's name.
    ///
    /// # Errors
    /// For a class of another stream.
    pub fn class_name(&self, class: ClassId) -> Result<Text<'a>, Error> {
        self.text_at(self.definition(class.index)?.name).map(|(text, _)| text)
    }

    /// The names of a class's fields, in the order of the values. A name may stand there twice: a field of a superclass
    /// and one that shadows it.
    ///
    /// # Errors
    /// For a class of another stream.
    pub fn field_names(&self, class: ClassId) -> Result<impl Iterator<Item = Text<'a>> + '_, Error> {
        let Definition { names, fields, .. } = *self.definition(class.index)?;
        Ok((0..fields).scan(names, |at, _| {
            let (text, end) = self.text_at(*at).ok()?;
            *at = end as u32;
            Some(text)
        }))
    }

    fn definition(&self, index: u32) -> Result<&Definition, Error> {
        self.tables.classes.get(index as usize).ok_or_else(|| self.error(ErrorKind::Class, self.at))
    }

    /// A string that has been passed before, and where it ends.
    fn text_at(&self, at: u32) -> Result<(Text<'a>, usize), Error> {
        let at = at as usize;
        let mut there = Reader { at, tables: Tables::new(), ..*self };
        let tag = there.byte()?;
        let text = there.text(tag)?;
        Ok((text, there.at))
    }

    pub(super) fn error(&self, kind: ErrorKind, at: usize) -> Error {
        Error::new(kind, at, self.bytes.get(at).copied())
    }

    pub(super) fn unexpected(&self, expected: &'static str, at: usize) -> Error {
        self.error(ErrorKind::Unexpected { expected }, at)
    }

    #[cold]
    pub(super) fn short(&self) -> Error {
        let kind = if self.cut { ErrorKind::Limit(Limit::Total) } else { ErrorKind::Truncated };
        Error::new(kind, self.bytes.len(), None)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.short())?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let array = *self.rest().first_chunk().ok_or_else(|| self.short())?;
        self.at += N;
        Ok(array)
    }

    /// The tag of a value; definitions before it are taken in.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<u8, Error> {
        self.count(1)?;
        loop {
            match self.byte()? {
                b'C' => self.define()?,
                tag => return Ok(tag),
            }
        }
    }

    #[inline]
    pub(super) fn count(&mut self, values: u32) -> Result<(), Error> {
        match self.tables.values.checked_add(values) {
            Some(sum) if sum <= self.limits.values => self.tables.values = sum,
            _ => return Err(self.error(ErrorKind::Limit(Limit::Values), self.at)),
        }
        Ok(())
    }

    /// Whether an end of a container stands here, which is read then.
    #[inline]
    pub(super) fn end(&mut self) -> bool {
        let end = self.bytes.get(self.at) == Some(&b'Z');
        self.at += usize::from(end);
        end
    }

    /// The number of a container that opens here.
    #[inline]
    pub(super) fn number(&mut self) -> Result<u32, Error> {
        let number = self.tables.containers;
        // not more than there are bytes
        self.tables.containers = number.checked_add(1).ok_or_else(|| self.short())?;
        Ok(number)
    }
}
