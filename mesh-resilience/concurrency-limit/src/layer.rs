//! The tower layers: one that refuses, one that waits.

use crate::{ConcurrencyLimit, ConcurrencyLimitSettings, Queued, Wait, permits::Watcher};
use mesh_core::{GateLayer, Gated, Name, ResultsOnly, Whole};
use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};
use tower_layer::Layer;

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "concurrency_limit";

/// Limits how many calls are under way at once. One too many is answered at once with a
/// [`Rejection`](mesh_core::Rejection) of kind [`Saturated`](mesh_core::Kind::Saturated); see [`wait`](Self::wait) for a
/// layer that lets it wait.
///
/// A call counts from `call` to its result, and takes any service whose error is a [`Refusal`](mesh_core::Refusal).
/// With [`until_end`](Self::until_end) it counts to the end of the response's body.
///
/// All clones of a layer, all services it makes and all their clones share the permits. Nothing is taken in
/// `poll_ready`: an idle clone holds no permit.
pub struct ConcurrencyLimitLayer<M = ResultsOnly> {
    layer: GateLayer<ConcurrencyLimit, M>,
    settings: ConcurrencyLimitSettings,
}

impl ConcurrencyLimitLayer {
    /// So many at once.
    pub fn new(max: NonZeroU32) -> Self {
        let settings = ConcurrencyLimitSettings::new(max);
        Self { layer: gate_layer(settings).results_only(), settings }
    }

    /// A layer with permits of its own whose calls count to the end of the response's body. For HTTP that needs
    /// `mesh_core::http::governed` around it.
    #[must_use]
    pub fn until_end(self) -> ConcurrencyLimitLayer<Whole> {
        let settings = ConcurrencyLimitSettings { until_end: true, ..self.settings };
        ConcurrencyLimitLayer { layer: gate_layer(settings), settings }
    }
}

impl<M: Clone> ConcurrencyLimitLayer<M> {
    /// A layer over the same permits whose calls wait for their turn, this long at the most; as many may wait as may
    /// be under way.
    #[must_use]
    pub fn wait(self, timeout: Duration) -> QueueLayer<M> {
        QueueLayer {
            limit: self.layer.gate().clone(),
            wait: Some(Wait { timeout, queue: None }),
            back_pressure: false,
            name: Name::intern(NAME),
            reach: self.layer.reach().clone(),
        }
    }

    /// A layer over the same permits that is not ready while there is none, as tower's own: for a `Buffer`, a
    /// `LoadShed` or a balancer of tower's above it, which act on readiness. A call that comes without having been
    /// ready, or when another was faster, waits for its turn as long as it takes.
    #[must_use]
    pub fn back_pressure(self) -> QueueLayer<M> {
        QueueLayer { wait: None, back_pressure: true, ..self.wait(Duration::MAX) }
    }
}

impl<M> ConcurrencyLimitLayer<M> {
    /// A layer that gives each service it is applied to permits of its own; the clones of that service share them.
    pub fn per_service(self) -> ConcurrencyLimitPerService<M> {
        ConcurrencyLimitPerService { layer: self }
    }

    /// Reads and retunes the limit while it runs. Cheap to clone.
    pub fn handle(&self) -> Arc<ConcurrencyLimit> {
        self.layer.gate().clone()
    }

    /// Whether what would be refused is only counted, and let pass. For all clones, also while it runs.
    pub fn set_shadow(&self, shadow: bool) {
        self.layer.set_shadow(shadow);
    }
}

fn gate_layer(settings: ConcurrencyLimitSettings) -> GateLayer<ConcurrencyLimit> {
    GateLayer::new(ConcurrencyLimit::from(settings)).named(NAME)
}

impl<M: Clone> Clone for ConcurrencyLimitLayer<M> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), settings: self.settings }
    }
}

impl<M> fmt::Debug for ConcurrencyLimitLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer").field("limit", self.layer.gate()).finish()
    }
}

impl<S, M: Clone> Layer<S> for ConcurrencyLimitLayer<M> {
    type Service = Gated<S, ConcurrencyLimit, M>;

    fn layer(&self, inner: S) -> Self::Service {
        self.layer.layer(inner)
    }
}

/// A [`ConcurrencyLimitLayer`] that gives each service permits of its own. Made by
/// [`ConcurrencyLimitLayer::per_service`].
pub struct ConcurrencyLimitPerService<M = ResultsOnly> {
    layer: ConcurrencyLimitLayer<M>,
}

impl<M: Clone> Clone for ConcurrencyLimitPerService<M> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone() }
    }
}

impl<M> fmt::Debug for ConcurrencyLimitPerService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitPerService").field("settings", &self.layer.settings).finish()
    }
}

impl<S, M: Clone> Layer<S> for ConcurrencyLimitPerService<M> {
    type Service = Gated<S, ConcurrencyLimit, M>;

    fn layer(&self, inner: S) -> Self::Service {
        gate_layer(self.layer.settings).judge(self.layer.layer.reach().clone()).layer(inner)
    }
}

/// A concurrency limit whose calls wait for their turn, first come, first served. Made by
/// [`ConcurrencyLimitLayer::wait`] or [`ConcurrencyLimitLayer::back_pressure`].
///
/// A call that is dropped while it waits leaves the queue; a permit that it had been granted just then goes to the
/// next. A wait that takes too long, or a queue that is full, is refused as [`Saturated`](mesh_core::Kind::Saturated);
/// a call whose deadline ([`Context::deadline`](mesh_core::Context::deadline)) passes first, or has passed, as
/// [`Timeout`](mesh_core::Kind::Timeout): it is never begun.
pub struct QueueLayer<M = ResultsOnly> {
    limit: Arc<ConcurrencyLimit>,
    wait: Option<Wait>,
    back_pressure: bool,
    name: Name,
    reach: M,
}

impl<M> QueueLayer<M> {
    /// How many may wait; one more is refused at once. Of no effect with back-pressure.
    #[must_use]
    pub fn queue(self, longest: u32) -> Self {
        Self { wait: self.wait.map(|wait| Wait { queue: Some(longest), ..wait }), ..self }
    }

    /// Reads and retunes the limit while it runs. Cheap to clone.
    pub fn handle(&self) -> Arc<ConcurrencyLimit> {
        self.limit.clone()
    }
}

#[cfg(feature = "config")]
impl QueueLayer<Whole> {
    pub(crate) fn over(limit: Arc<ConcurrencyLimit>, wait: Wait) -> Self {
        Self { limit, wait: Some(wait), back_pressure: false, name: Name::intern(NAME), reach: Whole }
    }
}

impl<M: Clone> Clone for QueueLayer<M> {
    fn clone(&self) -> Self {
        Self { limit: self.limit.clone(), reach: self.reach.clone(), ..*self }
    }
}

impl<M> fmt::Debug for QueueLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer").field("limit", &self.limit).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for QueueLayer<M> {
    type Service = Queued<S, M>;

    fn layer(&self, inner: S) -> Queued<S, M> {
        Queued {
            inner,
            limit: self.limit.clone(),
            wait: self.wait,
            watcher: self.back_pressure.then(|| Watcher::new(self.limit.permits.clone())),
            name: self.name,
            reach: self.reach.clone(),
        }
    }
}
