//! Values in memory.

use super::JavaString;
#[cfg(feature = "serde")]
use std::collections::HashSet;
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// A value, with what is needed to write it as it was read: the order of entries and fields, types, classes, references.
///
/// Containers are numbered in the order in which they open, over all values of a stream; a [`Ref`](Self::Ref) names one
/// by its number. So a cycle is a tree here, and [`References`](super::References) resolves. Doubles are compared by
/// their bits.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Null.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A 32-bit integer: Java's `Integer`, `Short` and `Byte`.
    Int(i32),
    /// A 64-bit integer: Java's `Long`.
    Long(i64),
    /// A floating-point number: Java's `Double` and `Float`. The sign of -0.0 is not written, as in Java.
    Double(f64),
    /// Milliseconds since 1970, UTC.
    Date(i64),
    /// A string.
    String(JavaString),
    /// Bytes.
    Binary(Box<[u8]>),
    /// A list, set or array.
    List(Box<List>),
    /// A map.
    Map(Box<Map>),
    /// An instance of a class, or a constant of an enum.
    Object(Box<Object>),
    /// The container with this number once more.
    Ref(u32),
}

/// A list, set or array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct List {
    /// The type; nothing for an `ArrayList`. Arrays are `[int`, `[string`, `[demo.User`.
    pub kind: Option<Arc<str>>,
    /// Written without its length, as Java writes iterators.
    pub variable: bool,
    /// The values.
    pub items: Vec<Value>,
}

/// A map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Map {
    /// The type; nothing for a `HashMap`.
    pub kind: Option<Arc<str>>,
    /// Keys and values in the order of the stream. A key may stand there twice: in Java the last one counts.
    pub entries: Vec<(Value, Value)>,
}

/// An instance of a class, with a value for each of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    class: Arc<Class>,
    values: Vec<Value>,
}

/// A class: its name, and its fields in the order in which instances have their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The name, such as `demo.User`; inner classes are `demo.User$Kind`.
    pub name: Box<str>,
    /// The names of the fields. One may stand there twice: a superclass's, and one that shadows it.
    pub fields: Box<[Box<str>]>,
}

impl Class {
    /// A class with these fields.
    pub fn new<'a>(name: &str, fields: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name: name.into(), fields: fields.into_iter().map(Box::from).collect() }
    }

    /// The places of fields whose name comes again behind them.
    #[cfg(feature = "serde")]
    pub(super) fn shadowed(&self) -> HashSet<usize> {
        let mut later = HashSet::with_capacity(self.fields.len());
        let places = self.fields.iter().enumerate().rev();
        places.filter(|(_, name)| !later.insert(*name)).map(|(place, _)| place).collect()
    }
}

impl Object {
    /// An instance; nothing unless there is one value for each field.
    pub fn new(class: Arc<Class>, values: Vec<Value>) -> Option<Self> {
        (class.fields.len() == values.len()).then_some(Self { class, values })
    }

    /// An instance of a class of its own, from names and values.
    pub fn from_fields<'a>(class: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let (names, values): (Vec<&str>, Vec<Value>) = fields.into_iter().unzip();
        Self { class: Arc::new(Class::new(class, names)), values }
    }

    /// The class.
    pub fn class(&self) -> &Arc<Class> {
        &self.class
    }

    /// The values, in the order of the class's fields.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The values, in the order of the class's fields, to be changed.
    pub fn values_mut(&mut self) -> &mut [Value] {
        &mut self.values
    }

    /// Names and values of the fields.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &Value)> {
        self.class.fields.iter().map(AsRef::as_ref).zip(&self.values)
    }

    /// A field's value; the last one where the name stands twice, which in Java is the subclass's.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields().rfind(|(name, _)| *name == field).map(|(_, value)| value)
    }
}

impl Map {
    /// The value of a string key; the last one where it stands twice.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .rfind(|(name, _)| matches!(name, Value::String(name) if name == key))
            .map(|(_, value)| value)
    }
}

impl Value {
    /// A list as Java writes an `ArrayList`.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        List { items: items.into_iter().collect(), ..List::default() }.into()
    }

    /// A map as Java writes a `HashMap`.
    pub fn map<K: Into<Value>, V: Into<Value>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Map { kind: None, entries }.into()
    }

    /// An instance of a class. See [`Object::from_fields`].
    pub fn object<'a>(class: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Object::from_fields(class, fields).into()
    }

    /// The text of a string; nothing for another value, and where a surrogate stands alone.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// An int's or a long's number.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of an object's field or of a map's string key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(object) => object.get(name),
            Self::Map(map) => map.get(name),
            _ => None,
        }
    }

    /// Whether it takes a number: a list, map or object.
    pub const fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_) | Self::Object(_))
    }

    /// What is in a container, in the order of the stream.
    pub(super) fn each<'a>(&'a self, mut visit: impl FnMut(&'a Value)) {
        match self {
            Self::List(list) => list.items.iter().for_each(visit),
            Self::Object(object) => object.values.iter().for_each(visit),
            Self::Map(map) => {
                for (key, value) in &map.entries {
                    visit(key);
                    visit(value);
                }
            }
            _ => {}
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(this), Self::Bool(that)) => this == that,
            (Self::Int(this), Self::Int(that)) => this == that,
            (Self::Long(this), Self::Long(that)) | (Self::Date(this), Self::Date(that)) => this == that,
            (Self::Double(this), Self::Double(that)) => this.to_bits() == that.to_bits(),
            (Self::String(this), Self::String(that)) => this == that,
            (Self::Binary(this), Self::Binary(that)) => this == that,
            (Self::List(this), Self::List(that)) => this == that,
            (Self::Map(this), Self::Map(that)) => this == that,
            (Self::Object(this), Self::Object(that)) => this == that,
            (Self::Ref(this), Self::Ref(that)) => this == that,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Long(value) | Self::Date(value) => value.hash(state),
            Self::Double(value) => value.to_bits().hash(state),
            Self::String(value) => value.hash(state),
            Self::Binary(value) => value.hash(state),
            Self::List(value) => value.hash(state),
            Self::Map(value) => value.hash(state),
            Self::Object(value) => value.hash(state),
            Self::Ref(value) => value.hash(state),
        }
    }
}

macro_rules! from {
    ($($from:ty => |$value:ident| $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}

from! {
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value);
    i64 => |value| Self::Long(value);
    f32 => |value| Self::Double(value.into());
    f64 => |value| Self::Double(value);
    &str => |value| Self::String(value.into());
    String => |value| Self::String(value.into());
    JavaString => |value| Self::String(value);
    Vec<u8> => |value| Self::Binary(value.into());
    List => |value| Self::List(Box::new(value));
    Map => |value| Self::Map(Box::new(value));
    Object => |value| Self::Object(Box::new(value));
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
