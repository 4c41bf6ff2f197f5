//! Bytes to values in memory.

use super::{Class, ClassId, Error, ErrorKind, Limit, Limits, List, Map, Object, Reader, Text, Token, TypeId, Value};
use std::sync::Arc;

/// Reserved at most for what a stream announces: more has to be seen first.
const RESERVED: usize = 16;

/// Decodes the values of a stream, one after the other; equal classes and types are shared.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    reader: Reader<'a>,
    classes: Vec<Option<Arc<Class>>>,
    types: Vec<Option<Arc<str>>>,
}

impl<'a> Decoder<'a> {
    /// From where a reader is in its stream.
    pub fn new(reader: Reader<'a>) -> Self {
        Self { reader, classes: Vec::new(), types: Vec::new() }
    }

    /// The reader as it is.
    pub const fn reader(&self) -> &Reader<'a> {
        &self.reader
    }

    /// The reader, to go on with.
    pub fn into_reader(self) -> Reader<'a> {
        self.reader
    }

    /// The next value.
    ///
    /// # Errors
    /// Where the bytes are no value, or more than the limits allow; where the name of a class, field or type is no text.
    pub fn value(&mut self) -> Result<Value, Error> {
        self.nested(self.reader.limits.depth)
    }

    fn nested(&mut self, depth: usize) -> Result<Value, Error> {
        let start = self.reader.at;
        let token = self.reader.read()?;
        self.content(token, start, depth)
    }

    fn content(&mut self, token: Token<'a>, start: usize, depth: usize) -> Result<Value, Error> {
        let below = || depth.checked_sub(1).ok_or_else(|| self.reader.error(ErrorKind::Limit(Limit::Depth), start));
        Ok(match token {
            Token::Null => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Long(value) => Value::Long(value),
            Token::Double(value) => Value::Double(value),
            Token::Date(value) => Value::Date(value),
            Token::String(text) => Value::String(text.into()),
            Token::Binary(bytes) => Value::Binary(bytes.to_bytes().into()),
            Token::Reference(number) => Value::Ref(number),
            Token::List { kind, length, .. } => {
                let depth = below()?;
                self.list(kind, length, depth)?
            }
            Token::Map { kind, .. } => {
                let depth = below()?;
                self.map(kind, depth)?
            }
            Token::Object { class, .. } => {
                let depth = below()?;
                self.object(class, depth)?
            }
        })
    }

    fn list(&mut self, kind: Option<TypeId>, length: Option<u32>, depth: usize) -> Result<Value, Error> {
        let kind = self.kind(kind)?;
        let mut items = Vec::new();
        if let Some(length) = length {
            items.reserve_exact((length as usize).min(RESERVED));
            for _ in 0..length {
                items.push(self.nested(depth)?);
            }
        } else {
            while !self.reader.end() {
                items.push(self.nested(depth)?);
            }
        }
        Ok(List { kind, variable: length.is_none(), items }.into())
    }

    fn map(&mut self, kind: Option<TypeId>, depth: usize) -> Result<Value, Error> {
        let kind = self.kind(kind)?;
        let mut entries = Vec::new();
        while !self.reader.end() {
            let key = self.nested(depth)?;
            entries.push((key, self.nested(depth)?));
        }
        Ok(Map { kind, entries }.into())
    }

    fn object(&mut self, class: ClassId, depth: usize) -> Result<Value, Error> {
        let start = self.reader.at;
        let fields = class.fields() as usize;
        let class = self.class(class)?;
        let mut values = Vec::with_capacity(fields.min(RESERVED));
        for _ in 0..fields {
            values.push(self.nested(depth)?);
        }
        let object = Object::new(class, values).ok_or_else(|| self.reader.error(ErrorKind::Class, start))?;
        Ok(object.into())
    }

    fn class(&mut self, class: ClassId) -> Result<Arc<Class>, Error> {
        let index = class.index() as usize;
        if let Some(Some(known)) = self.classes.get(index) {
            return Ok(Arc::clone(known));
        }
        let name = self.name(self.reader.class_name(class)?)?;
        let fields = self.reader.field_names(class)?.map(|field| self.name(field)).collect::<Result<_, _>>()?;
        let made = Arc::new(Class { name, fields });
        put(&mut self.classes, index, &made);
        Ok(made)
    }

    fn kind(&mut self, kind: Option<TypeId>) -> Result<Option<Arc<str>>, Error> {
        let Some(kind) = kind else { return Ok(None) };
        let index = kind.index() as usize;
        if let Some(Some(known)) = self.types.get(index) {
            return Ok(Some(Arc::clone(known)));
        }
        let made = Arc::from(self.name(self.reader.type_name(kind)?)?);
        put(&mut self.types, index, &made);
        Ok(Some(made))
    }

    fn name(&self, text: Text<'_>) -> Result<Box<str>, Error> {
        let name = text.to_str().ok_or_else(|| self.reader.error(ErrorKind::Text, self.reader.at))?;
        Ok(name.into())
    }
}

/// Grows a table up to an entry and sets it.
fn put<T: ?Sized>(table: &mut Vec<Option<Arc<T>>>, index: usize, made: &Arc<T>) {
    if table.len() <= index {
        table.resize(index + 1, None);
    }
    table[index] = Some(Arc::clone(made));
}

/// Decodes all values of a stream.
///
/// # Errors
/// Where the bytes are not values one after the other, or more than the limits allow.
pub fn decode(stream: &[u8], limits: Limits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(Reader::new(stream, limits));
    let mut values = Vec::new();
    while !decoder.reader.rest().is_empty() {
        values.push(decoder.value()?);
    }
    decoder.reader.finish()?;
    Ok(values)
}

impl Value {
    /// Decodes a stream of one value.
    ///
    /// # Errors
    /// Where the bytes are not one value, or more than the limits allow.
    pub fn from_slice(stream: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut decoder = Decoder::new(Reader::new(stream, limits));
        let value = decoder.value()?;
        decoder.reader.finish()?;
        Ok(value)
    }
}
