//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{RateLimit, RateLimitSettings, layer::NAME};
use mesh_core::{Protocol, Registry, pipeline::Validate, spec::shorthand, units::Rate};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, num::NonZeroU32, sync::Arc};

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

impl From<Mapping> for RateLimitSettings {
    fn from(mapping: Mapping) -> Self {
        RateLimitSettings { rate: mapping.rate, burst: mapping.burst }
    }
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
        shorthand::<Self, Mapping, _, _>(deserializer, "a rate such as `100/s`, or a mapping with `rate`", |text| {
            text.parse().map(Self::new)
        })
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
