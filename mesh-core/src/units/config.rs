//! How the units are read and written by `serde` and described by `schemars`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Rate, Ratio, Size, Statuses, UnitError};

/// Reads a unit from its text. A number goes the same way, so that the parser of the unit decides:
/// a size takes it, the others refuse it with a suggestion.
struct UnitVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, UnitError>,
    unit: PhantomData<T>,
}

impl<T> de::Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// The pattern of a text in the schema. A reference to the environment fits too: editors see the
/// file before it is expanded.
fn pattern(unit: &str) -> String {
    format!(r"^({unit}|.*\$\{{.*)$")
}

const DURATION: &str = r"([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?([0-9]+ns)?";

macro_rules! unit {
    ($unit:ident, $expected:literal, $schema:expr) => {
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(UnitVisitor {
                    expected: $expected,
                    parse: $unit::from_str,
                    unit: PhantomData,
                })
            }
        }

        impl JsonSchema for $unit {
            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

unit!(
    Rate,
    "a rate such as `100/s`",
    json_schema!({
        "type": "string",
        "description": "How often something may happen: a count in a period, such as `100/s`, `60/m` or `100/10s`.",
        "pattern": pattern(&format!("[0-9]+/(d|h|m|s|ms|us|ns|{DURATION})")),
        "examples": ["100/s", "60/m"],
    })
);
unit!(
    Ratio,
    "a percentage such as `20%`",
    json_schema!({
        "type": "string",
        "description": "A part of the whole in percent with at most four decimals, such as `20%` or `0.5%`.",
        "pattern": pattern(r"[0-9]{1,3}(\.[0-9]{1,4})?%"),
        "examples": ["20%", "0.5%"],
    })
);
unit!(
    Size,
    "a size such as `64KiB`",
    json_schema!({
        "type": ["string", "integer"],
        "description": "An amount of bytes: a plain number, or one with a unit, such as `64KiB` or `10MB`.",
        "pattern": pattern("[0-9]+(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)?"),
        "minimum": 0,
        "examples": ["64KiB", "10MB", 512],
    })
);
unit!(
    Statuses,
    "an HTTP status, a class or a range, such as `503`, `5xx` or `502-599`",
    json_schema!({
        "type": ["string", "integer"],
        "description": "HTTP statuses: one, a class or a range.",
        "pattern": pattern("[1-5][0-9][0-9](-[1-5][0-9][0-9])?|[1-5]xx"),
        "minimum": 100,
        "maximum": 599,
        "examples": [503, "5xx", "502-599"],
    })
);

/// What `units::duration` has for serde and schemars.
pub(super) mod duration {
    use std::marker::PhantomData;
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserializer, Serializer};

    use super::UnitVisitor;
    use crate::units::{format_duration, parse_duration};

    /// Writes a duration as text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }

    /// Reads a duration from text.
    ///
    /// # Errors
    /// A text that [`parse_duration`] refuses, a number without a unit, or anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            expected: "a duration such as `2s`",
            parse: parse_duration,
            unit: PhantomData,
        })
    }

    /// The schema of a duration.
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration: whole numbers with units, such as `250ms`, `2s` or `1h30m`.",
            "pattern": super::pattern(super::DURATION),
            "examples": ["250ms", "2s", "1h30m"],
        })
    }

    /// The same for `Option<Duration>`, null being `None`.
    pub mod option {
        use std::fmt;
        use std::time::Duration;

        use serde::{Deserializer, Serializer, de};

        pub use super::schema;

        /// Writes a duration as text, or nothing.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads a duration from text; null is `None`.
        ///
        /// # Errors
        /// Those of [`duration::deserialize`](super::deserialize).
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            deserializer.deserialize_option(OptionVisitor)
        }

        struct OptionVisitor;

        impl<'de> de::Visitor<'de> for OptionVisitor {
            type Value = Option<Duration>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `2s`")
            }

            fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<Self::Value, D::Error> {
                super::deserialize(some).map(Some)
            }
        }
    }
}
