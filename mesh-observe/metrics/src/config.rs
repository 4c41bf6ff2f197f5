//! Registration for pipelines (feature `config`).

use crate::{Metrics, MetricsSettings, SERIES_LIMIT, layer::NAME};
use mesh_core::{Name, Protocol, Registry, pipeline::Validate, spec::Invalid};
use metrics::Label;
use std::sync::Arc;

/// Registers `metrics`. A reload that changes the labels begins series with the new ones; what has been counted stays
/// where it is, in the recorder.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        NAME,
        "counts requests and measures how long they take",
        |settings: MetricsSettings, _: Option<Arc<Metrics>>, site| {
            let place = site.labels().iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
            Arc::new(Metrics::checked(&settings, place, Name::intern(P::NAME), SERIES_LIMIT))
        },
    );
}

impl Validate for MetricsSettings {
    fn validate(&self) -> Result<(), Invalid> {
        self.check().map_err(|error| Invalid::new(error.to_string()).in_path("labels"))
    }
}
