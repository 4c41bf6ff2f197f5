//! The Hessian 2.0 serialization, as Dubbo uses it.

mod decoder;
mod encode;
mod error;
mod java_string;
mod limits;
mod pieces;
mod reader;
mod references;
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
