//! The tower layer: settings, shared state, and the handle on it.

use crate::{Timeout, TimeoutSettings};
use mesh_core::{Name, ResultsOnly, Whole};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tower_layer::Layer;

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "timeout";

/// Gives a call up that takes too long. The error is a [`Rejection`](mesh_core::Rejection) of kind
/// [`Timeout`](mesh_core::Kind::Timeout), and what the call has open further in (a breaker's probe, a permit, an
/// endpoint's statistics) hears [`TimedOut`](mesh_core::Outcome::TimedOut), not that the caller went away.
///
/// Two limits, one timer for the earlier:
/// - **response**: from the end of the request's body to the head of the response, so a stream that the client is
///   still sending is never cut. It does not count time in `poll_ready`, nor before the layer was called;
/// - **the deadline** of the request's [`Context`](mesh_core::Context), which is where a `grpc-timeout` ends up. A
///   call whose deadline has passed is refused without being made. A gRPC response that goes on past it is cut, with
///   `DEADLINE_EXCEEDED` in the trailers.
///
/// By default requests must carry a context and responses be governed, as inside `mesh_core::http::governed(..)`;
/// with [`results_only`](Self::results_only) it takes any service, and there are no deadlines.
///
/// All clones of a layer, all services it makes and all their clones share the settings; the [`handle`](Self::handle)
/// changes them while they run.
pub struct TimeoutLayer<M = Whole> {
    shared: Arc<Shared>,
    name: Name,
    reach: M,
}

/// What can be retuned.
pub(crate) struct Shared {
    /// Nanoseconds; `u64::MAX`: as long as it takes.
    response: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: TimeoutSettings) -> Arc<Self> {
        let shared = Self { response: AtomicU64::new(u64::MAX) };
        shared.set(settings);
        Arc::new(shared)
    }

    pub(crate) fn set(&self, settings: TimeoutSettings) {
        let nanos = settings.response.and_then(|response| u64::try_from(response.as_nanos()).ok());
        self.response.store(nanos.unwrap_or(u64::MAX), Relaxed);
    }

    /// [`Duration::MAX`]: as long as it takes.
    pub(crate) fn response(&self) -> Duration {
        match self.response.load(Relaxed) {
            u64::MAX => Duration::MAX,
            nanos => Duration::from_nanos(nanos),
        }
    }
}

impl TimeoutLayer {
    /// This long for the response. With zero only what is answered at once is answered at all.
    pub fn new(response: Duration) -> Self {
        Self::from(TimeoutSettings::response(response))
    }

    /// As long as the request's deadline allows.
    pub fn deadline_only() -> Self {
        Self::from(TimeoutSettings::default())
    }

    pub(crate) fn over(shared: Arc<Shared>) -> Self {
        Self { shared, name: Name::intern(NAME), reach: Whole }
    }
}

impl From<TimeoutSettings> for TimeoutLayer {
    fn from(settings: TimeoutSettings) -> Self {
        Self::over(Shared::new(settings))
    }
}

impl<M> TimeoutLayer<M> {
    /// Names the layer in refusals and metrics. Default: `timeout`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Name::intern(name), ..self }
    }

    /// Any request, any response: neither deadlines nor the end of a request's body are known, so that the time for
    /// the response counts from the call.
    #[must_use]
    pub fn results_only(self) -> TimeoutLayer<ResultsOnly> {
        TimeoutLayer { shared: self.shared, name: self.name, reach: ResultsOnly }
    }

    /// Reads and changes the settings while they are in use.
    pub fn handle(&self) -> TimeoutHandle {
        TimeoutHandle(self.shared.clone())
    }
}

impl<M: Clone> Clone for TimeoutLayer<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), name: self.name, reach: self.reach.clone() }
    }
}

impl<M> fmt::Debug for TimeoutLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutLayer").field("name", &self.name).field("handle", &self.handle()).finish()
    }
}

impl<S, M: Clone> Layer<S> for TimeoutLayer<M> {
    type Service = Timeout<S, M>;

    fn layer(&self, inner: S) -> Timeout<S, M> {
        Timeout::new(inner, self.shared.clone(), self.name, self.reach.clone())
    }
}

/// A handle on the settings of a [`TimeoutLayer`] and all that was made of it. Cheap to clone.
#[derive(Clone)]
pub struct TimeoutHandle(Arc<Shared>);

impl TimeoutHandle {
    /// How long a response may take; `None`: as long as it takes.
    pub fn response(&self) -> Option<Duration> {
        Some(self.0.response()).filter(|response| *response != Duration::MAX)
    }

    /// How long the responses of calls that begin from now on may take; calls under way keep what they began with.
    /// `None`: as long as it takes, so that only deadlines are kept; without one a call then costs one branch.
    pub fn set_response(&self, response: impl Into<Option<Duration>>) {
        self.0.set(TimeoutSettings { response: response.into() });
    }
}

impl fmt::Debug for TimeoutHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutHandle").field("response", &self.response()).finish()
    }
}
