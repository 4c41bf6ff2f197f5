//! Values one after the other, into bytes.

use super::{
    Class,
    text::{end_of, units_of, write_str, write_unit},
};
use bytes::BufMut;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// Units of a string's chunk: as Java's writer has it, what is left above this goes on in another.
const STRING_CHUNK: usize = 0x8000;
/// Bytes of a binary's chunk: what 16 bits count.
const BINARY_CHUNK: usize = 0xffff;
/// Classes that are looked for by their address, before all are by their content.
const NEAR: usize = 8;

/// Writes a stream of values in their shortest forms, and where there are several, in the one that Java's writer takes.
///
/// Types and classes are written where they are first used. The caller keeps the number of values in a container.
///
/// ```
/// use mesh_codec_dubbo::hessian2::Writer;
///
/// let mut writer = Writer::new(Vec::new());
/// let list = writer.list(None, Some(2));
/// writer.int(1);
/// writer.reference(list);
/// assert_eq!(writer.into_inner(), [0x7a, 0x91, 0x51, 0x90]);
/// ```
#[derive(Clone, Debug)]
pub struct Writer<B> {
    out: B,
    types: HashMap<Arc<str>, u32>,
    near: Vec<Arc<Class>>,
    classes: HashMap<Arc<Class>, u32>,
    containers: u32,
}

impl<B: BufMut> Writer<B> {
    /// Into a buffer, behind what it holds.
    pub fn new(out: B) -> Self {
        Self { out, types: HashMap::new(), near: Vec::new(), classes: HashMap::new(), containers: 0 }
    }

    /// The buffer.
    pub fn into_inner(self) -> B {
        self.out
    }

    /// The buffer as it is.
    pub const fn get_ref(&self) -> &B {
        &self.out
    }

    /// How many containers were opened: the next one's number.
    pub const fn containers(&self) -> u32 {
        self.containers
    }

    /// Writes a null.
    pub fn null(&mut self) {
        self.out.put_u8(b'N');
    }

    /// Writes a truth value.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(if value { b'T' } else { b'F' });
    }

    /// Writes an int.
    pub fn int(&mut self, value: i32) {
        match value {
            -0x10..=0x2f => self.out.put_i8((value + 0x90) as i8),
            -0x800..=0x7ff => self.out.put_u16((value + 0xc800) as u16),
            -0x4_0000..=0x3_ffff => {
                self.out.put_u8((0xd4 + (value >> 16)) as u8);
                self.out.put_u16(value as u16);
            }
            _ => {
                self.out.put_u8(b'I');
                self.out.put_i32(value);
            }
        }
    }

    /// Writes a long.
    pub fn long(&mut self, value: i64) {
        match value {
            -0x8..=0xf => self.out.put_i8((value + 0xe0) as i8),
            -0x800..=0x7ff => self.out.put_u16((value + 0xf800) as u16),
            -0x4_0000..=0x3_ffff => {
                self.out.put_u8((0x3c + (value >> 16)) as u8);
                self.out.put_u16(value as u16);
            }
            _ => match i32::try_from(value) {
                Ok(value) => {
                    self.out.put_u8(b'Y');
                    self.out.put_i32(value);
                }
                Err(_) => {
                    self.out.put_u8(b'L');
                    self.out.put_i64(value);
                }
            },
        }
    }

    /// Writes a double. As from Java, -0.0 loses its sign.
    pub fn double(&mut self, value: f64) {
        // casts saturate, as Java's do, and make a zero of what is no number
        let whole = value as i32;
        if f64::from(whole) == value {
            match whole {
                0 => return self.out.put_u8(0x5b),
                1 => return self.out.put_u8(0x5c),
                -0x80..=0x7f => {
                    self.out.put_u8(0x5d);
                    return self.out.put_i8(whole as i8);
                }
                -0x8000..=0x7fff => {
                    self.out.put_u8(0x5e);
                    return self.out.put_i16(whole as i16);
                }
                _ => {}
            }
        }
        let thousandths = (value * 1000.0) as i32;
        if 0.001 * f64::from(thousandths) == value {
            self.out.put_u8(0x5f);
            self.out.put_i32(thousandths);
        } else {
            self.out.put_u8(b'D');
            self.out.put_f64(value);
        }
    }

    /// Writes a date: milliseconds since 1970, UTC.
    pub fn date(&mut self, milliseconds: i64) {
        match i32::try_from(milliseconds / 60_000) {
            Ok(minutes) if milliseconds % 60_000 == 0 => {
                self.out.put_u8(0x4b);
                self.out.put_i32(minutes);
            }
            _ => {
                self.out.put_u8(0x4a);
                self.out.put_i64(milliseconds);
            }
        }
    }

    /// Writes a string.
    pub fn string(&mut self, text: &str) {
        if text.len() <= 0x1f && text.is_ascii() {
            self.out.put_u8(text.len() as u8);
            return self.out.put_slice(text.as_bytes());
        }
        let mut left = units_of(text);
        let mut rest = text;
        while left > STRING_CHUNK {
            let (end, units) = chunk_end(rest);
            self.out.put_u8(b'R');
            self.out.put_u16(units as u16);
            write_str(&mut self.out, &rest[..end]);
            (rest, left) = (&rest[end..], left - units);
        }
        self.string_head(left);
        write_str(&mut self.out, rest);
    }

    /// Writes a string from UTF-16 units, whichever.
    pub fn units(&mut self, units: &[u16]) {
        let mut rest = units;
        while rest.len() > STRING_CHUNK {
            let pair = matches!(rest[STRING_CHUNK - 1], 0xd800..=0xdbff);
            let (chunk, after) = rest.split_at(STRING_CHUNK - usize::from(pair));
            self.out.put_u8(b'R');
            self.out.put_u16(chunk.len() as u16);
            self.each_unit(chunk);
            rest = after;
        }
        self.string_head(rest.len());
        self.each_unit(rest);
    }

    fn each_unit(&mut self, units: &[u16]) {
        for &unit in units {
            write_unit(&mut self.out, unit);
        }
    }

    fn string_head(&mut self, units: usize) {
        match units {
            0..=0x1f => self.out.put_u8(units as u8),
            0x20..=0x3ff => self.out.put_u16(0x3000 + units as u16),
            _ => {
                self.out.put_u8(b'S');
                self.out.put_u16(units as u16);
            }
        }
    }

    /// Writes bytes.
    pub fn binary(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((chunk, after)) = rest.split_at_checked(BINARY_CHUNK)
            && !after.is_empty()
        {
            self.out.put_u8(b'A');
            self.out.put_u16(BINARY_CHUNK as u16);
            self.out.put_slice(chunk);
            rest = after;
        }
        match rest.len() {
            0..=0xf => self.out.put_u8(0x20 + rest.len() as u8),
            0x10..=0x3ff => self.out.put_u16(0x3400 + rest.len() as u16),
            _ => {
                self.out.put_u8(b'B');
                self.out.put_u16(rest.len() as u16);
            }
        }
        self.out.put_slice(rest);
    }

    /// Writes a reference to a container that was opened before, by the number it was given.
    pub fn reference(&mut self, number: u32) {
        self.out.put_u8(b'Q');
        self.count(number as usize);
    }

    /// Opens a list and gives its number. With a length, as many values follow; without one, values up to
    /// [`end`](Self::end).
    ///
    /// # Panics
    /// For a length of 2³¹ and more, which the format does not have.
    pub fn list(&mut self, kind: Option<&str>, length: Option<usize>) -> u32 {
        self.out.put_u8(match (kind, length) {
            (Some(_), None) => b'U',
            (None, None) => b'W',
            (Some(_), Some(length @ 0..=7)) => 0x70 + length as u8,
            (None, Some(length @ 0..=7)) => 0x78 + length as u8,
            (Some(_), Some(_)) => b'V',
            (None, Some(_)) => b'X',
        });
        self.kind(kind);
        if let Some(length @ 8..) = length {
            self.count(length);
        }
        self.number()
    }

    /// Opens a map and gives its number: keys and values by turns follow, up to [`end`](Self::end).
    pub fn map(&mut self, kind: Option<&str>) -> u32 {
        self.out.put_u8(if kind.is_some() { b'M' } else { b'H' });
        self.kind(kind);
        self.number()
    }

    /// Ends a map, or a list that was opened without a length.
    pub fn end(&mut self) {
        self.out.put_u8(b'Z');
    }

    /// Opens an object and gives its number: a value for each field of the class follows. The class is defined before
    /// it, unless that has been done for an equal one.
    pub fn object(&mut self, class: &Arc<Class>) -> u32 {
        let near = self.near.iter().position(|known| Arc::ptr_eq(known, class));
        let index = near.map_or_else(|| self.class(class), |index| index as u32);
        if index < 0x10 {
            self.out.put_u8(0x60 + index as u8);
        } else {
            self.out.put_u8(b'O');
            self.count(index as usize);
        }
        self.number()
    }

    /// Writes a constant of an enum and gives its number.
    pub fn constant(&mut self, class: &str, name: &str) -> u32 {
        let number = self.object(&Arc::new(Class::new(class, ["name"])));
        self.string(name);
        number
    }

    /// A class by its content; defined where it is new.
    fn class(&mut self, class: &Arc<Class>) -> u32 {
        let next = self.classes.len();
        match self.classes.entry(Arc::clone(class)) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(new) => new.insert(next as u32),
        };
        if next < NEAR {
            self.near.push(Arc::clone(class));
        }
        self.out.put_u8(b'C');
        self.string(&class.name);
        self.count(class.fields.len());
        for field in &class.fields {
            self.string(field);
        }
        next as u32
    }

    /// A type by its place, or by its name the first time.
    fn kind(&mut self, kind: Option<&str>) {
        let Some(kind) = kind else { return };
        match self.types.get(kind) {
            Some(&known) => self.count(known as usize),
            None => {
                self.types.insert(kind.into(), self.types.len() as u32);
                self.string(kind);
            }
        }
    }

    /// A number that is not negative.
    fn count(&mut self, count: usize) {
        self.int(i32::try_from(count).expect("the format counts up to 2^31 - 1"));
    }

    fn number(&mut self) -> u32 {
        self.containers += 1;
        self.containers - 1
    }
}

/// Where a chunk's worth of units ends in a longer text, and how many there are: one fewer where a character beyond
/// U+FFFF would be split.
fn chunk_end(text: &str) -> (usize, usize) {
    match end_of(text.as_bytes(), 0, STRING_CHUNK) {
        Ok(end) => (end, STRING_CHUNK),
        Err(_) => (end_of(text.as_bytes(), 0, STRING_CHUNK - 1).unwrap_or(text.len()), STRING_CHUNK - 1),
    }
}
