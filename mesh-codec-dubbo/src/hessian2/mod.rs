//! The Hessian 2.0 serialization, as Dubbo uses it.
//!
//! | part | for |
//! | --- | --- |
//! | [`Reader`] | a stream, token by token, or past whole values; copies and allocates nothing |
//! | [`Writer`] | a stream, value by value, in the shortest forms |
//! | [`Value`], [`decode()`], [`encode()`] | values in memory, which are written again byte for byte |
//! | [`References`] | what the references of a stream name |
//! | `serde` (feature) | Rust types |
//! | `json` (feature) | JSON, both ways |
//!
//! **A stream is one numbering.** Lists, maps and objects are numbered as they open, and a reference names one by its
//! number; classes and types are written once and named by theirs. That goes on from value to value: in Dubbo, through
//! a whole body. So a [`Reader`] is for one stream, and a [`Mark`] or its [`Tables`] lead back into it.
//!
//! **Byte for byte** is what a writer of the shortest forms has written, and Java's does: doubles in Java's order of
//! forms, strings in CESU-8 and chunks of 32,768 units. Longer forms of a value are read, and written as the shortest
//! ones. Not kept are: the sign of -0.0, which Java does not write; thousandths that are not what Java's arithmetic makes
//! of their value, which take all eight bytes; definitions that nothing uses; and the chunks of long binaries, where each
//! writer has its own.
//!
//! **Strings** are UTF-16 to Java, and surrogates may stand alone: [`Text`] in a stream, [`JavaString`] in memory.

mod decoder;
mod encode;
mod error;
mod heads;
mod java_string;
#[cfg(feature = "json")]
pub mod json;
mod limits;
mod pieces;
mod reader;
mod references;
#[cfg(feature = "serde")]
pub mod serde;
mod tables;
mod text;
mod token;
mod value;
mod walk;
mod writer;

pub use decoder::{Decoder, decode};
pub use encode::{Dangling, encode};
pub use error::{Error, ErrorKind, Limit};
pub use java_string::JavaString;
pub use limits::Limits;
pub use pieces::Binary;
pub use reader::Reader;
pub use references::References;
pub use tables::{Mark, Tables};
pub use text::{Text, Units};
pub use token::{ClassId, Token, TypeId};
pub use value::{Class, List, Map, Object, Value};
pub use walk::Entry;
pub use writer::Writer;
