//! Values in memory to bytes.

use super::{Value, Writer};
use bytes::BufMut;
use std::fmt;

/// A [`Value::Ref`] to a container that does not open before it: no stream can say that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The number that no container has.
    pub number: u32,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reference to container {}, which does not open before it", self.number)
    }
}

impl std::error::Error for Dangling {}

impl<B: BufMut> Writer<B> {
    /// Writes a value with all that is in it. Its references count the containers of this stream from the first.
    ///
    /// # Errors
    /// For a reference to what has not been opened; what stands before it has been written then.
    pub fn value(&mut self, value: &Value) -> Result<(), Dangling> {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Long(value) => self.long(*value),
            Value::Double(value) => self.double(*value),
            Value::Date(milliseconds) => self.date(*milliseconds),
            Value::String(text) => match text.as_units() {
                Ok(text) => self.string(text),
                Err(units) => self.units(units),
            },
            Value::Binary(bytes) => self.binary(bytes),
            Value::Ref(number) if *number < self.containers() => self.reference(*number),
            Value::Ref(number) => return Err(Dangling { number: *number }),
            Value::List(list) => {
                self.list(list.kind.as_deref(), (!list.variable).then_some(list.items.len()));
                list.items.iter().try_for_each(|item| self.value(item))?;
                if list.variable {
                    self.end();
                }
            }
            Value::Map(map) => {
                self.map(map.kind.as_deref());
                for (key, value) in &map.entries {
                    self.value(key)?;
                    self.value(value)?;
                }
                self.end();
            }
            Value::Object(object) => {
                self.object(object.class());
                object.values().iter().try_for_each(|value| self.value(value))?;
            }
        }
        Ok(())
    }
}

/// Encodes the values of a stream.
///
/// # Errors
/// For a reference to what does not open before it.
pub fn encode<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<Vec<u8>, Dangling> {
    let mut writer = Writer::new(Vec::new());
    values.into_iter().try_for_each(|value| writer.value(value))?;
    Ok(writer.into_inner())
}
