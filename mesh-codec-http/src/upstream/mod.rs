//! The way to an endpoint: connections that are kept, one pool per thread.
//!
//! [`Upstream`] is a service that sends a request to one endpoint. Its connections belong to the thread it is called
//! on and are found through a thread-local, so that nothing is locked and the service is `Send`.
//!
//! # Connections
//! - **HTTP/1.1**: the idle connection that was used last is taken, so that the others grow old. It comes back when the
//!   response has been read to its end; a body that is dropped before closes it. It has no task: whoever waits for the
//!   response or reads the body polls it. What frames a body is decided here, for requests and for responses: one
//!   `content-length` or `chunked`, else the message is refused; what comes behind a response is never another's.
//! - **HTTP/2**: requests share a connection, up to the number of streams the upstream takes; then another is made.
//!   Requests that come while one is being made wait for it.
//! - There are no more than [`UpstreamOptions::max_connections`] over all threads, exactly. Requests that find none free
//!   wait in one queue, first come, first served; an idle connection of another thread is closed to make room.
//! - **Nobody waits for what has stalled**: who comes a second after a handshake over HTTP/2 has begun begins another. A
//!   connection that is silent while a request waits is sent a PING, and gets no new request if nothing comes back.
//! - An idle one is closed by [`sweep`]: after [`UpstreamOptions::idle`], or when its endpoint has left its sets
//!   ([`mesh_core::Presence`]).
//!
//! # What is sent again
//! Once, on a connection made for it (HTTP/1) or any other (HTTP/2), never after a byte of a response:
//!
//! | what happened | what is sent again |
//! | --- | --- |
//! | HTTP/1: an idle connection was closed before anything of the request was written | every request |
//! | HTTP/1: an idle connection is closed after the request was written | a request without a body whose method is idempotent |
//! | HTTP/2: `REFUSED_STREAM`, or a `GOAWAY` that says the request was not looked at | every request of whose body no more than one frame of 64 KiB was taken: none, or a unary gRPC call |
//! | HTTP/2: a connection that had carried a request before is lost | a request without a body whose method is idempotent |
//!
//! A tunnel (an upgrade over HTTP/1.1, a CONNECT) is asked for once: over HTTP/1.1 on a connection made for it, over HTTP/2
//! as a stream. One to WebSocket goes on over HTTP/2 as an extended CONNECT (RFC 8441) where the upstream takes those;
//! any other as a request without.
//!
//! What is not sent again fails with [`UpstreamErrorKind::Reset`] or
//! [`UpstreamErrorKind::RefusedStream`], for a retry layer to judge.
//!
//! # What it costs
//! Allocations per call on a connection that is there, with a small response:
//!
//! | | ours | h2's |
//! | --- | --- | --- |
//! | HTTP/1.1 | the future, what has come in its size and its reference count, the map of the fields (two) | |
//! | HTTP/2 | the future, and two for a copy of the head in case it is refused | path, authority, the response's fields and their values |
//!
//! An HTTP/1.1 connection has no buffers: a thread reads through one of 32 KiB, and writes a request's head from a vector
//! that it recycles. So an idle connection takes some 300 bytes and its socket, and a response that its reader leaves
//! alone no more than 32 KiB.
//!
//! A [`Stage`](mesh_core::Stage) around the service adds none. A sweep takes some instructions per idle connection.
//!
//! ```
//! use mesh_codec_http::{Body, upstream::{Upstream, UpstreamOptions}};
//! use mesh_core::{Context, Endpoint, Target, http::CallBody, time};
//! use tower::Service;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint::new(Target::new("127.0.0.1:8080".parse::<mesh_core::Address>()?));
//! let mut upstream = Upstream::new(&endpoint, UpstreamOptions::default());
//! let body = CallBody::new(Context::begin(time::now(), None), Body::empty());
//! let response = upstream.call(http::Request::get("/").header("host", "shop").body(body)?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(()) }
//! ```

mod http1;
mod http2;
mod limit;
mod pool;
mod tunnel;
mod upload;
mod wire;

pub(crate) use http1::Http1Body;
pub(crate) use http2::Http2Body;
pub use pool::{connections, sweep};
pub use wire::{Connect, Connecting, Transport};

use crate::{Body, HttpError, Request, Response, UpstreamError, UpstreamErrorKind, forward};
use http::{HeaderMap, HeaderValue, Method, Version, header};
use http_body::Body as _;
use http1::{Failed, Http1, Message};
use http2::InFlight;
use limit::{Grant, Limit};
use mesh_core::{
    Address, Context as Call, Endpoint, EndpointId, Name, Nanos, Presence, Refusal, Rejection, http::GovernedBody, time,
};
use pool::Acquired;
use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tower_service::Service;

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in cleartext, by prior knowledge.
    Http2,
    /// HTTP/2 for requests that came over HTTP/2, HTTP/1.1 for all others.
    #[default]
    AsDownstream,
}

/// How an upstream is reached.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// What is spoken. Default [`UpstreamProtocol::AsDownstream`].
    pub protocol: UpstreamProtocol,
    /// How long it may take to make a connection: the socket's part, and with HTTP/2 until the upstream has said its
    /// first word. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses, to within the second between two sweeps. Default 60 s.
    pub idle: Duration,
    /// How old a connection may become, give or take a tenth; then no more requests are sent on it. Looked at where it is
    /// idle, to within the second between two sweeps. Default: any age.
    pub max_age: Option<Duration>,
    /// The most connections to the endpoint at once, over all threads; idle ones count. At least 1. Default 1024.
    pub max_connections: u32,
    /// The most requests that may wait at once, over all threads: for a connection where there are as many as may be, or
    /// over HTTP/2 for the one that is being made. More are refused with [`Kind::PoolFull`](mesh_core::Kind::PoolFull),
    /// and so is one that has waited for as long as a connection may take to be made. Default 1024.
    pub max_pending: u32,
    /// The label of the metrics. Default none.
    pub cluster: Name,
    /// What opens sockets. Default [`mesh_net::Connector`].
    pub connector: Arc<dyn Connect>,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            protocol: UpstreamProtocol::default(),
            connect_timeout: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            max_age: None,
            max_connections: 1024,
            max_pending: 1024,
            cluster: Name::NONE,
            connector: Arc::new(mesh_net::Connector::default()),
        }
    }
}

impl fmt::Debug for UpstreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamOptions")
            .field("protocol", &self.protocol)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle", &self.idle)
            .field("max_age", &self.max_age)
            .field("max_connections", &self.max_connections)
            .field("max_pending", &self.max_pending)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Sends requests to one endpoint. Always ready; clones share the connections of the thread they are called on.
///
/// A request is given in the form in which [`forward`] has it between the two sides; it is brought into the form of
/// the upstream's protocol here, `grpc-timeout` is written anew, and a response loses its hop-by-hop fields. One call
/// counts as one attempt in the context, and one more where the request is sent again (see the [module](self)).
///
/// # Errors
/// [`HttpError::Upstream`]; [`HttpError::Refused`] where the request's deadline has passed, or its head cannot be
/// brought into the other protocol's form.
///
/// # Cancellation
/// Dropping the future closes the HTTP/1 connection it uses, or cancels the HTTP/2 stream. So does dropping the
/// response's body before its end.
///
/// # Panics
/// Outside a tokio runtime.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

struct Shared {
    endpoint: EndpointId,
    presence: Presence,
    address: Address,
    options: UpstreamOptions,
    limit: Arc<Limit>,
    active: metrics::Gauge,
    idle: metrics::Gauge,
}

impl Shared {
    /// When a connection that is made now has become too old.
    fn expiry(&self) -> Nanos {
        let age = self.options.max_age;
        age.map_or(Nanos::MAX, |age| time::now().plus(age.mul_f64(0.9 + 0.2 * fastrand::f64())))
    }
}

impl Upstream {
    /// The way to `endpoint`. Connections are shared by all that lead to the same endpoint, whatever their options: a
    /// change of options closes none. Those that were used last on a thread decide how long its connections are kept;
    /// the limits of those that were given last hold for all.
    pub fn new(endpoint: &Endpoint, options: UpstreamOptions) -> Self {
        let gauge = |state| metrics::gauge!("mesh_upstream_connections", "cluster" => options.cluster.as_str(), "state" => state);
        let (active, idle) = (gauge("active"), gauge("idle"));
        let limit = Limit::of(endpoint.id(), &options);
        let presence = endpoint.presence();
        let (endpoint, address) = (endpoint.id(), endpoint.address().clone());
        Self(Arc::new(Shared { endpoint, presence, address, options, limit, active, idle }))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.0.address).field("options", &self.0.options).finish()
    }
}

type Answer = Result<Response, HttpError>;
type BoxFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Service<Request> for Upstream {
    type Response = Response;
    type Error = HttpError;
    type Future = BoxFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> BoxFuture {
        let http2 = match self.0.options.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::AsDownstream => request.version() == Version::HTTP_2,
        };
        let tunnel = request.body().inner().is_tunnel();
        let about = match begin(&self.0.address, &mut request, http2) {
            Ok(about) => about,
            Err(rejection) => return Box::pin(std::future::ready(Err(rejection.into()))),
        };
        let shared = self.0.clone();
        if http2 {
            return match pool::acquire(&shared) {
                Acquired::Stream(stream) => {
                    let is_first = stream.first;
                    match http2::send(stream, request, true) {
                        Ok(sent) => Box::pin(OnOpen { shared, sent, is_first, about, again: None }),
                        Err(failed) => Box::pin(on_another(shared, failed, is_first, about)),
                    }
                }
                waiting => Box::pin(on_awaited(shared, waiting, request, about)),
            };
        }
        if tunnel {
            return Box::pin(
                async move { tunnel::ask(shared, request, &about).await.map_err(|error| about.failed(error)) },
            );
        }
        let message = Message::new(request);
        match pool::checkout(&shared) {
            Some(connection) => {
                let (connection, message) = (Some(connection), Some(message));
                Box::pin(OnIdle { shared, connection, message, about, again: None })
            }
            None => Box::pin(on_new(shared, message, about)),
        }
    }
}

/// What is to be known of a request after it was sent.
#[derive(Clone)]
struct About {
    is_head: bool,
    /// Without a body and idempotent.
    is_repeatable: bool,
    call: Call,
}

/// Brings a request into the form of the upstream's protocol.
fn begin(address: &Address, request: &mut Request, http2: bool) -> Result<About, Rejection> {
    let call = request.body().context().clone();
    forward::shrink_grpc_timeout(request.headers_mut(), &call)?;
    if request.version() == Version::HTTP_10 {
        name_host(address, request.headers_mut());
    }
    if http2 {
        forward::to_http2(request)?;
    } else {
        forward::to_http1(request)?;
    }
    call.begin_attempt();
    let is_bodyless = request.body().is_end_stream();
    let method = request.method();
    Ok(About { is_head: *method == Method::HEAD, is_repeatable: is_bodyless && method.is_idempotent(), call })
}

/// A client of HTTP/1.0 may name no host, an upstream must be told one.
#[cold]
fn name_host(address: &Address, headers: &mut HeaderMap) {
    if !headers.contains_key(header::HOST) {
        let host = match address {
            Address::Tcp(address) => HeaderValue::from_str(&address.to_string()).ok(),
            Address::Unix(_) => None,
        };
        headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    }
}

impl About {
    /// Notes how an attempt has failed.
    #[cold]
    fn failed(&self, error: impl Into<HttpError>) -> HttpError {
        let error = error.into();
        if let Some(cause) = error.cause() {
            self.call.set_cause(cause);
        }
        error
    }

    fn answered(&self, response: Result<http::Response<Body>, UpstreamError>) -> Answer {
        match response {
            Ok(response) => Ok(self.respond(response)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn respond<B: Into<Body>>(&self, mut response: http::Response<B>) -> Response {
        let grpc = forward::strip_response(response.headers_mut());
        let bodyless = self.is_head || matches!(response.status().as_u16(), 204 | 304);
        response.map(|body| GovernedBody::new(body.into()).grpc(grpc).bodyless(bodyless))
    }
}

/// A request that is sent on a connection from the pool, which may have been closed in the meantime.
struct OnIdle {
    shared: Arc<Shared>,
    connection: Option<Box<Http1>>,
    message: Option<Message>,
    about: About,
    again: Option<BoxFuture>,
}

impl Future for OnIdle {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let me = self.get_mut();
        if let Some(again) = &mut me.again {
            return again.as_mut().poll(cx);
        }
        let (Some(connection), Some(message)) = (&mut me.connection, &mut me.message) else {
            panic!("polled after completion")
        };
        let result = ready!(connection.poll_response(message, cx));
        let (Some(connection), Some(message)) = (me.connection.take(), me.message.take()) else {
            panic!("polled after completion")
        };
        match result {
            Ok(answered) => Poll::Ready(me.about.answered(connection.respond(answered, message))),
            Err(failed) => match again(failed, message, &me.about) {
                Err(error) => Poll::Ready(Err(me.about.failed(error))),
                Ok(message) => {
                    drop(connection);
                    tracing::debug!(address = %me.shared.address, "an idle connection was closed, the request is sent on another");
                    me.about.call.begin_attempt();
                    me.again.insert(Box::pin(on_new(me.shared.clone(), message, me.about.clone()))).as_mut().poll(cx)
                }
            },
        }
    }
}

/// The request that met a closed connection: if nothing of it was sent, or it may be sent twice.
#[cold]
fn again(failed: Failed, mut message: Message, about: &About) -> Result<Message, UpstreamError> {
    let is_lost = failed.error.kind() == UpstreamErrorKind::Reset && !failed.has_received;
    if is_lost && (about.is_repeatable || !message.is_begun()) {
        message.rewind();
        return Ok(message);
    }
    Err(failed.error)
}

/// Sends a request on a connection made for it, or, where there are as many as may be, on the next that is free.
async fn on_new(shared: Arc<Shared>, mut message: Message, about: About) -> Answer {
    let permit = loop {
        let granted = shared.limit.admit(pool::worker(), true, shared.options.connect_timeout).await;
        let granted = granted.map_err(|error| about.failed(error))?;
        let mut connection = match granted {
            Grant::Permit(permit) => break permit,
            Grant::Connection(connection) => connection,
        };
        if connection.is_reusable() {
            return OnIdle { shared, connection: Some(connection), message: Some(message), about, again: None }.await;
        }
    };
    let mut connection = Http1::open(&shared, permit).await.map_err(|error| about.failed(error))?;
    match poll_fn(|cx| connection.poll_response(&mut message, cx)).await {
        Ok(answered) => about.answered(connection.respond(answered, message)),
        Err(failed) => Err(about.failed(failed.error)),
    }
}

/// A request that was sent on a connection that others use, too.
struct OnOpen {
    shared: Arc<Shared>,
    sent: InFlight,
    is_first: bool,
    about: About,
    again: Option<BoxFuture>,
}

impl Future for OnOpen {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let me = self.get_mut();
        if let Some(again) = &mut me.again {
            return again.as_mut().poll(cx);
        }
        match ready!(Pin::new(&mut me.sent).poll(cx)) {
            Ok(response) => Poll::Ready(Ok(me.about.respond(response))),
            Err(failed) => {
                let again = Box::pin(on_another(me.shared.clone(), failed, me.is_first, me.about.clone()));
                me.again.insert(again).as_mut().poll(cx)
            }
        }
    }
}

/// Waits for a connection first.
async fn on_awaited(shared: Arc<Shared>, waiting: Acquired, request: Request, about: About) -> Answer {
    let stream = http2::wait(waiting, &shared).await.map_err(|error| about.failed(error))?;
    let is_first = stream.first;
    let sent = match http2::send(stream, request, true) {
        Ok(sent) => sent.await,
        Err(failed) => Err(failed),
    };
    match sent {
        Ok(response) => Ok(about.respond(response)),
        Err(failed) => Box::pin(on_another(shared, failed, is_first, about)).await,
    }
}

/// Sends a request again that has failed, if it may be.
async fn on_another(shared: Arc<Shared>, mut failed: Box<http2::Failed>, is_first: bool, about: About) -> Answer {
    let may_be = match failed.error.kind() {
        UpstreamErrorKind::RefusedStream => true,
        UpstreamErrorKind::Reset => about.is_repeatable && !is_first,
        _ => false,
    };
    let Some(request) = failed.request.take().filter(|_| may_be) else { return Err(about.failed(failed.error)) };
    tracing::debug!(address = %shared.address, "the upstream did not take the request, it is sent again");
    let stream = http2::acquire(&shared).await.map_err(|error| about.failed(error))?;
    about.call.begin_attempt();
    let sent = match http2::send(stream, request, false) {
        Ok(sent) => sent.await,
        Err(failed) => Err(failed),
    };
    sent.map(|response| about.respond(response)).map_err(|failed| about.failed(failed.error))
}

#[cfg(test)]
mod tests {
    /// Of a request on a connection that is there.
    #[test]
    fn a_future_is_small() {
        let size = size_of::<super::OnIdle>();
        assert!(size <= 512, "{size}");
    }
}
