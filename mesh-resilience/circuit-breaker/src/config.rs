//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{
    CircuitBreaker, CircuitBreakerSettings, FailureSettings, Force, GrpcCode, HalfOpenSettings, WindowSettings,
    layer::NAME, observe::Surroundings, policy::MAX_OPEN, ring::MAX_CALLS,
};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Site, Validate},
    spec::{Invalid, shorthand},
    units::{Ratio, Statuses, duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{borrow::Cow, fmt, num::NonZeroU32, sync::Arc, time::Duration};

/// Registers `circuit_breaker`: in the pipeline of a listener, a route or a cluster for all its calls, in that of an
/// endpoint for each endpoint by itself. Over a reload the breaker that stood there goes on, retuned.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        NAME,
        "refuses calls to what keeps failing, and tries it again after a while",
        |settings: CircuitBreakerSettings, previous: Option<Arc<CircuitBreaker>>, site: &Site<P>| match previous {
            Some(breaker) => {
                breaker.set_settings(settings);
                breaker
            }
            None => Arc::new(CircuitBreaker::at(settings, surroundings(site), None)),
        },
    );
}

fn surroundings<P: Protocol>(site: &Site<P>) -> Surroundings {
    let place = match site.endpoint() {
        Some(endpoint) => format!("{} at {}", site.path(), endpoint.address()),
        None => site.path().to_owned(),
    };
    let counter = |name, to: &'static str| site.counter(name, &[("to", to.to_owned())]);
    Surroundings::new(place, site.endpoint().cloned(), |name| site.gauge(name, &[]), counter)
}

impl Validate for CircuitBreakerSettings {
    fn validate(&self) -> Result<(), Invalid> {
        let fault = |message: String| Err(Invalid::new(message));
        if self.open_for < Duration::from_millis(1) || self.open_for > MAX_OPEN {
            return fault("`open_for` is out of range: expected a duration from `1ms` to `5m`".into());
        }
        if let Some(window) = &self.window {
            if u64::from(window.calls.get()) > MAX_CALLS {
                return fault(format!("`window.calls` is out of range: expected at most {MAX_CALLS}"));
            }
            if window.failure_rate == Ratio::ZERO {
                return fault("`window.failure_rate` of `0%` would open it without a failure".into());
            }
            if let Some(min) = window.min_calls.filter(|min| *min > window.calls) {
                return fault(format!("`window.min_calls` of {min} is never reached by {} `calls`", window.calls));
            }
        }
        if self.half_open.max_duration.is_some_and(|longest| longest < Duration::from_millis(1)) {
            return fault("`half_open.max_duration` is out of range: expected a duration of at least `1ms`".into());
        }
        if self.failure.dropped_after == Some(Duration::ZERO) {
            return fault("`failure.dropped_after` is out of range: expected a duration above `0s`".into());
        }
        Ok(())
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CircuitBreakerMapping")]
struct Mapping {
    /// So many failures in a row open it. Default: 5, where no `window` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consecutive_failures: Option<NonZeroU32>,
    /// So large a part of failures among the last calls opens it. Default: they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    /// How long it stays open the first time, 1ms to 5m; twice as long for each further trip in a row, up to 5m. Each
    /// time from 0.8 to 1.2 of that, drawn at random.
    #[serde(default = "open_for", with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    open_for: Duration,
    /// How it is tried after that.
    #[serde(default)]
    half_open: HalfOpen,
    /// `open`: refuse every call; `disabled`: admit every call and count none. Default: it decides by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    force: Option<Forced>,
    /// What counts as a failure.
    #[serde(default)]
    failure: Failure,
}

fn open_for() -> Duration {
    CircuitBreakerSettings::default().open_for
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CircuitBreakerWindow")]
struct Window {
    /// How many of the last calls are looked at, up to 1048576.
    #[serde(default = "calls")]
    calls: NonZeroU32,
    /// The part of failures at which it opens.
    #[serde(default = "failure_rate")]
    failure_rate: Ratio,
    /// From how many calls on. Default: 20, or `calls` if that is less.
    #[serde(default)]
    min_calls: Option<NonZeroU32>,
}

fn calls() -> NonZeroU32 {
    WindowSettings::default().calls
}

fn failure_rate() -> Ratio {
    WindowSettings::default().failure_rate
}

#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CircuitBreakerHalfOpen")]
struct HalfOpen {
    /// How many calls at once are let through as probes. Default: 1.
    #[serde(default)]
    probes: Option<NonZeroU32>,
    /// How many of them must succeed to close it; one that fails opens it again. Default: as many as `probes`.
    #[serde(default)]
    successes: Option<NonZeroU32>,
    /// After how long probes that have not ended are given up for lost. Default: `open_for`.
    #[serde(default, with = "duration::option")]
    #[schemars(schema_with = "duration::option::schema")]
    max_duration: Option<Duration>,
}

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CircuitBreakerForce")]
enum Forced {
    Open,
    Disabled,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CircuitBreakerFailure")]
struct Failure {
    /// HTTP statuses: `503`, `5xx`, `502-599`. Default: `[500, 502-599]`.
    http: Vec<Statuses>,
    /// gRPC codes, by name or number. Default: `[unknown, deadline_exceeded, internal, unavailable, data_loss]`.
    grpc: Vec<GrpcCode>,
    /// Whether a call counts that was not answered, or whose answer broke off. Default: yes.
    transport: bool,
    /// A call counts whose caller went away after so long. Default: only one whose deadline was over.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    dropped_after: Option<Duration>,
}

impl Default for Failure {
    fn default() -> Self {
        FailureSettings::default().into()
    }
}

impl From<FailureSettings> for Failure {
    fn from(FailureSettings { http, grpc, transport, dropped_after }: FailureSettings) -> Self {
        Self { http, grpc, transport, dropped_after }
    }
}

impl From<Mapping> for CircuitBreakerSettings {
    fn from(mapping: Mapping) -> Self {
        let default = CircuitBreakerSettings::default();
        let default_failures = if mapping.window.is_none() { default.consecutive_failures } else { None };
        let Failure { http, grpc, transport, dropped_after } = mapping.failure;
        let HalfOpen { probes, successes, max_duration } = mapping.half_open;
        Self {
            consecutive_failures: mapping.consecutive_failures.or(default_failures),
            window: mapping.window.map(|Window { calls, failure_rate, min_calls }| WindowSettings {
                calls,
                failure_rate,
                min_calls,
            }),
            open_for: mapping.open_for,
            half_open: HalfOpenSettings { probes: probes.unwrap_or(default.half_open.probes), successes, max_duration },
            force: mapping.force.map(|force| match force {
                Forced::Open => Force::Open,
                Forced::Disabled => Force::Disabled,
            }),
            failure: FailureSettings { http, grpc, transport, dropped_after },
        }
    }
}

/// A mapping, or the failures in a row alone.
impl<'de> Deserialize<'de> for CircuitBreakerSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(deserializer, "a number of failures in a row, or a mapping", |text| {
            let count = text.parse::<NonZeroU32>();
            let count = count.map_err(|_| format!("`{text}` is not a number of failures in a row, from 1"))?;
            Ok::<_, String>(Self { consecutive_failures: Some(count), ..Self::default() })
        })
    }
}

/// With the defaults filled in.
impl Serialize for CircuitBreakerSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mapping = Mapping {
            consecutive_failures: self.consecutive_failures,
            window: self.window.map(|window| Window {
                calls: window.calls,
                failure_rate: window.failure_rate,
                min_calls: NonZeroU32::new(window.min_calls()),
            }),
            open_for: self.open_for,
            half_open: HalfOpen {
                probes: Some(self.half_open.probes),
                successes: Some(self.successes()),
                max_duration: Some(self.max_duration()),
            },
            force: self.force.map(|force| match force {
                Force::Open => Forced::Open,
                Force::Disabled => Forced::Disabled,
            }),
            failure: self.failure.clone().into(),
        };
        mapping.serialize(serializer)
    }
}

impl JsonSchema for CircuitBreakerSettings {
    fn schema_name() -> Cow<'static, str> {
        "CircuitBreakerSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (count, mapping) = (generator.subschema_for::<NonZeroU32>(), Mapping::json_schema(generator));
        json_schema!({ "description": "A number of failures in a row, or a mapping.", "anyOf": [count, mapping] })
    }
}

impl<'de> Deserialize<'de> for GrpcCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A text or a number, which is read as the same text.
        struct Written;
        impl Visitor<'_> for Written {
            type Value = GrpcCode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a gRPC code, by name such as `unavailable` or by number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GrpcCode, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<GrpcCode, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<GrpcCode, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl Serialize for GrpcCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for GrpcCode {
    fn schema_name() -> Cow<'static, str> {
        "GrpcCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^([0-9]+|[a-z_]+|.*\$\{.*)$",
            "examples": ["unavailable", "14"],
        })
    }
}
