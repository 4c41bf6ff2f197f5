//! The sidecar with two layers that it does not bring along: a gate of one's own, and a layer of tower's. A spec names
//! them like the stock ones:
//!
//! `cargo run -p mesh-examples --bin foreign_layers -- run --config examples/foreign.yaml`

use mesh_core::{
    At, Gate, Head, Hears, Kind, Rejection, RequestView, Ticket, Watch, pipeline::Validate, spec::Invalid,
};
use mesh_proxy::Layers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::NonZeroU32, process::ExitCode, sync::Arc};
use tower::limit::GlobalConcurrencyLimitLayer;

fn main() -> ExitCode {
    let mut layers = Layers::stock();
    layers.http.gate("api_keys", "admits those who show a known key", |settings: ApiKeySettings, _, _| {
        Arc::new(ApiKeys::new(settings))
    });
    // one semaphore for all workers, since the layer is made once; it waits, so it is a service layer
    layers.http.layer("in_flight", "lets so many requests through at once", |settings: InFlightSettings, _| {
        GlobalConcurrencyLimitLayer::new(settings.max.get() as usize)
    });
    mesh_bin::main(layers)
}

/// The settings of `api_keys`, as the spec writes them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeySettings {
    /// The metadata that carries the key. Default `x-api-key`.
    #[serde(default = "default_header")]
    header: String,
    /// Whose key it is, by the key. At least one.
    keys: BTreeMap<String, String>,
}

fn default_header() -> String {
    "x-api-key".into()
}

impl Validate for ApiKeySettings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.keys.is_empty() {
            return Err(Invalid::new("without a key nobody is admitted: expected at least one").in_path("keys"));
        }
        Ok(())
    }
}

/// Admits requests that show a known key, and says in the answer whose it was. It knows nothing of HTTP: registered for
/// another protocol it does the same there.
struct ApiKeys {
    header: String,
    keys: BTreeMap<Vec<u8>, usize>,
    owners: Vec<String>,
}

impl ApiKeys {
    fn new(settings: ApiKeySettings) -> Self {
        let keys = settings.keys.keys().zip(0..).map(|(key, owner)| (key.clone().into_bytes(), owner)).collect();
        Self { header: settings.header, keys, owners: settings.keys.into_values().collect() }
    }
}

impl<R: RequestView> Gate<R> for ApiKeys {
    /// The ticket is the number of the owner.
    fn admit(&self, request: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        match request.get(&self.header).and_then(|key| self.keys.get(key)) {
            Some(owner) => Ok(Some(Ticket(*owner as u64, 0))),
            None => Err(Rejection::new(Kind::Forbidden)),
        }
    }
}

impl Watch for ApiKeys {
    fn hears(&self) -> Hears {
        Hears::Response
    }

    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        if let Some(owner) = self.owners.get(ticket.0 as usize) {
            head.set("x-key-of", owner.as_bytes());
        }
    }
}

/// The settings of `in_flight`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InFlightSettings {
    /// How many requests at once; further ones wait. At least 1.
    max: NonZeroU32,
}

/// What its types can hold is good.
impl Validate for InFlightSettings {}
