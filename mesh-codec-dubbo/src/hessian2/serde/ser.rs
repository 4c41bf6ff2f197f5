//! Rust types to values.

use super::{DATE, Mismatch, VALUE};
use crate::hessian2::{Class, Limits, List, Map, Object, Value};
use serde::{
    Serialize, Serializer,
    ser::{
        self, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct,
    },
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

/// What all values of a stream share.
#[derive(Default)]
struct Stream {
    classes: RefCell<HashMap<&'static str, Vec<Arc<Class>>>>,
    opened: Cell<u32>,
}

#[derive(Clone, Copy)]
struct ToValue<'s>(&'s Stream);

pub(super) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Mismatch> {
    value.serialize(ToValue(&Stream::default()))
}

impl Stream {
    fn open(&self) {
        self.opened.set(self.opened.get() + 1);
    }

    /// An object, whose class is shared with earlier ones of the same name and fields.
    fn object(&self, name: &'static str, fields: &[&'static str], values: Vec<Value>) -> Result<Value, Mismatch> {
        let mut classes = self.classes.borrow_mut();
        let known = classes.entry(name).or_default();
        let same = known.iter().find(|class| class.fields.iter().map(AsRef::as_ref).eq(fields.iter().copied()));
        let class = same.cloned().unwrap_or_else(|| {
            let class = Arc::new(Class::new(name, fields.iter().copied()));
            known.push(Arc::clone(&class));
            class
        });
        Object::new(class, values).map(Value::from).ok_or_else(|| Mismatch::new("a field without a value"))
    }

    /// Renumbers the references of a value that has been a stream of its own, and counts its containers.
    fn adopt(&self, value: &mut Value) {
        let first = self.opened.get();
        self.shift(value, first);
    }

    fn shift(&self, value: &mut Value, first: u32) {
        match value {
            Value::Ref(number) => *number += first,
            Value::List(list) => {
                self.open();
                list.items.iter_mut().for_each(|item| self.shift(item, first));
            }
            Value::Map(map) => {
                self.open();
                for (key, value) in &mut map.entries {
                    self.shift(key, first);
                    self.shift(value, first);
                }
            }
            Value::Object(object) => {
                self.open();
                object.values_mut().iter_mut().for_each(|value| self.shift(value, first));
            }
            _ => {}
        }
    }
}

macro_rules! scalars {
    ($($method:ident($from:ty) => |$value:ident| $into:expr;)*) => {$(
        fn $method(self, $value: $from) -> Result<Value, Mismatch> {
            Ok($into)
        }
    )*};
}

impl<'s> Serializer for ToValue<'s> {
    type Ok = Value;
    type Error = Mismatch;
    type SerializeSeq = Items<'s>;
    type SerializeTuple = Items<'s>;
    type SerializeTupleStruct = Items<'s>;
    type SerializeTupleVariant = Impossible<Value, Mismatch>;
    type SerializeMap = Entries<'s>;
    type SerializeStruct = Fields<'s>;
    type SerializeStructVariant = Fields<'s>;

    scalars! {
        serialize_bool(bool) => |value| value.into();
        serialize_i8(i8) => |value| value.into();
        serialize_i16(i16) => |value| value.into();
        serialize_i32(i32) => |value| value.into();
        serialize_i64(i64) => |value| value.into();
        serialize_u8(u8) => |value| Value::Int(value.into());
        serialize_u16(u16) => |value| Value::Int(value.into());
        serialize_u32(u32) => |value| Value::Long(value.into());
        serialize_f64(f64) => |value| value.into();
        serialize_char(char) => |value| value.to_string().into();
        serialize_str(&str) => |value| value.into();
        serialize_bytes(&[u8]) => |value| Value::Binary(value.into());
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Mismatch> {
        i64::try_from(value).map(Value::Long).map_err(|_| Mismatch::new(format_args!("{value} is beyond a long")))
    }

    /// As Java does: 0.1 stays 0.1.
    fn serialize_f32(self, value: f32) -> Result<Value, Mismatch> {
        Ok(Value::Double(value.to_string().parse().unwrap_or_else(|_| value.into())))
    }

    fn serialize_none(self) -> Result<Value, Mismatch> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Mismatch> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Mismatch> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Mismatch> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<Value, Mismatch> {
        self.0.open();
        self.0.object(name, &["name"], vec![variant.into()])
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Value, Mismatch> {
        let value = value.serialize(self)?;
        match (name, value) {
            (DATE, Value::Long(milliseconds)) => Ok(Value::Date(milliseconds)),
            (VALUE, Value::Binary(bytes)) => {
                let mut value =
                    Value::from_slice(&bytes, Limits { total: usize::MAX, ..Limits::DECODE }).map_err(Mismatch::new)?;
                self.0.adopt(&mut value);
                Ok(value)
            }
            (_, value) => Ok(value),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Mismatch> {
        match value.serialize(self)? {
            Value::Object(object) if *object.class().name == *variant => Ok(Value::Object(object)),
            Value::Object(object) => {
                let class = Class { name: variant.into(), fields: object.class().fields.clone() };
                Object::new(Arc::new(class), object.values().to_vec())
                    .map(Value::from)
                    .ok_or_else(|| Mismatch::new("a field without a value"))
            }
            _ => Err(Mismatch::new(format_args!("the variant {variant} of {name} holds no struct"))),
        }
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'s>, Mismatch> {
        self.0.open();
        Ok(Items { to: self, items: Vec::with_capacity(length.unwrap_or(0)) })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'s>, Mismatch> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Items<'s>, Mismatch> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Mismatch> {
        Err(Mismatch::new(format_args!("the variant {variant} of {name} is a tuple")))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Entries<'s>, Mismatch> {
        self.0.open();
        Ok(Entries { to: self, entries: Vec::with_capacity(length.unwrap_or(0)), key: None })
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Fields<'s>, Mismatch> {
        self.0.open();
        Ok(Fields { to: self, class: name, names: Vec::with_capacity(length), values: Vec::with_capacity(length) })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Fields<'s>, Mismatch> {
        self.serialize_struct(variant, length)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Items<'s> {
    to: ToValue<'s>,
    items: Vec<Value>,
}

impl Items<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Mismatch> {
        self.items.push(value.serialize(self.to)?);
        Ok(())
    }

    fn list(self) -> Value {
        List { items: self.items, ..List::default() }.into()
    }
}

impl SerializeSeq for Items<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Mismatch> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Mismatch> {
        Ok(self.list())
    }
}

impl SerializeTuple for Items<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Mismatch> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Mismatch> {
        Ok(self.list())
    }
}

impl SerializeTupleStruct for Items<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Mismatch> {
        self.push(value)
    }

    fn end(self) -> Result<Value, Mismatch> {
        Ok(self.list())
    }
}

struct Entries<'s> {
    to: ToValue<'s>,
    entries: Vec<(Value, Value)>,
    key: Option<Value>,
}

impl SerializeMap for Entries<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Mismatch> {
        self.key = Some(key.serialize(self.to)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Mismatch> {
        let key = self.key.take().ok_or_else(|| <Mismatch as ser::Error>::custom("a value without a key"))?;
        self.entries.push((key, value.serialize(self.to)?));
        Ok(())
    }

    fn end(self) -> Result<Value, Mismatch> {
        Ok(Map { kind: None, entries: self.entries }.into())
    }
}

struct Fields<'s> {
    to: ToValue<'s>,
    class: &'static str,
    names: Vec<&'static str>,
    values: Vec<Value>,
}

impl Fields<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Mismatch> {
        self.values.push(value.serialize(self.to)?);
        self.names.push(name);
        Ok(())
    }

    fn object(self) -> Result<Value, Mismatch> {
        self.to.0.object(self.class, &self.names, self.values)
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Mismatch> {
        self.push(name, value)
    }

    fn end(self) -> Result<Value, Mismatch> {
        self.object()
    }
}

impl SerializeStructVariant for Fields<'_> {
    type Ok = Value;
    type Error = Mismatch;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Mismatch> {
        self.push(name, value)
    }

    fn end(self) -> Result<Value, Mismatch> {
        self.object()
    }
}
