//! Reading the policy from a spec.

use crate::{Load, PeakEwma, Policy};
use mesh_core::{
    pipeline::Validate,
    units::{Ratio, duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};

/// What can be read was looked at while it was read.
impl Validate for Policy {}

/// The policy as it is written.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    Random,
    RoundRobin,
    P2c(Option<P2c>),
}

/// The power of two choices: of two endpoints drawn at random, the one with less load.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct P2c {
    /// What load is: calls in flight, or those times how long an answer takes. Default `peak_ewma`.
    #[serde(default)]
    load: Name,
    /// With `peak_ewma`: after this time an estimate has lost all but 1/e of its weight. Default `10s`.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    decay: Option<Duration>,
    /// With `peak_ewma`: which part of the way to a slower sample an estimate goes at once. Default `50%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rise: Option<Ratio>,
    /// With `peak_ewma`: how long a failed call counts for at the least. Default `1s`.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    penalty: Option<Duration>,
    /// With `peak_ewma`: what is expected until something is known. Default `30ms`.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    default_rtt: Option<Duration>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Name {
    LeastRequest,
    #[default]
    PeakEwma,
}

impl TryFrom<Form> for Policy {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Random => Ok(Policy::Random),
            Form::RoundRobin => Ok(Policy::RoundRobin),
            Form::P2c(None) => Ok(Policy::default()),
            Form::P2c(Some(p2c)) => p2c.load().map(Policy::p2c),
        }
    }
}

impl P2c {
    fn load(self) -> Result<Load, String> {
        let of_peak_ewma = [
            ("decay", self.decay.is_some()),
            ("rise", self.rise.is_some()),
            ("penalty", self.penalty.is_some()),
            ("default_rtt", self.default_rtt.is_some()),
        ];
        match self.load {
            Name::LeastRequest => match of_peak_ewma.into_iter().find(|(_, said)| *said) {
                Some((key, _)) => Err(format!("`{key}` is a setting of `load: peak_ewma`; `least_request` has none")),
                None => Ok(Load::LeastRequest),
            },
            Name::PeakEwma => {
                let default = PeakEwma::default();
                for (key, value) in [("decay", self.decay), ("default_rtt", self.default_rtt)] {
                    if value.is_some_and(|value| value.is_zero()) {
                        return Err(format!("`{key}` must be longer than `0s`"));
                    }
                }
                Ok(Load::PeakEwma(PeakEwma {
                    decay: self.decay.unwrap_or(default.decay),
                    rise: self.rise.unwrap_or(default.rise),
                    penalty: self.penalty.unwrap_or(default.penalty),
                    default_rtt: self.default_rtt.unwrap_or(default.default_rtt),
                }))
            }
        }
    }
}

/// With the defaults filled in.
impl From<Policy> for Form {
    fn from(policy: Policy) -> Self {
        let nothing = P2c { load: Name::LeastRequest, decay: None, rise: None, penalty: None, default_rtt: None };
        match policy {
            Policy::Random => Form::Random,
            Policy::RoundRobin => Form::RoundRobin,
            Policy::P2c { load: Load::LeastRequest } => Form::P2c(Some(nothing)),
            Policy::P2c { load: Load::PeakEwma(PeakEwma { decay, rise, penalty, default_rtt }) } => {
                Form::P2c(Some(P2c {
                    load: Name::PeakEwma,
                    decay: Some(decay),
                    rise: Some(rise),
                    penalty: Some(penalty),
                    default_rtt: Some(default_rtt),
                }))
            }
        }
    }
}

impl JsonSchema for Policy {
    fn schema_name() -> Cow<'static, str> {
        "Policy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let p2c = generator.subschema_for::<P2c>();
        json_schema!({
            "description": "How an endpoint is chosen.",
            "anyOf": [
                { "type": "string", "enum": ["random", "round_robin", "p2c"] },
                {
                    "type": "object",
                    "properties": { "p2c": p2c },
                    "required": ["p2c"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
