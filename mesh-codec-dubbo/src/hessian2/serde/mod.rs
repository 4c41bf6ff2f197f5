//! Rust types as Hessian2 values, with serde. Feature `serde`.
//!
//! | Rust | Hessian2 | Java |
//! | --- | --- | --- |
//! | `bool` | true, false | `boolean` |
//! | `i8`, `i16`, `i32`, `u8`, `u16` | int | `byte`, `short`, `int` |
//! | `i64`, `u32`, `u64` | long; what does not fit is an error | `long` |
//! | `f32`, `f64` | double; an `f32` by its decimal digits | `float`, `double` |
//! | `char`, `str`, `String` | string | `char`, `String` |
//! | bytes (`serde_bytes`) | binary | `byte[]` |
//! | [`Date`] | date | `java.util.Date` |
//! | `()`, `None` | null | `null` |
//! | `Some`, newtypes | what is in it | |
//! | sequences, tuples | list without a type | `ArrayList` |
//! | maps | map without a type | `HashMap` |
//! | a struct | object of the class that serde's name names | a class |
//! | a unit variant | object of the enum's class with the field `name` | a constant of an enum |
//! | a struct variant, a newtype variant of a struct | object of the class that the variant's name names | a subclass |
//! | [`Value`] | itself | `Object` |
//!
//! **Classes are serde's names**: `#[serde(rename = "demo.User")]` on a struct or an enum.
//!
//! Read leniently: a field or element may be of another integer type if the number fits; objects are read from maps as
//! well and maps from objects; the class of an object is not looked at, but for the variants of an enum; a constant may
//! be a string with its name. Of two fields of one name the last counts. A reference is what it refers to, once more;
//! where that is still open, a cycle, it is `None` for an `Option` and an error otherwise: every Java exception without
//! a cause is its own cause.
//!
//! ```
//! use mesh_codec_dubbo::hessian2::{Limits, serde::{from_slice, to_vec}};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Deserialize, Serialize)]
//! #[serde(rename = "demo.User")]
//! struct User { name: String, age: i32, color: Color, boss: Option<Box<User>> }
//!
//! #[derive(Debug, PartialEq, Deserialize, Serialize)]
//! #[serde(rename = "demo.Color")]
//! enum Color { #[serde(rename = "RED")] Red, #[serde(rename = "GREEN")] Green }
//!
//! let user = User { name: "Ada".into(), age: 36, color: Color::Red, boss: None };
//! let bytes = to_vec(&user)?;
//! assert_eq!(&bytes[..11], b"C\x09demo.User");
//! assert_eq!(from_slice::<User>(&bytes, Limits::DECODE)?, user);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod de;
mod ser;
mod types;

pub use types::Date;

use super::{Limits, References, Value, decode, encode};
use ::serde::{Deserialize, Serialize};
use std::fmt;

/// The names by which serializer and deserializer know the types of this crate.
pub(crate) const DATE: &str = "$mesh_codec_dubbo::Date";
pub(crate) const VALUE: &str = "$mesh_codec_dubbo::Value";

/// A type and a value that do not fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    message: String,
}

impl Mismatch {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mismatch {}

impl ::serde::ser::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl ::serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// A value of a Rust type as a value of a stream of its own.
///
/// # Errors
/// For what Hessian2 does not have: integers beyond 64 bits, tuple variants, newtype variants of other than structs.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Mismatch> {
    ser::to_value(value)
}

/// A value of a Rust type as the bytes of a stream.
///
/// # Errors
/// As of [`to_value`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Mismatch> {
    encode(&[to_value(value)?]).map_err(Mismatch::new)
}

/// A value of a stream as one of a Rust type; `references` are those of its stream.
///
/// No more than [`Limits::DECODE`] allows is visited, each time that something is referred to.
///
/// # Errors
/// Where type and value do not fit, a reference leads into a cycle or nowhere, or a string is to be a Rust one and has a
/// surrogate that stands alone.
pub fn from_value<'a, T: Deserialize<'a>>(value: &'a Value, references: &References<'a>) -> Result<T, Mismatch> {
    de::from_value(value, references)
}

/// A value of a Rust type from a stream of one value.
///
/// # Errors
/// Where the bytes are not one value or more than the limits allow, and as of [`from_value`].
pub fn from_slice<T: for<'a> Deserialize<'a>>(stream: &[u8], limits: Limits) -> Result<T, Mismatch> {
    let values = decode(stream, limits).map_err(Mismatch::new)?;
    match &values[..] {
        [value] => from_value(value, &References::new([value])),
        values => Err(Mismatch::new(format_args!("{} values, not one", values.len()))),
    }
}
