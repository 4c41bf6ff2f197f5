//! Settings that may be written as one scalar: `timeout: 2s` for `timeout: { response: 2s }`.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData};

/// Reads settings that are a mapping `M`, or a scalar that stands for its main setting. For a `Deserialize` written by
/// hand: `#[serde(untagged)]` would lose positions.
///
/// `expecting` ends the sentence "expected …"; `scalar` reads the shorthand. A number is given to it as text, so that
/// its message says what is missing: a unit, as a rule.
///
/// ```
/// use mesh_core::{spec::{Node, shorthand}, units::Rate};
/// use serde::{Deserialize, Deserializer};
///
/// #[derive(Debug, PartialEq)]
/// struct Limit {
///     rate: Rate,
/// }
///
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Mapping {
///     rate: Rate,
/// }
///
/// impl From<Mapping> for Limit {
///     fn from(mapping: Mapping) -> Self {
///         Limit { rate: mapping.rate }
///     }
/// }
///
/// impl<'de> Deserialize<'de> for Limit {
///     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
///         shorthand::<Self, Mapping, _, _>(deserializer, "a rate, or a mapping", |text| {
///             text.parse().map(|rate| Limit { rate })
///         })
///     }
/// }
///
/// let read = |json: serde_json::Value| Node::from(json).deserialize::<Limit>();
/// assert_eq!(read("5/s".into()), read(serde_json::json!({ "rate": "5/s" })));
/// assert!(read(5.into()).is_err());
/// ```
///
/// # Errors
/// What `scalar` or the mapping says; any other form is not what was expected.
pub fn shorthand<'de, T, M, E, D>(
    deserializer: D,
    expecting: &'static str,
    scalar: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    M: Deserialize<'de> + Into<T>,
    E: fmt::Display,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Shorthand { expecting, scalar, mapping: PhantomData::<fn() -> M> })
}

struct Shorthand<T, M, E> {
    expecting: &'static str,
    scalar: fn(&str) -> Result<T, E>,
    mapping: PhantomData<fn() -> M>,
}

impl<'de, T, M, E> Visitor<'de> for Shorthand<T, M, E>
where
    M: Deserialize<'de> + Into<T>,
    E: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<F: Error>(self, text: &str) -> Result<T, F> {
        (self.scalar)(text).map_err(F::custom)
    }

    fn visit_u64<F: Error>(self, number: u64) -> Result<T, F> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<F: Error>(self, number: i64) -> Result<T, F> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<F: Error>(self, number: f64) -> Result<T, F> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}
