//! The tree as a `serde` deserializer.
//!
//! Errors get the position of the innermost node or key that is known where they arise, and their
//! path on the way out, one segment per mapping and list.

use std::slice;

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::invalid::one_of;
use super::place::{self, Place};
use super::{Invalid, Key, Node, Position, Value};

/// What a variant or key without content stands for.
static NOTHING: Node = Node {
    value: Value::Null,
    position: Position::UNKNOWN,
    source: None,
};

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
        let is_number = self
            .as_str()
            .is_some_and(|text| text.parse::<f64>().is_ok());
        self.visit(visitor).map_err(|invalid| {
            advise(invalid, is_number, "remove the quotes to make it a number").at(self)
        })
    }
}

/// Adds a suggestion where there is none yet.
fn advise(invalid: Invalid, applies: bool, suggestion: &str) -> Invalid {
    if applies && invalid.suggestion.is_none() {
        invalid.with_suggestion(suggestion)
    } else {
        invalid
    }
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
    let mut access = Items {
        items: items.iter().enumerate(),
    };
    let value = visitor.visit_seq(&mut access)?;
    match access.items.next() {
        None => Ok(value),
        Some((index, extra)) => Err(Invalid::new(format!(
            "expected a list of {index}, found {} entries",
            items.len()
        ))
        .at(extra)),
    }
}

fn visit_entries<'de, V: Visitor<'de>>(
    entries: &'de [(Key, Node)],
    visitor: V,
) -> Result<V::Value, Invalid> {
    let mut access = Entries {
        entries: entries.iter(),
        value: None,
    };
    let value = visitor.visit_map(&mut access)?;
    match access.entries.next() {
        None => Ok(value),
        Some((key, _)) => {
            Err(Invalid::new(format!("unexpected key `{}`", key.name)).at_position(key.position))
        }
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
        self.visit(visitor)
            .map_err(|invalid| advise(invalid, meant.is_some(), meant.unwrap_or_default()).at(self))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let typed = matches!(
            self.value,
            Value::Bool(_) | Value::Integer(_) | Value::Float(_)
        );
        self.visit(visitor)
            .map_err(|invalid| advise(invalid, typed, "put it in quotes to make it text").at(self))
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

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        match &self.value {
            Value::Mapping(entries) if entries.is_empty() => visitor.visit_unit(),
            _ => self.deserialize_struct(name, &[], visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        match name {
            place::NAME => {
                visitor.visit_seq(Place::new(self, self.position, self.source.as_deref()))
            }
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
            Value::String(name) => Variant {
                name,
                position: self.position,
                content: None,
            },
            Value::Mapping(entries) if !entries.is_empty() => {
                if let Some((extra, _)) = entries.get(1) {
                    return Err(second_key(&entries[0], extra));
                }
                let (key, content) = &entries[0];
                Variant {
                    name: &key.name,
                    position: key.position,
                    content: Some(content),
                }
            }
            _ => {
                return Err(Invalid::new(format!(
                    "expected {}, found {}",
                    one_of(variants),
                    self.describe()
                ))
                .at(self));
            }
        };
        visitor
            .visit_enum(variant)
            .map_err(|invalid| invalid.at(self))
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
    let invalid = Invalid::new(format!(
        "expected `{}` alone, found another key `{}`",
        first.name, second.name
    ))
    .at_position(second.position);
    advise(
        invalid,
        settings.is_null(),
        &format!(
            "indent the settings of `{}` further than its name",
            first.name
        ),
    )
}

struct Items<'de> {
    items: std::iter::Enumerate<slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'de> {
    type Error = Invalid;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Invalid> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(node)
            .map(Some)
            .map_err(|invalid| invalid.at(node).in_path(format_args!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    entries: slice::Iter<'de, (Key, Node)>,
    value: Option<&'de (Key, Node)>,
}

impl<'de> de::MapAccess<'de> for &mut Entries<'de> {
    type Error = Invalid;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Invalid> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        seed.deserialize(Name(&key.name, key.position))
            .map(Some)
            .map_err(|invalid| invalid.at_position(key.position))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Invalid> {
        let Some((key, node)) = self.value.take() else {
            return Err(Invalid::new("a value was asked for before its key"));
        };
        seed.deserialize(node)
            .map_err(|invalid| invalid.at(node).in_path(&key.name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

struct Variant<'de> {
    name: &'de str,
    position: Position,
    content: Option<&'de Node>,
}

impl<'de> Variant<'de> {
    fn content(&self) -> &'de Node {
        self.content.unwrap_or(&NOTHING)
    }

    fn place(&self, invalid: Invalid) -> Invalid {
        let invalid = invalid.at(self.content());
        if self.content.is_some() {
            invalid.in_path(self.name)
        } else {
            invalid
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Invalid;
    type Variant = Self;

    fn variant_seed<V: de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Invalid> {
        match seed.deserialize(Name(self.name, self.position)) {
            Ok(value) => Ok((value, self)),
            // The name may be a value from the environment: placed by the node, which knows.
            Err(invalid) if self.content.is_none() => Err(invalid),
            Err(invalid) => Err(invalid.at_position(self.position)),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Invalid;

    fn unit_variant(self) -> Result<(), Invalid> {
        let content = self.content();
        if content.is_null()
            || matches!(&content.value, Value::Mapping(entries) if entries.is_empty())
        {
            return Ok(());
        }
        let message = format!(
            "`{}` takes no settings, found {}",
            self.name,
            content.describe()
        );
        Err(self.place(Invalid::new(message)))
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Invalid> {
        seed.deserialize(self.content())
            .map_err(|invalid| self.place(invalid))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Invalid> {
        self.content()
            .deserialize_tuple(len, visitor)
            .map_err(|invalid| self.place(invalid))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.content()
            .deserialize_struct("", fields, visitor)
            .map_err(|invalid| self.place(invalid))
    }
}

/// A key: text that stands for a number or truth value where one is asked for.
#[derive(Clone, Copy)]
pub(super) struct Name<'de>(&'de str, Position);

macro_rules! number_names {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            match self.0.parse() {
                Ok(number) => visit_integer(number, visitor),
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_borrowed_str(self.0)
    }

    number_names! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0.parse() {
            Ok(value) => visitor.visit_bool(value),
            Err(_) => visitor.visit_borrowed_str(self.0),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        match name {
            place::NAME => visitor.visit_seq(Place::new(self, self.1, None)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
