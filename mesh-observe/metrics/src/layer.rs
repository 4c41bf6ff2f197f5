//! The tower layer.

use crate::{LabelError, Metrics, MetricsSettings};
use mesh_core::{GateLayer, Gated, Outcome, ResultsOnly, Whole};
use std::sync::Arc;
use tower_layer::Layer;

/// The name in specs and logs.
pub(crate) const NAME: &str = "metrics";

/// Counts calls, how they ended and how long they took; see [`Metrics`].
///
/// By default it follows a call to the end of the response's body, so requests must carry a context and responses be
/// governed, as inside `mesh_core::http::governed(..)`. [`results_only`](Self::results_only) and
/// [`judge`](Self::judge) take any service.
///
/// All clones of a layer, all services it makes and all their clones count together.
#[derive(Debug)]
pub struct MetricsLayer<M = Whole>(GateLayer<Metrics, M>);

impl MetricsLayer {
    /// No labels besides those of the request.
    pub fn new() -> Self {
        let settings = MetricsSettings::default();
        Self::over(Metrics::checked(&settings, Vec::new(), mesh_core::Name::NONE, crate::SERIES_LIMIT))
    }

    fn over(metrics: Metrics) -> Self {
        Self(GateLayer::new(metrics).named(NAME))
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

impl<M> MetricsLayer<M> {
    /// Follows a call to its result: `Ok` is a success, whatever the response says. Any request, any response.
    #[must_use]
    pub fn results_only(self) -> MetricsLayer<ResultsOnly> {
        MetricsLayer(self.0.results_only())
    }

    /// Follows a call to its result, and asks `judge` what a response counts as.
    #[must_use]
    pub fn judge<Res, F: Fn(&Res) -> Outcome>(self, judge: F) -> MetricsLayer<F> {
        MetricsLayer(self.0.judge(judge))
    }

    /// The gate: to switch it off and on while it runs.
    pub fn handle(&self) -> Arc<Metrics> {
        self.0.gate().clone()
    }
}

impl<M: Clone> Clone for MetricsLayer<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, M: Clone> Layer<S> for MetricsLayer<M> {
    type Service = Gated<S, Metrics, M>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}
