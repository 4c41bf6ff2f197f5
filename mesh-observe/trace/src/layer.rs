//! The tower layer.

use crate::{Parent, Propagation, SpanKind, Trace, TraceSettings, TraceSettingsError};
use mesh_core::{GateLayer, Gated, ResultsOnly, units::Ratio};
use std::sync::Arc;
use tower_layer::Layer;

/// The name in specs and logs.
pub(crate) const NAME: &str = "tracing";

/// Carries traces on and records spans; see [`Trace`].
///
/// A span lasts to the end of the response's body, so requests must carry a context and responses be governed, as inside
/// `mesh_core::http::governed(..)`. [`results_only`](Self::results_only) makes a layer of it that takes any response.
///
/// All clones of a layer, all services it makes and all their clones are one.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    settings: TraceSettings,
    kind: SpanKind,
    layer: GateLayer<Trace>,
}

impl TraceLayer {
    /// The default settings. Spans are those of a server.
    pub fn new() -> Self {
        Self::over(TraceSettings::default(), SpanKind::Server)
    }

    fn over(settings: TraceSettings, kind: SpanKind) -> Self {
        let trace = Trace::checked(settings.clone(), kind, "rpc");
        Self { settings, kind, layer: GateLayer::new(trace).named(NAME) }
    }

    /// Which part of the traces that begin here is recorded. Default 1 %.
    #[must_use]
    pub fn sample(self, sample: Ratio) -> Self {
        Self::over(TraceSettings { sample, ..self.settings }, self.kind)
    }

    /// What a caller's decision counts for. Default: it is followed.
    #[must_use]
    pub fn parent(self, parent: Parent) -> Self {
        Self::over(TraceSettings { parent, ..self.settings }, self.kind)
    }

    /// The headers that are read, the first that are there and valid. Default all: W3C, B3, B3's multiple ones.
    ///
    /// # Errors
    /// None, or some twice.
    pub fn propagate(self, propagate: impl Into<Vec<Propagation>>) -> Result<Self, TraceSettingsError> {
        let settings = TraceSettings { propagate: propagate.into(), ..self.settings };
        settings.check()?;
        Ok(Self::over(settings, self.kind))
    }

    /// Which side of the call the spans are of: [`SpanKind::Client`] for a layer around a client. Default: a server's.
    #[must_use]
    pub fn kind(self, kind: SpanKind) -> Self {
        Self::over(self.settings, kind)
    }

    /// A span lasts to the result, and `Ok` is a success whatever it says: any response. It shares all with this layer.
    pub fn results_only(&self) -> GateLayer<Trace, ResultsOnly> {
        self.layer.clone().results_only()
    }

    /// The gate: to read and change it while it runs.
    pub fn handle(&self) -> Arc<Trace> {
        self.layer.gate().clone()
    }
}

impl Default for TraceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Gated<S, Trace>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.layer(inner)
    }
}
