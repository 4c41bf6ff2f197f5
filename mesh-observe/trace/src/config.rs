//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{Parent, Propagation, SpanKind, Trace, TraceSettings, layer::NAME};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Place, Validate},
    spec::{Invalid, shorthand},
    units::Ratio,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, sync::Arc};

/// Registers `tracing`. In the pipeline of a cluster or an endpoint its spans are a client's, elsewhere a server's.
/// Over a reload that changes the settings the spans that are open stay open and end as they would have.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        NAME,
        "carries the trace on, and records a span for the requests that are sampled",
        |settings: TraceSettings, _: Option<Arc<Trace>>, site| {
            let kind = match site.place() {
                Place::Cluster | Place::Endpoint => SpanKind::Client,
                Place::Listener | Place::Route | Place::Library => SpanKind::Server,
            };
            Arc::new(Trace::checked(settings, kind, P::NAME))
        },
    );
}

impl Validate for TraceSettings {
    fn validate(&self) -> Result<(), Invalid> {
        self.check().map_err(|error| Invalid::new(error.to_string()).in_path("propagate"))
    }
}

fn sample() -> Ratio {
    TraceSettings::default().sample
}

fn propagate() -> Vec<Propagation> {
    TraceSettings::default().propagate
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TraceMapping")]
struct Mapping {
    /// The part of the traces that begin here which is recorded. Default 1%.
    #[serde(default = "sample")]
    sample: Ratio,
    /// What a caller's decision counts for. Default `follow`.
    #[serde(default)]
    parent: Parent,
    /// The headers that are read, the first that are there and valid. Default all: `[w3c, b3, b3_multi]`.
    #[serde(default = "propagate")]
    propagate: Vec<Propagation>,
}

impl From<Mapping> for TraceSettings {
    fn from(Mapping { sample, parent, propagate }: Mapping) -> Self {
        Self { sample, parent, propagate }
    }
}

/// The mapping form.
impl Serialize for TraceSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { sample, parent, propagate } = self.clone();
        Mapping { sample, parent, propagate }.serialize(serializer)
    }
}

/// A mapping, or the ratio alone.
impl<'de> Deserialize<'de> for TraceSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(deserializer, "a percentage such as `5%`, or a mapping", |text| {
            text.parse().map(Self::new)
        })
    }
}

impl JsonSchema for TraceSettings {
    fn schema_name() -> Cow<'static, str> {
        "TraceSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (ratio, mapping) = (generator.subschema_for::<Ratio>(), generator.subschema_for::<Mapping>());
        json_schema!({ "description": "The part of traces that is recorded, or a mapping.", "anyOf": [ratio, mapping] })
    }
}
