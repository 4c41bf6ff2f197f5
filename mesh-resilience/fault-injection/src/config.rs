//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{Abort, AbortSettings, DelaySettings, FaultInjection, FaultSettings, layer::NAME, pausing::Pausing};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Made, Shape, Site, State, Validate},
    spec::Invalid,
    units::{Ratio, duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    borrow::Cow,
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};

/// How often the counters are written.
const SAMPLED: Duration = Duration::from_secs(1);

/// Registers `fault_injection`: a gate, which pauses requests where it delays. Over a reload it goes on with the new
/// settings and the switch as it is; `until` counts anew if any of them changed.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.made(
        NAME,
        "delays and aborts calls at exact rates",
        |settings: &FaultSettings| if settings.delay.is_some() { Shape::PausingGate } else { Shape::Gate },
        |settings, previous: Option<Arc<State>>, site: &Site<P>| {
            let faults = match previous.and_then(|state| state.downcast::<FaultInjection>().ok()) {
                Some(faults) => {
                    // the time to live goes on where nothing was changed
                    if faults.settings() != settings {
                        faults.set(settings);
                    }
                    faults
                }
                None => {
                    let faults = Arc::new(FaultInjection::new(settings));
                    sample(&faults, site);
                    faults
                }
            };
            let made = match settings.delay {
                None => Made::Gate(faults.clone()),
                Some(_) => Made::PausingGate(Arc::new(Pausing(faults.clone()))),
            };
            let state: Arc<State> = faults;
            (state, made)
        },
    );
}

/// Keeps the series up to date for as long as the layer lives. Sampled, so that requests do not pay for it.
fn sample<P: Protocol>(faults: &Arc<FaultInjection>, site: &Site<P>) {
    let counter = |fault: &str| site.counter("mesh_faults_injected_total", &[("fault", fault.to_owned())]);
    let (delays, aborts) = (counter("delay"), counter("abort"));
    let active = site.gauge("mesh_faults_active", &[]);
    let faults: Weak<FaultInjection> = Arc::downgrade(faults);
    site.spawn(async move {
        while let Some(faults) = faults.upgrade() {
            let injected = faults.injected();
            delays.absolute(injected.delays);
            aborts.absolute(injected.aborts);
            active.set(f64::from(faults.active()));
            drop(faults);
            mesh_core::time::sleep(SAMPLED).await;
        }
    });
}

impl Validate for FaultSettings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.delay.is_none() && self.abort.is_none() {
            return Err(Invalid::new("no fault is named: expected `delay`, `abort` or both"));
        }
        if self.delay.is_some_and(|delay| delay.fixed.is_zero()) {
            return Err(Invalid::new("a delay of no time at all is none: expected a duration above `0s`"));
        }
        Ok(())
    }
}

/// As it is written.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultMapping")]
struct Mapping {
    /// Calls that wait before they go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay: Option<Delay>,
    /// Calls that are answered here and never made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort: Option<AbortMapping>,
    /// Whether a request may ask for a fault in headers, within what is set here. Default: no.
    #[serde(default)]
    header: bool,
    /// How many calls may be delayed at once. Default: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_active: Option<NonZeroU32>,
    /// For how long faults are injected. Default: as long as the layer stands.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    until: Option<Duration>,
    /// The same requests get the same faults, by their `x-request-id`. Default: drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// A delay.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultDelay")]
struct Delay {
    /// How long.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    fixed: Duration,
    /// How many calls. Default: all.
    #[serde(default = "all")]
    percent: Ratio,
}

/// An abort: exactly one of `status`, `grpc` and `reset`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FaultAbort")]
struct AbortMapping {
    /// An HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    status: Option<u16>,
    /// A gRPC status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 16))]
    grpc: Option<u16>,
    /// The connection or stream is reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset: Option<bool>,
    /// How many calls. Default: all.
    #[serde(default = "all")]
    percent: Ratio,
}

const fn all() -> Ratio {
    Ratio::ONE
}

impl AbortMapping {
    fn settings(self) -> Result<AbortSettings, String> {
        let with = match (self.status, self.grpc, self.reset) {
            (Some(status @ 200..=599), None, None) => Abort::Status(status),
            (Some(status), None, None) => {
                return Err(format!("`{status}` is no status to answer with: 200 to 599 are"));
            }
            (None, Some(status @ 0..=16), None) => Abort::Grpc(status),
            (None, Some(status), None) => return Err(format!("`{status}` is no gRPC status: 0 to 16 are")),
            (None, None, Some(true)) => Abort::Reset,
            _ => return Err("expected exactly one of `status`, `grpc` and `reset: true`".into()),
        };
        Ok(AbortSettings { with, percent: self.percent })
    }
}

impl From<AbortSettings> for AbortMapping {
    fn from(AbortSettings { with, percent }: AbortSettings) -> Self {
        let none = Self { status: None, grpc: None, reset: None, percent };
        match with {
            Abort::Status(status) => Self { status: Some(status), ..none },
            Abort::Grpc(status) => Self { grpc: Some(status), ..none },
            Abort::Reset => Self { reset: Some(true), ..none },
        }
    }
}

impl<'de> Deserialize<'de> for FaultSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Mapping { delay, abort, header, max_active, until, seed } = Mapping::deserialize(deserializer)?;
        let abort = abort.map(AbortMapping::settings).transpose().map_err(D::Error::custom)?;
        let delay = delay.map(|Delay { fixed, percent }| DelaySettings { fixed, percent });
        Ok(Self { delay, abort, header, max_active, until, seed })
    }
}

impl Serialize for FaultSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { delay, abort, header, max_active, until, seed } = *self;
        let delay = delay.map(|DelaySettings { fixed, percent }| Delay { fixed, percent });
        Mapping { delay, abort: abort.map(Into::into), header, max_active, until, seed }.serialize(serializer)
    }
}

impl JsonSchema for FaultSettings {
    fn schema_name() -> Cow<'static, str> {
        "FaultSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Mapping>()
    }
}
