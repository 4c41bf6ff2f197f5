//! The tower layer.

use crate::{AccessLog, AccessLogSettings, Format, Sink, When};
use mesh_core::{GateLayer, Gated, ResultsOnly};
use std::sync::Arc;
use tower_layer::Layer;

/// The name in specs.
pub(crate) const NAME: &str = "access_log";

/// Writes a line for each call that has ended; see [`AccessLog`].
///
/// It follows a call to the end of the response's body, so requests must carry a context and responses be governed, as
/// inside `mesh_core::http::governed(..)`. [`results_only`](Self::results_only) makes a layer of it that takes any
/// response.
///
/// All clones of a layer, all services it makes and all their clones are one.
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    format: Format,
    when: When,
    layer: GateLayer<AccessLog>,
}

impl AccessLogLayer {
    /// A line of text for every call, to standard output.
    pub fn new() -> Self {
        Self::to(Sink::stdout())
    }

    /// The same to another place.
    pub fn to(sink: Sink) -> Self {
        Self::over(Format::default(), When::default(), sink)
    }

    fn over(format: Format, when: When, sink: Sink) -> Self {
        let log = AccessLog::to(format.clone(), when.clone(), sink, "rpc");
        Self { format, when, layer: GateLayer::new(log).named(NAME) }
    }

    /// The format of a line. Default: text, as [`DEFAULT_TEXT`](crate::DEFAULT_TEXT) says.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        let sink = self.handle().sink().clone();
        Self::over(format, self.when, sink)
    }

    /// Which calls get a line. Default: all.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        let sink = self.handle().sink().clone();
        Self::over(self.format, when, sink)
    }

    /// A line tells the result, and `Ok` is a success whatever it says: any response. It shares all with this layer.
    pub fn results_only(&self) -> GateLayer<AccessLog, ResultsOnly> {
        self.layer.clone().results_only()
    }

    /// The gate: to switch it off and on while it runs.
    pub fn handle(&self) -> Arc<AccessLog> {
        self.layer.gate().clone()
    }
}

impl Default for AccessLogLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<AccessLogSettings> for AccessLogLayer {
    fn from(settings: AccessLogSettings) -> Self {
        let AccessLogSettings { format, path, when } = settings;
        Self::over(format, when, path.map_or_else(Sink::stdout, Sink::file))
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = Gated<S, AccessLog>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.layer(inner)
    }
}
