//! The Hessian 2.0 serialization, as Dubbo uses it.

mod error;
mod limits;
mod pieces;
mod reader;
mod tables;
mod text;
mod token;
mod walk;

pub use error::{Error, ErrorKind, Limit};
pub use limits::Limits;
pub use pieces::Binary;
pub use reader::Reader;
pub use tables::{Mark, Tables};
pub use text::{Text, Units};
pub use token::{Class, Token, Type};
pub use walk::Entry;
