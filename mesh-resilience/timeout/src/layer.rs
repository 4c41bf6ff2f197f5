//! The tower layer: settings, shared state, and the handle on it.

use crate::{Timeout, TimeoutSettings, limits::Limits};
use mesh_core::{Context, Name, Nanos, ResultsOnly, Whole, time};
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
/// Four limits, one timer for the earliest:
/// - **response**: from the end of the request's body to the head of the response, so a stream that the client is
///   still sending is never cut. It does not count time in `poll_ready`, nor before the layer was called;
/// - **[total](Self::total)**: from the request's arrival to the end of the response's body. Of a gRPC call, to the
///   head: what goes on after it is a stream;
/// - **[idle](Self::idle)**: nothing moves, neither of the request's body nor of the response's;
/// - **the deadline** of the request's [`Context`](mesh_core::Context), which is where a `grpc-timeout` ends up. A
///   call whose deadline has passed is refused without being made. A gRPC response that goes on past it is cut.
///
/// A response that is cut after its head breaks off with the refusal as its body's error: HTTP/2 resets the stream,
/// HTTP/1.1 closes without the last chunk. A gRPC one ends with `DEADLINE_EXCEEDED` in its trailers.
///
/// By default requests must carry a context and responses be governed, as inside `mesh_core::http::governed(..)`;
/// with [`results_only`](Self::results_only) it takes any service; there are no deadlines then, and all limits end with
/// the result.
///
/// All clones of a layer, all services it makes and all their clones share the settings; the [`handle`](Self::handle)
/// changes them while they run.
pub struct TimeoutLayer<M = Whole> {
    shared: Arc<Shared>,
    name: Name,
    reach: M,
}

/// What can be retuned: nanoseconds, [`NEVER`] where there is no limit.
pub(crate) struct Shared {
    response: AtomicU64,
    total: AtomicU64,
    idle: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Shared {
    pub(crate) fn new(settings: TimeoutSettings) -> Arc<Self> {
        let shared = Self { response: NEVER.into(), total: NEVER.into(), idle: NEVER.into() };
        shared.set(settings);
        Arc::new(shared)
    }

    /// A call that begins while several are changed may be given some old and some new.
    pub(crate) fn set(&self, settings: TimeoutSettings) {
        let nanos = |limit: Option<Duration>| limit.and_then(|limit| u64::try_from(limit.as_nanos()).ok());
        self.response.store(nanos(settings.response).unwrap_or(NEVER), Relaxed);
        self.total.store(nanos(settings.total).unwrap_or(NEVER), Relaxed);
        self.idle.store(nanos(settings.idle).unwrap_or(NEVER), Relaxed);
    }

    fn settings(&self) -> TimeoutSettings {
        let limit = |nanos: &AtomicU64| Some(duration(nanos)).filter(|limit| *limit != Duration::MAX);
        TimeoutSettings { response: limit(&self.response), total: limit(&self.total), idle: limit(&self.idle) }
    }

    /// The limits of a call that begins now.
    pub(crate) fn limits(&self, context: &Context, deadline: Option<Nanos>) -> Limits {
        let total = match self.total.load(Relaxed) {
            NEVER => Nanos::MAX,
            nanos => {
                let arrived = context.arrived().unwrap_or_else(time::now);
                let total = arrived.plus(Duration::from_nanos(nanos));
                // for layers further in that queue or try again; a gRPC stream or a tunnel may go on after it
                if !matches!(context.protocol(), Name::GRPC | Name::TUNNEL) {
                    context.limit_deadline(total);
                }
                total
            }
        };
        Limits {
            response: duration(&self.response),
            idle: duration(&self.idle),
            total,
            deadline: deadline.unwrap_or(Nanos::MAX),
        }
    }
}

/// [`Duration::MAX`]: no limit.
fn duration(nanos: &AtomicU64) -> Duration {
    match nanos.load(Relaxed) {
        NEVER => Duration::MAX,
        nanos => Duration::from_nanos(nanos),
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

    /// How long all of it may take, from the request's arrival (without a record of it, from the call) to the end of
    /// the response. It also becomes the request's deadline, unless that is earlier or the call is gRPC. The layer that
    /// is given back has settings of its own.
    #[must_use]
    pub fn total(self, total: Duration) -> Self {
        let settings = TimeoutSettings { total: Some(total), ..self.shared.settings() };
        Self { shared: Shared::new(settings), ..self }
    }

    /// How long nothing may move, neither of the request's body nor of the response: a stream that goes on may go on
    /// for ever. Frames of a response count to the nanosecond. Those of a request are looked at when the time is over,
    /// so where it is they that stop, the call is given up within two times `idle`. The layer that is given back has
    /// settings of its own.
    #[must_use]
    pub fn idle(self, idle: Duration) -> Self {
        let settings = TimeoutSettings { idle: Some(idle), ..self.shared.settings() };
        Self { shared: Shared::new(settings), ..self }
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
    /// What is in force.
    pub fn settings(&self) -> TimeoutSettings {
        self.0.settings()
    }

    /// Puts other settings in force, for calls that begin from now on; calls under way keep what they began with.
    /// Without any limit only deadlines are kept; without one a call then costs one branch.
    pub fn set(&self, settings: TimeoutSettings) {
        self.0.set(settings);
    }

    /// How long a response may take; `None`: as long as it takes.
    pub fn response(&self) -> Option<Duration> {
        self.0.settings().response
    }

    /// Changes that alone; see [`set`](Self::set). `None`: as long as it takes.
    pub fn set_response(&self, response: impl Into<Option<Duration>>) {
        self.0.set(TimeoutSettings { response: response.into(), ..self.0.settings() });
    }
}

impl fmt::Debug for TimeoutHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimeoutHandle").field(&self.settings()).finish()
    }
}
