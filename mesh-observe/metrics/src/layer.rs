//! The tower layer.

use crate::{FromCall, LabelError, Metrics, MetricsSettings};
use mesh_core::{GateLayer, Gated, Name, Outcome, ResultsOnly};
use std::sync::Arc;
use tower_layer::Layer;

/// The name in specs and logs.
pub(crate) const NAME: &str = "metrics";

/// Counts calls, how they ended and how long they took; see [`Metrics`].
///
/// It follows a call to the end of the response's body, so requests must carry a context and responses be governed, as
/// inside `mesh_core::http::governed(..)`. [`results_only`](Self::results_only) and [`judge`](Self::judge) make a layer
/// of it that takes any service.
///
/// All clones of a layer, all services it makes and all their clones count together.
#[derive(Clone, Debug)]
pub struct MetricsLayer(GateLayer<Metrics>);

impl MetricsLayer {
    /// No labels besides those of the request.
    pub fn new() -> Self {
        let settings = MetricsSettings::default();
        Self::over(Metrics::checked(&settings, Vec::new(), Name::NONE, crate::SERIES_LIMIT))
    }

    fn over(metrics: Metrics) -> Self {
        Self(GateLayer::new(metrics).named(NAME))
    }

    /// Follows a call to its result: `Ok` is a success, whatever the response says. Any request, any response.
    pub fn results_only(&self) -> GateLayer<FromCall, ResultsOnly> {
        GateLayer::new(FromCall::new(self.handle())).named(NAME).results_only()
    }

    /// Follows a call to its result, and asks `judge` what a response counts as.
    pub fn judge<Res, F: Fn(&Res) -> Outcome>(&self, judge: F) -> GateLayer<FromCall, F> {
        GateLayer::new(FromCall::new(self.handle())).named(NAME).judge(judge)
    }

    /// The gate: to switch it off and on while it runs.
    pub fn handle(&self) -> Arc<Metrics> {
        self.0.gate().clone()
    }
}

impl Default for MetricsLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl TryFrom<&MetricsSettings> for MetricsLayer {
    type Error = LabelError;

    fn try_from(settings: &MetricsSettings) -> Result<Self, LabelError> {
        Metrics::new(settings).map(Self::over)
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Gated<S, Metrics>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}
