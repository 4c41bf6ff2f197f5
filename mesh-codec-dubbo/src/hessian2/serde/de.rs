//! Values to Rust types.

use super::{Mismatch, VALUE};
use crate::hessian2::{JavaString, Limits, Object, References, Value, encode};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};
use std::{cell::Cell, collections::HashSet, ptr, slice};

/// What all values of a call share.
struct Scope<'a, 's> {
    references: &'s References<'a>,
    /// How many values may still be visited: references make more of them than there are.
    left: Cell<u32>,
}

/// A container that is being read, and those around it.
#[derive(Clone, Copy)]
struct Open<'a, 's> {
    container: &'a Value,
    outer: Option<&'s Open<'a, 's>>,
    depth: usize,
}

#[derive(Clone, Copy)]
struct FromValue<'a, 's> {
    value: &'a Value,
    scope: &'s Scope<'a, 's>,
    outer: Option<&'s Open<'a, 's>>,
}

pub(super) fn from_value<'a, T: Deserialize<'a>>(value: &'a Value, references: &References<'a>) -> Result<T, Mismatch> {
    let scope = Scope { references, left: Cell::new(Limits::DECODE.values) };
    T::deserialize(FromValue { value, scope: &scope, outer: None })
}

impl<'a, 's> FromValue<'a, 's> {
    /// The value, or what it refers to.
    fn resolved(self) -> Result<&'a Value, Mismatch> {
        self.spend(1)?;
        let Value::Ref(number) = self.value else { return Ok(self.value) };
        let target = self.scope.references.get(*number);
        let target = target.ok_or_else(|| Mismatch::new(format_args!("there is no container {number}")))?;
        match self.is_open(target) {
            true => Err(Mismatch::new(format_args!("container {number} is within itself"))),
            false => Ok(target),
        }
    }

    fn spend(self, values: usize) -> Result<(), Mismatch> {
        let left = u32::try_from(values).ok().and_then(|values| self.scope.left.get().checked_sub(values));
        self.scope.left.set(left.ok_or_else(|| Mismatch::new("references make too many values"))?);
        Ok(())
    }

    fn is_open(self, container: &Value) -> bool {
        let mut outer = self.outer;
        while let Some(open) = outer {
            if ptr::eq(open.container, container) {
                return true;
            }
            outer = open.outer;
        }
        false
    }

    fn is_cycle(self) -> bool {
        let Value::Ref(number) = self.value else { return false };
        self.scope.references.get(*number).is_some_and(|target| self.is_open(target))
    }

    fn open(self, container: &'a Value) -> Result<Open<'a, 's>, Mismatch> {
        let depth = self.outer.map_or(1, |outer| outer.depth + 1);
        match depth <= Limits::DECODE.depth {
            true => Ok(Open { container, outer: self.outer, depth }),
            false => Err(Mismatch::new("too many values within one another")),
        }
    }
}

fn text<'a, V: Visitor<'a>>(text: &'a JavaString, visitor: V) -> Result<V::Value, Mismatch> {
    match text.as_str() {
        Some(text) => visitor.visit_borrowed_str(text),
        None => Err(Mismatch::new("a string with a surrogate that stands alone")),
    }
}

impl<'a> Deserializer<'a> for FromValue<'a, '_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let value = self.resolved()?;
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i32(*value),
            Value::Long(value) | Value::Date(value) => visitor.visit_i64(*value),
            Value::Double(value) => visitor.visit_f64(*value),
            Value::String(value) => text(value, visitor),
            Value::Binary(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(list) => {
                let open = self.open(value)?;
                let items = list.items.iter();
                visitor.visit_seq(Items { items, scope: self.scope, open: &open })
            }
            Value::Map(map) => {
                let open = self.open(value)?;
                let entries = map.entries.iter();
                visitor.visit_map(Entries { entries, value: None, scope: self.scope, open: &open })
            }
            Value::Object(object) => {
                let open = self.open(value)?;
                // those that are passed over cost time too
                self.spend(object.values().len())?;
                visitor.visit_map(Fields::new(object, self.scope, &open))
            }
            // what is referred to is a container
            Value::Ref(_) => Err(Mismatch::new("a reference to a reference")),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ if self.is_cycle() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        if name != VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let mut left = self.scope.left.get();
        let value = self.scope.references.extract_some(self.value, &mut left);
        self.scope.left.set(left);
        let value =
            value.ok_or_else(|| Mismatch::new("a reference to nothing, or too many values within one another"))?;
        visitor.visit_byte_buf(encode([&value]).map_err(Mismatch::new)?)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let constant = match self.resolved()? {
            Value::String(text) => text.as_str(),
            Value::Object(object) if variants.contains(&&*object.class().name) => Some(&*object.class().name),
            Value::Object(object) => object.get("name").and_then(Value::as_str),
            other => return Err(Mismatch::invalid_type(unexpected(other), &name)),
        };
        let constant = constant.ok_or_else(|| Mismatch::new(format_args!("no constant or variant of {name}")))?;
        visitor.visit_enum(Variant { name: constant, of: self })
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>> bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Int(value) => Unexpected::Signed(i64::from(*value)),
        Value::Long(value) => Unexpected::Signed(*value),
        Value::Double(value) => Unexpected::Float(*value),
        Value::Date(_) => Unexpected::Other("a date"),
        Value::String(text) => text.as_str().map_or(Unexpected::Other("a string"), Unexpected::Str),
        Value::Binary(bytes) => Unexpected::Bytes(bytes),
        Value::List(_) => Unexpected::Seq,
        Value::Map(_) => Unexpected::Map,
        Value::Object(_) => Unexpected::Other("an object"),
        Value::Ref(_) => Unexpected::Other("a reference"),
    }
}

struct Items<'a, 's> {
    items: slice::Iter<'a, Value>,
    scope: &'s Scope<'a, 's>,
    open: &'s Open<'a, 's>,
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some(value) = self.items.next() else { return Ok(None) };
        seed.deserialize(FromValue { value, scope: self.scope, outer: Some(self.open) }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'a, 's> {
    entries: slice::Iter<'a, (Value, Value)>,
    value: Option<&'a Value>,
    scope: &'s Scope<'a, 's>,
    open: &'s Open<'a, 's>,
}

impl<'a> MapAccess<'a> for Entries<'a, '_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(FromValue { value: key, scope: self.scope, outer: Some(self.open) }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let value = self.value.take().ok_or_else(|| Mismatch::custom("a value before its key"))?;
        seed.deserialize(FromValue { value, scope: self.scope, outer: Some(self.open) })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The fields of an object. Where a name stands twice, the first is passed over.
struct Fields<'a, 's> {
    object: &'a Object,
    at: usize,
    /// The places that are passed over.
    shadowed: HashSet<usize>,
    scope: &'s Scope<'a, 's>,
    open: &'s Open<'a, 's>,
}

impl<'a, 's> Fields<'a, 's> {
    fn new(object: &'a Object, scope: &'s Scope<'a, 's>, open: &'s Open<'a, 's>) -> Self {
        Self { object, at: 0, shadowed: object.class().shadowed(), scope, open }
    }
}

impl<'a> MapAccess<'a> for Fields<'a, '_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        while self.shadowed.contains(&self.at) {
            self.at += 1;
        }
        let Some(name) = self.object.class().fields.get(self.at) else { return Ok(None) };
        self.at += 1;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let value = self.at.checked_sub(1).and_then(|at| self.object.values().get(at));
        let value = value.ok_or_else(|| Mismatch::custom("a value before its key"))?;
        seed.deserialize(FromValue { value, scope: self.scope, outer: Some(self.open) })
    }
}

/// A variant of an enum: its name, and the object that it is read from.
struct Variant<'a, 's> {
    name: &'a str,
    of: FromValue<'a, 's>,
}

impl<'a> EnumAccess<'a> for Variant<'a, '_> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Mismatch> {
        let variant = seed.deserialize(BorrowedStrDeserializer::<Mismatch>::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a, '_> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Mismatch> {
        seed.deserialize(self.of)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _length: usize, visitor: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::invalid_type(Unexpected::TupleVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Mismatch> {
        self.of.deserialize_any(visitor)
    }
}
