//! The tower layer: settings and shared state.

use crate::{RateLimit, RateLimitSettings};
use mesh_core::{GateLayer, Gated, ResultsOnly, units::Rate};
use std::{num::NonZeroU32, sync::Arc};
use tower_layer::Layer;

/// Limits the rate of calls. What is too much is answered at once with a
/// [`Rejection`](mesh_core::Rejection) of kind [`RateLimited`](mesh_core::Kind::RateLimited) that says when to come
/// back; nothing waits.
///
/// All clones of a layer, all services it makes and all their clones share one bucket: an axum `Router` that applies
/// the layer to each route, or a server that applies it to each connection, is limited as a whole. Who wants a bucket
/// for each asks for it [by name](Self::per_service).
///
/// Any service will do whose error is a [`Refusal`](mesh_core::Refusal); request and response may be anything.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    settings: RateLimitSettings,
    layer: GateLayer<RateLimit, ResultsOnly>,
}

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "rate_limit";

impl RateLimitLayer {
    /// This rate, with a burst of what it gives in a second.
    pub fn new(rate: Rate) -> Self {
        Self::from(RateLimitSettings::new(rate))
    }

    /// How many at once, after a time of rest. The layer that is given back has a bucket of its own, a full one.
    #[must_use]
    pub fn burst(self, burst: NonZeroU32) -> Self {
        Self::from(RateLimitSettings { burst: Some(burst), ..self.settings })
    }

    /// A layer that makes a bucket for each service it is applied to; the clones of that service share it.
    pub fn per_service(self) -> RateLimitPerService {
        RateLimitPerService { settings: self.settings }
    }

    /// Reads and retunes the limit while it runs. Cheap to clone.
    pub fn handle(&self) -> Arc<RateLimit> {
        self.layer.gate().clone()
    }

    /// Whether what would be refused is only counted, and let pass. For all clones, also while it runs.
    ///
    /// The answer carries no mark, since a response may be anything here; a pipeline marks it with `x-mesh-shadow`.
    pub fn set_shadow(&self, shadow: bool) {
        self.layer.set_shadow(shadow);
    }
}

impl From<RateLimitSettings> for RateLimitLayer {
    fn from(settings: RateLimitSettings) -> Self {
        Self { layer: gate_layer(settings), settings }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = Gated<S, RateLimit, ResultsOnly>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.layer(inner)
    }
}

/// A [`RateLimitLayer`] that gives each service it is applied to a bucket of its own. Made by
/// [`RateLimitLayer::per_service`].
#[derive(Clone, Copy, Debug)]
pub struct RateLimitPerService {
    settings: RateLimitSettings,
}

impl<S> Layer<S> for RateLimitPerService {
    type Service = Gated<S, RateLimit, ResultsOnly>;

    fn layer(&self, inner: S) -> Self::Service {
        gate_layer(self.settings).layer(inner)
    }
}

fn gate_layer(settings: RateLimitSettings) -> GateLayer<RateLimit, ResultsOnly> {
    GateLayer::new(RateLimit::new(settings.quota())).named(NAME).results_only()
}
