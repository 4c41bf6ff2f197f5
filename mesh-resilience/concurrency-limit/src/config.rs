//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{ConcurrencyLimit, ConcurrencyLimitSettings, QueueLayer, Wait, layer::NAME};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Made, Place, Shape, Site, State, Validate, layer},
    spec::{Invalid, shorthand},
    units::{duration, parse_duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    borrow::Cow,
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};

/// How often the gauges are written.
const SAMPLED: Duration = Duration::from_secs(1);

/// Registers `concurrency_limit`: a gate, or with `wait` a service layer. Over a reload the limit that stood there goes
/// on with its permits, unless `until_end` has changed.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.made(
        NAME,
        "admits so many requests at once",
        |settings: &ConcurrencyLimitSettings| if settings.wait.is_some() { Shape::Layer } else { Shape::Gate },
        |settings, previous: Option<Arc<State>>, site: &Site<P>| {
            let kept = previous.and_then(|state| state.downcast::<ConcurrencyLimit>().ok());
            let limit = match kept.filter(|limit| limit.is_until_end() == settings.until_end) {
                Some(limit) => {
                    limit.set_max(settings.max);
                    limit
                }
                None => {
                    let limit = ConcurrencyLimit::from(settings);
                    // the next endpoint has permits of its own
                    let limit = if site.place() == Place::Endpoint { limit.elsewhere() } else { limit };
                    let limit = Arc::new(limit);
                    sample(&limit, site);
                    limit
                }
            };
            let made = match settings.wait {
                None => Made::Gate(limit.clone()),
                Some(wait) => Made::Layer(layer(QueueLayer::over(limit.clone(), wait))),
            };
            let state: Arc<State> = limit;
            (state, made)
        },
    );
}

/// Keeps the gauges up to date for as long as the limit lives. Sampled, so that requests do not pay for it.
fn sample<P: Protocol>(limit: &Arc<ConcurrencyLimit>, site: &Site<P>) {
    let in_flight = site.gauge("mesh_concurrency_in_flight", &[]);
    let waiting = site.gauge("mesh_concurrency_waiting", &[]);
    let max = site.gauge("mesh_concurrency_max", &[]);
    let limit: Weak<ConcurrencyLimit> = Arc::downgrade(limit);
    site.spawn(async move {
        while let Some(limit) = limit.upgrade() {
            in_flight.set(f64::from(limit.in_flight()));
            waiting.set(f64::from(limit.waiting()));
            max.set(f64::from(limit.max()));
            drop(limit);
            mesh_core::time::sleep(SAMPLED).await;
        }
    });
}

impl Validate for ConcurrencyLimitSettings {
    fn validate(&self) -> Result<(), Invalid> {
        match self.wait {
            Some(Wait { timeout: Duration::ZERO, .. }) => {
                Err(Invalid::new("a wait of no time at all is none: expected a duration above `0s`")
                    .with_suggestion("leave `wait` out to refuse at once"))
            }
            _ => Ok(()),
        }
    }
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ConcurrencyLimitMapping")]
struct Mapping {
    /// How many requests may be under way at once.
    max: NonZeroU32,
    /// How a request waits for its turn. Default: it is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    /// Whether a request counts to the end of its response's body. Default: to the response.
    #[serde(default)]
    until_end: bool,
}

impl From<Mapping> for ConcurrencyLimitSettings {
    fn from(Mapping { max, wait, until_end }: Mapping) -> Self {
        ConcurrencyLimitSettings { max, wait, until_end }
    }
}

/// The mapping form, with the defaults filled in.
impl Serialize for ConcurrencyLimitSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wait = self.wait.map(|wait| Wait { queue: Some(wait.queue.unwrap_or(self.max.get())), ..wait });
        Mapping { max: self.max, wait, until_end: self.until_end }.serialize(serializer)
    }
}

/// A mapping, or the number alone.
impl<'de> Deserialize<'de> for ConcurrencyLimitSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(deserializer, "a number from 1, or a mapping with `max`", |text| {
            text.parse::<NonZeroU32>()
                .map(Self::new)
                .map_err(|_| format!("`{text}` is not a number of requests: expected one from 1 to 4294967295"))
        })
    }
}

impl JsonSchema for ConcurrencyLimitSettings {
    fn schema_name() -> Cow<'static, str> {
        "ConcurrencyLimitSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (max, mapping) = (generator.subschema_for::<NonZeroU32>(), generator.subschema_for::<Mapping>());
        json_schema!({ "description": "A number of requests, or a mapping.", "anyOf": [max, mapping] })
    }
}

/// The mapping form of a wait.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitMapping {
    /// How long at the most.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    timeout: Duration,
    /// How many may wait; one more is refused at once. Default: as many as may be under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<u32>,
}

impl From<WaitMapping> for Wait {
    fn from(WaitMapping { timeout, queue }: WaitMapping) -> Self {
        Wait { timeout, queue }
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WaitMapping { timeout: self.timeout, queue: self.queue }.serialize(serializer)
    }
}

/// A mapping, or the time alone.
impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, WaitMapping, _, _>(
            deserializer,
            "a duration such as `50ms`, or a mapping with `timeout`",
            |text| parse_duration(text).map(|timeout| Wait { timeout, queue: None }),
        )
    }
}

impl JsonSchema for Wait {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (timeout, mapping) = (duration::schema(generator), generator.subschema_for::<WaitMapping>());
        json_schema!({ "description": "A time, or a mapping.", "anyOf": [timeout, mapping] })
    }
}
