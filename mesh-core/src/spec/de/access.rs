//! The items of lists, the entries of mappings, the variants of enums, and keys.

use std::slice;

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::super::place::{self, Place};
use super::super::{Invalid, Key, Node, Position, Value};
use super::visit_integer;

/// What a variant without content stands for.
static NOTHING: Node = Node { value: Value::Null, position: Position::UNKNOWN, source: None };

pub(super) struct Items<'de> {
    pub(super) items: std::iter::Enumerate<slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'de> {
    type Error = Invalid;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Invalid> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(node).map(Some).map_err(|invalid| invalid.at(node).in_path(format_args!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

pub(super) struct Entries<'de> {
    pub(super) entries: slice::Iter<'de, (Key, Node)>,
    pub(super) value: Option<&'de (Key, Node)>,
}

impl<'de> de::MapAccess<'de> for &mut Entries<'de> {
    type Error = Invalid;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Invalid> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        seed.deserialize(Name(&key.name, key.position)).map(Some).map_err(|invalid| invalid.at_position(key.position))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Invalid> {
        let Some((key, node)) = self.value.take() else {
            return Err(Invalid::new("a value was asked for before its key"));
        };
        seed.deserialize(node).map_err(|invalid| invalid.at(node).in_path(&key.name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

pub(super) struct Variant<'de> {
    pub(super) name: &'de str,
    pub(super) position: Position,
    pub(super) content: Option<&'de Node>,
}

impl<'de> Variant<'de> {
    fn content(&self) -> &'de Node {
        self.content.unwrap_or(&NOTHING)
    }

    fn place(&self, invalid: Invalid) -> Invalid {
        let invalid = invalid.at(self.content());
        if self.content.is_some() { invalid.in_path(self.name) } else { invalid }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Invalid;
    type Variant = Self;

    fn variant_seed<V: de::DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Invalid> {
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
        if content.is_null() || matches!(&content.value, Value::Mapping(entries) if entries.is_empty()) {
            return Ok(());
        }
        let message = format!("`{}` takes no settings, found {}", self.name, content.describe());
        Err(self.place(Invalid::new(message)))
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Invalid> {
        seed.deserialize(self.content()).map_err(|invalid| self.place(invalid))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Invalid> {
        self.content().deserialize_tuple(len, visitor).map_err(|invalid| self.place(invalid))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Invalid> {
        self.content().deserialize_struct("", fields, visitor).map_err(|invalid| self.place(invalid))
    }
}

/// A key: text that stands for a number or truth value where one is asked for.
#[derive(Clone, Copy)]
struct Name<'de>(&'de str, Position);

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

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Invalid> {
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
