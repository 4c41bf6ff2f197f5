//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{
    TimeoutLayer, TimeoutSettings,
    layer::{NAME, Shared},
};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Made, Shape, Site, State, Validate, layer},
    spec::{Invalid, shorthand},
    units::{duration, parse_duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, sync::Arc, time::Duration};

/// Registers `timeout`. Over a reload the layer that stood there goes on with the new settings; calls under way keep
/// the limits they began with.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.made(
        NAME,
        "gives up calls that take too long, and keeps deadlines",
        |_| Shape::Layer,
        |settings: TimeoutSettings, previous: Option<Arc<State>>, _: &Site<P>| {
            let shared = match previous.and_then(|state| state.downcast::<Shared>().ok()) {
                Some(shared) => {
                    shared.set(settings);
                    shared
                }
                None => Shared::new(settings),
            };
            let state: Arc<State> = shared.clone();
            (state, Made::Layer(layer(TimeoutLayer::over(shared))))
        },
    );
}

impl Validate for TimeoutSettings {
    fn validate(&self) -> Result<(), Invalid> {
        for (key, limit) in [("response", self.response), ("total", self.total), ("idle", self.idle)] {
            if limit == Some(Duration::ZERO) {
                let invalid =
                    Invalid::new(format!("`{key}` in no time at all is not possible: expected a duration above `0s`"));
                return Err(invalid.with_suggestion(format!("leave `{key}` out to wait as long as it takes")));
            }
        }
        Ok(())
    }
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TimeoutMapping")]
struct Mapping {
    /// How long the head of the response may take, from the end of the request's body. Default: as long as it takes.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    response: Option<Duration>,
    /// How long all of it may take, from arrival to the end of the response; of a gRPC call, to its head. Default: as
    /// long as it takes.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    total: Option<Duration>,
    /// How long nothing may move in either direction. Default: as long as it does.
    #[serde(default, with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    idle: Option<Duration>,
}

impl From<Mapping> for TimeoutSettings {
    fn from(Mapping { response, total, idle }: Mapping) -> Self {
        TimeoutSettings { response, total, idle }
    }
}

/// The mapping form.
impl Serialize for TimeoutSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TimeoutSettings { response, total, idle } = *self;
        Mapping { response, total, idle }.serialize(serializer)
    }
}

/// A mapping, or the time for the response alone.
impl<'de> Deserialize<'de> for TimeoutSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(
            deserializer,
            "a duration such as `2s`, or a mapping with `response`",
            |text| parse_duration(text).map(Self::response),
        )
    }
}

impl JsonSchema for TimeoutSettings {
    fn schema_name() -> Cow<'static, str> {
        "TimeoutSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (response, mapping) = (duration::schema(generator), generator.subschema_for::<Mapping>());
        json_schema!({ "description": "The time for the response, or a mapping.", "anyOf": [response, mapping] })
    }
}
