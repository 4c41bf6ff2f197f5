//! The tower layer: settings and shared state.

use crate::{Abort, AbortSettings, DelaySettings, Disturbed, FaultInjection, FaultSettings};
use mesh_core::{Name, ResultsOnly, Whole, units::Ratio};
use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};
use tower_layer::Layer;

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "fault_injection";

/// Injects faults: calls wait, or are answered here with an error and never made.
///
/// A delayed call waits in its response future, before the service below is called: it holds nothing of what stands
/// further in, and dropping it cancels the wait. An aborted one gives a [`Rejection`](mesh_core::Rejection) of kind
/// [`Fault`](mesh_core::Kind::Fault) that says which answer it stands for.
///
/// Requests are looked at (their `x-request-id`, and headers that ask for faults where that is allowed) as inside
/// `mesh_core::http::governed(..)`; with [`results_only`](Self::results_only) it takes any request.
///
/// All clones of a layer, all services it makes and all their clones share one [`FaultInjection`].
pub struct FaultInjectionLayer<M = Whole> {
    settings: FaultSettings,
    faults: Arc<FaultInjection>,
    name: Name,
    reach: M,
}

impl FaultInjectionLayer {
    /// Injects nothing yet.
    pub fn new() -> Self {
        Self::from(FaultSettings::default())
    }

    /// Any request, any response: headers and ids are not looked at, so nobody asks for faults, and a seed numbers the calls.
    #[must_use]
    pub fn results_only(self) -> FaultInjectionLayer<ResultsOnly> {
        FaultInjectionLayer { settings: self.settings, faults: self.faults, name: self.name, reach: ResultsOnly }
    }
}

impl Default for FaultInjectionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<FaultSettings> for FaultInjectionLayer {
    fn from(settings: FaultSettings) -> Self {
        Self { settings, faults: Arc::new(FaultInjection::new(settings)), name: Name::intern(NAME), reach: Whole }
    }
}

impl<M> FaultInjectionLayer<M> {
    /// This part of the calls waits so long before it goes on. The layer that is given back has a state of its own.
    #[must_use]
    pub fn delay(self, fixed: Duration, percent: Ratio) -> Self {
        let settings = FaultSettings { delay: Some(DelaySettings { fixed, percent }), ..self.settings };
        self.with(settings)
    }

    /// This part of the calls is answered so, and never made. The layer that is given back has a state of its own.
    #[must_use]
    pub fn abort(self, with: Abort, percent: Ratio) -> Self {
        let settings = FaultSettings { abort: Some(AbortSettings { with, percent }), ..self.settings };
        self.with(settings)
    }

    /// No more than so many calls are delayed at once. The layer that is given back has a state of its own.
    #[must_use]
    pub fn max_active(self, max: NonZeroU32) -> Self {
        let settings = FaultSettings { max_active: Some(max), ..self.settings };
        self.with(settings)
    }

    fn with(self, settings: FaultSettings) -> Self {
        Self { settings, faults: Arc::new(FaultInjection::new(settings)), ..self }
    }

    /// Reads, retunes and switches it while it runs. Cheap to clone.
    pub fn handle(&self) -> Arc<FaultInjection> {
        self.faults.clone()
    }
}

impl<M: Clone> Clone for FaultInjectionLayer<M> {
    fn clone(&self) -> Self {
        Self { faults: self.faults.clone(), reach: self.reach.clone(), ..*self }
    }
}

impl<M> fmt::Debug for FaultInjectionLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultInjectionLayer").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl<S, M: Clone> Layer<S> for FaultInjectionLayer<M> {
    type Service = Disturbed<S, M>;

    fn layer(&self, inner: S) -> Disturbed<S, M> {
        Disturbed { inner, faults: self.faults.clone(), name: self.name, reach: self.reach.clone() }
    }
}
