//! Values as JSON and back, in bounded size and whatever their references. Feature `json`.
//!
//! | Hessian2 | JSON |
//! | --- | --- |
//! | null, true, false, int | the same |
//! | long | number, or a string ([`Options::longs`]) |
//! | double | number; null where it is none or infinite |
//! | date | string of ISO 8601, or milliseconds ([`Options::dates`]) |
//! | string | string; U+FFFD in place of a surrogate that stands alone |
//! | binary | string of Base64 |
//! | list | array |
//! | map | object; keys that are no strings are their JSON as a string; of equal keys the last counts |
//! | object | object of its fields; of fields with one name the last counts ([`Options::class_key`]) |
//! | reference | what it refers to, once more; a cycle is null or an error ([`Options::cycles`]) |
//!
//! What Java writes as an object and thinks of as a scalar is one: `BigDecimal` and `BigInteger` (up to 8,192 bits) are
//! numbers or strings ([`Options::decimals`]); the handles of `java.time` are strings of ISO 8601; `UUID`, `Locale`,
//! `Class`, `Currency`, atomics, `Optional` and the dates of `java.sql` are what they hold; an object whose only field
//! is `name`, a string, is a constant of an enum, and that string ([`Options::constants`]).
//!
//! Back, integers become ints where they fit, longs, or doubles where these do not; numbers with a fraction or an
//! exponent doubles; arrays and objects lists and maps without a type, in their order. A `class` key is an entry as
//! others are.
//!
//! ```
//! use mesh_codec_dubbo::hessian2::{Value, json};
//!
//! let user = Value::object("demo.User", [("name", "Ada".into()), ("born", Value::Date(-4_861_728_000_000))]);
//! let text = json::to_string(&user, &json::Options::default())?;
//! assert_eq!(text, r#"{"name":"Ada","born":"1815-12-10T00:00:00Z"}"#);
//! let map = json::from_slice(text.as_bytes())?;
//! assert_eq!(map.get("name"), Some(&"Ada".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod scalars;
mod time;
mod write;

use super::{Limits, References, Value};
use std::fmt;

/// How values become JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Dates. Default: strings of ISO 8601.
    pub dates: Dates,
    /// Longs. Default: numbers.
    pub longs: Numbers,
    /// `BigDecimal` and `BigInteger`. Default: numbers, with all their digits.
    pub decimals: Numbers,
    /// The key under which an object has the name of its class. Default: none, the class is left out.
    pub class_key: Option<String>,
    /// Whether an object whose only field is `name`, with a string, is that string, as a constant of an enum is.
    /// Default: yes.
    pub constants: bool,
    /// A container within itself. Default: null.
    pub cycles: Cycles,
    /// The largest size of the JSON in bytes, and how many values are visited at most. Default: 16 MiB.
    pub limit: usize,
    /// How deep containers may be within one another, what is referred to included. Default: 512. A larger one needs a
    /// larger stack.
    pub depth: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dates: Dates::Iso8601,
            longs: Numbers::Number,
            decimals: Numbers::Number,
            class_key: None,
            constants: true,
            cycles: Cycles::Null,
            limit: 16 << 20,
            depth: Limits::DECODE.depth,
        }
    }
}

/// Dates in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// `"2020-01-02T03:04:05.006Z"`, without milliseconds where they are 0.
    Iso8601,
    /// Milliseconds since 1970, UTC.
    Milliseconds,
}

/// Numbers in JSON that a reader with doubles cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// A number.
    Number,
    /// A string.
    Text,
    /// A number up to 2⁵³ − 1, a string above; decimals with more than 15 digits are strings.
    LargeAsText,
}

/// Containers within themselves in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycles {
    /// Null, where the cycle would begin anew.
    Null,
    /// An error.
    Error,
}

/// What has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Nulls in place of cycles.
    pub cycles: usize,
}

/// Why a value cannot become JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// More than [`Options::limit`].
    Limit,
    /// More than [`Options::depth`].
    Depth,
    /// A cycle, and [`Cycles::Error`].
    Cycle {
        /// The container that is within itself.
        number: u32,
    },
    /// A reference to a container that is not there.
    Dangling {
        /// The number that no container has.
        number: u32,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => f.write_str("more JSON than the limit"),
            Self::Depth => f.write_str("containers deeper within one another than the limit"),
            Self::Cycle { number } => write!(f, "container {number} is within itself"),
            Self::Dangling { number } => write!(f, "there is no container {number}"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Writes a value as JSON behind what `out` holds; `references` are those of its stream.
///
/// # Errors
/// Where the limits are reached, or a reference leads into a cycle or nowhere; `out` is as it was then.
pub fn write<'a>(
    value: &'a Value,
    references: &References<'a>,
    options: &Options,
    out: &mut Vec<u8>,
) -> Result<Written, JsonError> {
    let start = out.len();
    let written = write::write(value, references, options, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// A value that is the only one of its stream, as JSON.
///
/// # Errors
/// As of [`write()`].
pub fn to_string(value: &Value, options: &Options) -> Result<String, JsonError> {
    let mut out = Vec::new();
    write(value, &References::new([value]), options, &mut out)?;
    // what is written are strings, and digits and signs
    Ok(String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A value from JSON, at most 128 levels deep.
///
/// # Errors
/// Where it is no JSON; the error has line and column.
pub fn from_slice(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(json)
}
