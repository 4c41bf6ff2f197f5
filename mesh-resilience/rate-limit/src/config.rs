//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{RateLimit, RateLimitSettings, layer::NAME};
use mesh_core::{Protocol, Registry, pipeline::Validate, units::Rate};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt, num::NonZeroU32, sync::Arc};

/// Registers `rate_limit`. Over a reload the limit that stood there goes on, retuned and not refilled.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        NAME,
        "admits requests at a rate and refuses what is too much",
        |settings: RateLimitSettings, previous: Option<Arc<RateLimit>>, _| match previous {
            Some(limit) => {
                limit.set_quota(settings.quota());
                limit
            }
            None => Arc::new(RateLimit::new(settings.quota())),
        },
    );
}

/// Whatever its types can hold is a limit.
impl Validate for RateLimitSettings {}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimitMapping")]
struct Mapping {
    /// How many requests are admitted in the long run.
    rate: Rate,
    /// How many at once after a time of rest. Default: what `rate` gives in a second, rounded up.
    #[serde(default)]
    burst: Option<NonZeroU32>,
}

/// The mapping form, with the default filled in.
impl Serialize for RateLimitSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Mapping { rate: self.rate, burst: Some(self.quota().burst()) }.serialize(serializer)
    }
}

/// A mapping, or the rate alone.
impl<'de> Deserialize<'de> for RateLimitSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RateLimitSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as `100/s`, or a mapping with `rate`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(RateLimitSettings::new).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Mapping { rate, burst } = Mapping::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RateLimitSettings { rate, burst })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for RateLimitSettings {
    fn schema_name() -> Cow<'static, str> {
        "RateLimitSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (rate, mapping) = (generator.subschema_for::<Rate>(), generator.subschema_for::<Mapping>());
        json_schema!({ "description": "A rate, or a rate with its burst.", "anyOf": [rate, mapping] })
    }
}
