//! What a stream consists of.

use super::{Binary, Text};

/// A scalar, a reference, or the opening of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A 32-bit integer, which Java keeps apart from a long.
    Int(i32),
    /// A 64-bit integer.
    Long(i64),
    /// A floating-point number of 64 bits.
    Double(f64),
    /// Milliseconds since 1970, UTC.
    Date(i64),
    /// A string.
    String(Text<'a>),
    /// Bytes.
    Binary(Binary<'a>),
    /// A list. With a length, so many values follow; without one, values up to an end, which
    /// [`read_or_end`](super::Reader::read_or_end) sees.
    List {
        /// The number by which references name it.
        number: u32,
        /// Its type, for [`type_name`](super::Reader::type_name).
        kind: Option<TypeId>,
        /// How many values follow.
        length: Option<u32>,
    },
    /// A map: keys and values by turns follow, up to an end.
    Map {
        /// The number by which references name it.
        number: u32,
        /// Its type, for [`type_name`](super::Reader::type_name).
        kind: Option<TypeId>,
    },
    /// An instance of a class: as many values follow as the class has fields.
    Object {
        /// The number by which references name it.
        number: u32,
        /// Its class, for [`class_name`](super::Reader::class_name) and [`field_names`](super::Reader::field_names).
        class: ClassId,
    },
    /// The container with this number once more, which may still be open.
    Reference(u32),
}

/// A type that a stream has named: the place in its table of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

/// A class that a stream has defined: the place in its table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId {
    pub(crate) index: u32,
    pub(crate) fields: u32,
}

impl TypeId {
    /// The place in the stream's table of types, from 0.
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl ClassId {
    /// The place in the stream's table of classes, from 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many fields an instance has.
    pub const fn fields(self) -> u32 {
        self.fields
    }
}
