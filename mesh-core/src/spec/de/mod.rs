//! The tree as a `serde` deserializer.
//!
//! Errors get the position of the innermost node or key that is known where they arise, and their
//! path on the way out, one segment per mapping and list.

mod access;

use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use self::access::{Entries, Items, Variant};
use super::invalid::one_of;
use super::place::{self, Place};
use super::{Invalid, Key, Node, Value};

impl Node {
    fn visit<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visit_integer(*value, visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visit_items(items, visitor),
            Value::Mapping(entries) => visit_entries(entries, visitor),
        }
    }

    /// Visits a text that should be something else, and says what to do where it only looks like text.
    fn visit_unquoted<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Invalid> {
        let is_number = self.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
        self.visit(visitor)
            .map_err(|invalid| advise(invalid, is_number, "remove the quotes to make it a number").at(self))
    }
}

/// Adds a suggestion where there is none yet.
fn advise(invalid: Invalid, applies: bool, suggestion: &str) -> Invalid {
    if applies && invalid.suggestion.is_none() { invalid.with_suggestion(suggestion) } else { invalid }
}

/// Visits with the narrowest type: few visitors know 128 bits.
fn visit_integer<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, Invalid> {
    if let Ok(value) = u64::try_from(value) {
        visitor.visit_u64(value)
    } else if let Ok(value) = i64::try_from(value) {
        visitor.visit_i64(value)
    } else {
        visitor.visit_i128(value)
    }
}

fn visit_items<'de, V: Visitor<'de>>(items: &'de [Node], visitor: V) -> Result<V::Value, Invalid> {
    let mut access = Items { items: items.iter().enumerate() };
    let value = visitor.visit_seq(&mut access)?;
    match access.items.next() {
        None => Ok(value),
        Some((index, extra)) => {
            Err(Invalid::new(format!("expected a list of {index}, found {} entries", items.len())).at(extra))
        }
    }
}

fn visit_entries<'de, V: Visitor<'de>>(entries: &'de [(Key, Node)], visitor: V) -> Result<V::Value, Invalid> {
    let mut access = Entries { entries: entries.iter(), value: None };
    let value = visitor.visit_map(&mut access)?;
    match access.entries.next() {
        None => Ok(value),
        Some((key, _)) => Err(Invalid::new(format!("unexpected key `{}`", key.name)).at_position(key.position)),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            self.visit_unquoted(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.visit(visitor).map_err(|invalid| invalid.at(self))
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let meant = match self.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "y") => Some("did you mean `true`?"),
            Some("false" | "no" | "off" | "n") => Some("did you mean `false`?"),
            _ => None,
        };
        self.visit(visitor).map_err(|invalid| advise(invalid, meant.is_some(), meant.unwrap_or_default()).at(self))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let typed = matches!(self.value, Value::Bool(_) | Value::Integer(_) | Value::Float(_));
        self.visit(visitor).map_err(|invalid| advise(invalid, typed, "put it in quotes to make it text").at(self))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|invalid| invalid.at(self))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Mapping(entries) if entries.is_empty() => visitor.visit_unit(),
            _ => self.deserialize_struct(name, &[], visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        match name {
            place::NAME => visitor.visit_seq(Place::new(self, self.position, self.source.as_deref())),
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|invalid| invalid.at(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Null => visit_items(&[], visitor),
            _ => self.visit(visitor),
        }
        .map_err(|invalid| {
            let alone = !matches!(self.value, Value::Sequence(_));
            advise(invalid, alone, "put it in `[ ]` to make it a list").at(self)
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Null => visit_entries(&[], visitor),
            _ => self.visit(visitor),
        }
        .map_err(|invalid| invalid.at(self))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Null => visit_entries(&[], visitor),
            Value::Mapping(entries) => visit_entries(entries, visitor),
            // What serde derives would take a list for the fields in order.
            Value::Sequence(_) => Err(Invalid::new("expected a mapping, found a list")),
            _ => self.visit(visitor).map_err(|invalid| {
                let suggestion = format!("its keys are `{}`", fields.join("`, `"));
                advise(invalid, !fields.is_empty(), &suggestion)
            }),
        }
        .map_err(|invalid| invalid.at(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        let variant = match &self.value {
            Value::String(name) => Variant { name, position: self.position, content: None },
            Value::Mapping(entries) if !entries.is_empty() => {
                if let Some((extra, _)) = entries.get(1) {
                    return Err(second_key(&entries[0], extra));
                }
                let (key, content) = &entries[0];
                Variant { name: &key.name, position: key.position, content: Some(content) }
            }
            _ => {
                return Err(Invalid::new(format!("expected {}, found {}", one_of(variants), self.describe())).at(self));
            }
        };
        visitor.visit_enum(variant).map_err(|invalid| invalid.at(self))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf unit }
}

/// The fault of a mapping with several keys where one names what it is, most often because the
/// settings below that name are not indented.
pub(super) fn second_key((first, settings): &(Key, Node), second: &Key) -> Invalid {
    let invalid = Invalid::new(format!("expected `{}` alone, found another key `{}`", first.name, second.name))
        .at_position(second.position);
    advise(invalid, settings.is_null(), &format!("indent the settings of `{}` further than its name", first.name))
}
