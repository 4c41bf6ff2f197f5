//! Dates and values of this crate within Rust types.

use super::{DATE, VALUE};
use crate::hessian2::{Limits, List, Map, Value, encode};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeMap},
};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A point in time, `java.util.Date`: milliseconds since 1970, UTC. In other formats than Hessian2 it is that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date(pub i64);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(DATE, &self.0)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

impl From<SystemTime> for Date {
    /// To the millisecond, towards the past; saturating.
    fn from(time: SystemTime) -> Self {
        let whole = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(since) => whole(since),
            Err(before) => {
                let before = before.duration();
                let milliseconds = whole(before);
                -milliseconds - i64::from(before.subsec_nanos() % 1_000_000 != 0)
            }
        })
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date.0)
    }
}

/// In a format for people a value is what it looks like: a list, a map, an object as a map of its fields; references are
/// errors, as they mean nothing there (`hessian2::json` resolves them). In another format it is its
/// bytes.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return plain(self, serializer);
        }
        let bytes = encode([self]).map_err(S::Error::custom)?;
        serializer.serialize_newtype_struct(VALUE, &Bytes(&bytes))
    }
}

fn plain<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Null => serializer.serialize_unit(),
        Value::Bool(value) => serializer.serialize_bool(*value),
        Value::Int(value) => serializer.serialize_i32(*value),
        Value::Long(value) | Value::Date(value) => serializer.serialize_i64(*value),
        Value::Double(value) => serializer.serialize_f64(*value),
        Value::String(text) => serializer.serialize_str(&text.to_string_lossy()),
        Value::Binary(bytes) => serializer.serialize_bytes(bytes),
        Value::List(list) => serializer.collect_seq(&list.items),
        Value::Map(map) => serializer.collect_map(map.entries.iter().map(|(key, value)| (key, value))),
        Value::Object(object) => {
            let mut map = serializer.serialize_map(Some(object.values().len()))?;
            for (name, value) in object.fields() {
                map.serialize_entry(name, value)?;
            }
            map.end()
        }
        Value::Ref(number) => Err(S::Error::custom(format_args!("a reference to container {number}"))),
    }
}

/// Bytes as such, not a sequence of numbers.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// From a format for people: integers are ints where they fit, and longs; larger ones doubles. Sequences and maps are
/// lists and maps without a type, in the order of the text.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Plain)
        } else {
            deserializer.deserialize_newtype_struct(VALUE, Encoded)
        }
    }
}

/// What looks like a value.
struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(i32::try_from(value).map_or(Value::Long(value), Value::Int))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map_or(Ok(Value::Double(value as f64)), |value| self.visit_i64(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Binary(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(List { items, ..List::default() }.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Map { kind: None, entries }.into())
    }
}

/// The bytes of a stream of one value.
struct Encoded;

impl<'de> Visitor<'de> for Encoded {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a Hessian2 value")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Value::from_slice(bytes, Limits::DECODE).map_err(E::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}
