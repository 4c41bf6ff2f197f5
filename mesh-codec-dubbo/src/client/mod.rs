//! The upstream side: calls to one provider over one connection that they share.
//!
//! ```no_run
//! use mesh_codec_dubbo::{Answer, Request, client::{Client, Options}};
//! use mesh_core::{Endpoint, Target};
//! use tower::Service;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint::new(Target::new("127.0.0.1:20880".parse::<mesh_core::Address>()?));
//! let mut client = Client::new(&endpoint, Options::default());
//! let call = Request::of("demo.DemoService", "sayHello")
//!     .arguments("Ljava/lang/String;", |writer| writer.string("world"))
//!     .build();
//! let response = client.call(call).await?;
//! if let Answer::Value(mut value) = response.answer()? {
//!     println!("{:?}", value.read_text()?);
//! }
//! # Ok(()) }
//! ```
//!
//! # The connection
//! - It is made by the first call, and made again by the first one after it was lost. Calls that come meanwhile wait for it,
//!   [`Options::max_pending`] at the most. Where none can be made, or nothing comes of one, calls fail at once
//!   ([`UpstreamErrorKind::Connect`]) until the [backoff](Options::backoff) is over, which doubles up to
//!   [`Options::max_backoff`].
//! - Each call is sent with an id of the connection's own, which never comes again: consumers whose ids are equal do not
//!   meet, and an answer that comes late meets nobody. Answers may come in any order.
//! - Heartbeats are sent when one direction has been quiet for [`Options::heartbeat`], and those of the upstream answered.
//!   After three times that without a byte the connection is lost.
//! - When the upstream says "read only", calls under way are answered, new ones are refused
//!   ([`Kind::NoEndpoint`], to be tried elsewhere) until it takes that back or the connection ends; the endpoint is out of
//!   balancers' sight for ten seconds ([`HealthFlag::Draining`]).
//! - When it is lost all its calls fail at once ([`UpstreamErrorKind::Reset`]). None is sent again here.
//! - A call from the upstream (a callback) is answered with status 70: nobody here knows whom it is for.
//! - It is closed when the last clone of the client has been dropped and all calls have been answered.
//!
//! [`probe`] asks over a connection of its own whether a provider is there, for health checks.
//!
//! # Bounds
//! Calls wait, first come, first served, while [`Options::max_in_flight`] are under way or [`Options::max_buffered`] bytes
//! are to be written, and are refused ([`Kind::PoolFull`]) when as many wait as may.
//!
//! # Cancellation
//! Dropping the future of a call frees its place; the protocol cannot take a call back, so that the provider may
//! still work on it, and its answer is thrown away. A call that still waits to be sent is never sent.
//!
//! # Deadlines
//! A call whose deadline has passed is refused, and what is left of one is said in the attachment `timeout`, where the
//! call does not say less. The answer is waited for as long as it takes: a timeout is a layer's to keep.
//!
//! # What it costs
//! No allocation per call, once a connection has had as many at once: it is written into the buffer of the connection,
//! and the answer waits where its place is. One short lock for each.

mod connect;
mod driver;
mod future;
mod probe;
mod state;

pub use connect::{Connect, Connecting, Transport};
pub use future::ResponseFuture;
pub use probe::probe;

#[cfg(doc)]
use crate::UpstreamErrorKind;
use crate::{DubboError, Request, Response, UpstreamError, frame::MAX_BODY};
#[cfg(doc)]
use mesh_core::Kind;
use mesh_core::{Endpoint, HealthFlag, RequestView, time};
use state::{Failure, MOST, Phase, State};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_service::Service;

/// How a provider is reached.
#[derive(Clone)]
pub struct Options {
    /// How long it may take to make a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// How long after a failure no connection is tried, give or take a fifth; doubled with each in a row. Default 100 ms.
    pub backoff: Duration,
    /// What it is doubled up to. Default 10 s.
    pub max_backoff: Duration,
    /// How long one direction may be quiet before a heartbeat is sent; after three times that without a byte the
    /// connection is lost. Java's providers close a connection that is quiet for 180 s. Default 60 s.
    pub heartbeat: Duration,
    /// The longest body of an answer that is taken. Default 8 MiB, Dubbo's own.
    pub max_body: usize,
    /// The most calls under way at once; 1 to 65,535. Default 4096.
    pub max_in_flight: usize,
    /// The most bytes that may wait to be written before another call is. Default 1 MiB.
    pub max_buffered: usize,
    /// The most calls that may wait to be sent. Default 1024.
    pub max_pending: usize,
    /// What opens sockets. Default [`mesh_net::Connector`].
    pub connector: Arc<dyn Connect>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            heartbeat: Duration::from_secs(60),
            max_body: MAX_BODY,
            max_in_flight: 4096,
            max_buffered: 1024 * 1024,
            max_pending: 1024,
            connector: Arc::new(mesh_net::Connector::default()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connect_timeout", &self.connect_timeout)
            .field("backoff", &self.backoff)
            .field("max_backoff", &self.max_backoff)
            .field("heartbeat", &self.heartbeat)
            .field("max_body", &self.max_body)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_buffered", &self.max_buffered)
            .field("max_pending", &self.max_pending)
            .finish_non_exhaustive()
    }
}

/// Sends calls to one provider. Always ready; clones share the connection, from whatever thread they are called.
///
/// # Errors
/// [`DubboError::Upstream`]; [`DubboError::Refused`] where the call's deadline has passed, the provider wants no calls or
/// too many wait, or where somebody has asked for the attachments of a call whose body is malformed.
///
/// # Panics
/// Outside a tokio runtime, in which the connection's task is spawned.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

/// What is dropped with the last clone.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let task = {
            let mut state = self.0.lock();
            state.is_closing = true;
            state.task.take()
        };
        wake(task);
    }
}

struct Shared {
    endpoint: Arc<Endpoint>,
    options: Options,
    state: Mutex<State>,
}

/// How long an endpoint that wants no calls is left out of sight.
const OUT_OF_SIGHT: Duration = Duration::from_secs(10);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, why: &Failure) -> DubboError {
        UpstreamError::new(why.kind, &*why.text).at(self.endpoint.address().clone()).into()
    }

    fn has_room(&self, state: &State) -> bool {
        state.in_flight() < self.options.max_in_flight.clamp(1, MOST)
            && state.out.len() + state.writing < self.options.max_buffered.max(1)
    }

    /// Whom to wake when a call is over: one that waits, and of a connection that is to be closed its task.
    fn after_one(&self, state: &mut State) -> impl Iterator<Item = Waker> + use<> {
        let next = if self.has_room(state) { state.waiting.call_one() } else { None };
        let task = if state.is_closing { state.task.take() } else { None };
        next.into_iter().chain(task)
    }

    fn set_read_only(&self, is_read_only: bool) {
        let health = self.endpoint.health();
        if is_read_only {
            health.set_until(HealthFlag::Draining, time::now().plus(OUT_OF_SIGHT));
        } else {
            health.set(HealthFlag::Draining, false);
        }
    }
}

impl Client {
    /// The way to `endpoint`. No connection is made before there is a call.
    pub fn new(endpoint: &Arc<Endpoint>, options: Options) -> Self {
        let state = Mutex::new(State::new());
        Self(Arc::new(Handle(Arc::new(Shared { endpoint: endpoint.clone(), options, state }))))
    }

    /// Calls that are under way.
    pub fn in_flight(&self) -> usize {
        self.0.0.lock().in_flight()
    }

    /// Whether there is a connection on which calls are welcome.
    pub fn is_connected(&self) -> bool {
        matches!(self.0.0.lock().phase, Phase::Open)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.0.lock();
        f.debug_struct("Client")
            .field("address", self.0.0.endpoint.address())
            .field("phase", &state.phase)
            .field("in_flight", &state.in_flight())
            .finish_non_exhaustive()
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Service<Request> for Client {
    type Response = Response;
    type Error = DubboError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DubboError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> ResponseFuture {
        request.context().begin_attempt();
        ResponseFuture::begin(self.0.0.clone(), request)
    }
}
