//! The tower layer: settings and shared state.

use crate::{
    CircuitBreaker, CircuitBreakerSettings, FailureSettings, HalfOpenSettings, WindowSettings, observe::Surroundings,
};
use mesh_core::{Classifier, Endpoint, GateLayer, Gated, ResultsOnly, Whole};
use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tower_layer::Layer;

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "circuit_breaker";

/// Refuses calls to what keeps failing, at once, with a [`Rejection`](mesh_core::Rejection) of kind
/// [`CircuitOpen`](mesh_core::Kind::CircuitOpen) that says when to come back; and then tries it with a few.
///
/// All clones of a layer, all services it makes and all their clones share one breaker. Who wants one for each service
/// asks for it [by name](Self::per_service). The methods that change a setting give a layer with a breaker of its own.
///
/// A call is followed to the end of its body: `http::governed` of `mesh-core` around the layer makes that of any HTTP
/// body, and reads the status of a gRPC call in the trailers. [`results_only`](Self::results_only) and
/// [`judge`](Self::judge) take any service whose error is a [`Refusal`](mesh_core::Refusal).
pub struct CircuitBreakerLayer<M = Whole> {
    parts: Parts,
    reach: M,
    /// Made when it is first asked for: a layer that is still being built registers no metrics.
    shared: Arc<OnceLock<GateLayer<CircuitBreaker>>>,
}

#[derive(Clone, Debug)]
struct Parts {
    settings: CircuitBreakerSettings,
    name: Arc<str>,
    endpoint: Option<Arc<Endpoint>>,
    classifier: Option<Classifier>,
}

impl Parts {
    fn gate(&self) -> CircuitBreaker {
        let surroundings = Surroundings::library(&self.name, self.endpoint.clone());
        CircuitBreaker::at(self.settings.clone(), surroundings, self.classifier.clone())
    }
}

impl CircuitBreakerLayer {
    /// Opens after so many failures in a row.
    pub fn consecutive_failures(failures: NonZeroU32) -> Self {
        Self::from(CircuitBreakerSettings { consecutive_failures: Some(failures), ..CircuitBreakerSettings::default() })
    }

    /// Opens when too large a part of the last calls has failed.
    pub fn window(window: WindowSettings) -> Self {
        let settings = CircuitBreakerSettings::default();
        Self::from(CircuitBreakerSettings { consecutive_failures: None, window: Some(window), ..settings })
    }
}

/// [`CircuitBreakerSettings::default`]: after five failures in a row, for five seconds.
impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::from(CircuitBreakerSettings::default())
    }
}

impl From<CircuitBreakerSettings> for CircuitBreakerLayer {
    fn from(settings: CircuitBreakerSettings) -> Self {
        let parts = Parts { settings, name: NAME.into(), endpoint: None, classifier: None };
        Self { parts, reach: Whole, shared: Arc::default() }
    }
}

impl<M: Clone> CircuitBreakerLayer<M> {
    /// How long it stays open the first time, 1 ms to 300 s; 5 s if it is not said. See
    /// [`CircuitBreakerSettings::open_for`].
    #[must_use]
    pub fn open_for(self, open_for: Duration) -> Self {
        self.with(|parts| parts.settings.open_for = open_for)
    }

    /// How it is tried after that.
    #[must_use]
    pub fn half_open(self, half_open: HalfOpenSettings) -> Self {
        self.with(|parts| parts.settings.half_open = half_open)
    }

    /// What counts as a failure.
    #[must_use]
    pub fn failure(self, failure: FailureSettings) -> Self {
        self.with(|parts| parts.settings.failure = failure)
    }

    /// Judges ends by a function of one's own, in place of [`FailureSettings`]. *Cancelled* keeps its rule.
    #[must_use]
    pub fn classifier(self, classifier: Classifier) -> Self {
        self.with(|parts| parts.classifier = Some(classifier))
    }

    /// The name in metrics (the label `breaker`) and logs, `circuit_breaker` if it is not said. Give each breaker one
    /// of its own: two of the same name share a gauge.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.with(|parts| parts.name = name.into())
    }

    /// For calls to this endpoint. An open breaker takes it out of the eligible set of every balancer that has it,
    /// until the moment of its trial; so do probes that are under way. A refusal says that another endpoint may be
    /// tried. An endpoint has one breaker of this kind at the most.
    #[must_use]
    pub fn endpoint(self, endpoint: Arc<Endpoint>) -> Self {
        self.with(|parts| parts.endpoint = Some(endpoint))
    }

    fn with(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(&mut self.parts);
        self.renewed()
    }

    /// The same, with a breaker of its own.
    fn renewed(&self) -> Self {
        Self { parts: self.parts.clone(), reach: self.reach.clone(), shared: Arc::default() }
    }

    fn shared(&self) -> &GateLayer<CircuitBreaker> {
        self.shared.get_or_init(|| GateLayer::new(self.parts.gate()).named(NAME))
    }

    /// Follows a call to its result only: `Ok` is a success, whatever the response says.
    pub fn results_only(self) -> CircuitBreakerLayer<ResultsOnly> {
        CircuitBreakerLayer { parts: self.parts, reach: ResultsOnly, shared: self.shared }
    }

    /// Follows a call to its result, and asks `judge` what a response counts as:
    /// `|response: &Response| -> Outcome`.
    pub fn judge<F>(self, judge: F) -> CircuitBreakerLayer<F> {
        CircuitBreakerLayer { parts: self.parts, reach: judge, shared: self.shared }
    }

    /// A layer that makes a breaker for each service it is applied to; the clones of that service share it.
    pub fn per_service(self) -> CircuitBreakerPerService<M> {
        CircuitBreakerPerService { layer: self }
    }

    /// Reads, controls and retunes the breaker while it runs. Cheap to clone.
    pub fn handle(&self) -> Arc<CircuitBreaker> {
        self.shared().gate().clone()
    }

    /// Whether what would be refused is only counted, and let pass. For all clones, also while it runs.
    pub fn set_shadow(&self, shadow: bool) {
        self.shared().set_shadow(shadow);
    }
}

impl<M: Clone> Clone for CircuitBreakerLayer<M> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone(), reach: self.reach.clone(), shared: self.shared.clone() }
    }
}

impl<M> fmt::Debug for CircuitBreakerLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("settings", &self.parts.settings).finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for CircuitBreakerLayer<M> {
    type Service = Gated<S, CircuitBreaker, M>;

    fn layer(&self, inner: S) -> Self::Service {
        // a function that judges is one way to reach, as are the others
        self.shared().clone().judge(self.reach.clone()).layer(inner)
    }
}

/// A [`CircuitBreakerLayer`] that gives each service it is applied to a breaker of its own. Made by
/// [`CircuitBreakerLayer::per_service`].
pub struct CircuitBreakerPerService<M = Whole> {
    layer: CircuitBreakerLayer<M>,
}

impl<M: Clone> Clone for CircuitBreakerPerService<M> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone() }
    }
}

impl<M> fmt::Debug for CircuitBreakerPerService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CircuitBreakerPerService").field(&self.layer).finish()
    }
}

impl<S, M: Clone> Layer<S> for CircuitBreakerPerService<M> {
    type Service = Gated<S, CircuitBreaker, M>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.renewed().layer(inner)
    }
}
