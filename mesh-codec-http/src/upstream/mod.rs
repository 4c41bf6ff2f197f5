//! The way to an endpoint: connections that are kept, one pool per thread.
//!
//! [`Upstream`] is a service that sends a request to one endpoint. Its connections belong to the thread it is called
//! on and are found through a thread-local, so that nothing is locked and the service is `Send`.
//!
//! # Connections
//! - **HTTP/1.1**: the idle connection that was used last is taken, so that the others grow old. It comes back when the
//!   response has been read to its end; a body that is dropped before closes it. It has no task: whoever waits for the
//!   response or reads the body polls it.
//! - **HTTP/2**: requests share a connection, up to the number of streams the upstream takes; then another is made.
//!   Requests that come while one is being made wait for it.
//! - An idle one is closed by [`sweep`] after [`UpstreamOptions::idle`], or when its endpoint leaves by [`retain`].
//!
//! # What is sent again
//! Once, on a connection made for it (HTTP/1) or any other (HTTP/2), never after a byte of a response:
//!
//! | what happened | what is sent again |
//! | --- | --- |
//! | HTTP/1: the connection was closed before anything of the request was written | every request |
//! | HTTP/1: a connection that had answered before is closed after the request was written | a request without a body whose method is idempotent |
//! | HTTP/2: `REFUSED_STREAM`, or a `GOAWAY` that says the request was not looked at | every request of whose body no more than one frame of 64 KiB was taken: none, or a unary gRPC call |
//! | HTTP/2: a connection that had carried a request before is lost | a request without a body whose method is idempotent |
//!
//! What is not sent again fails with [`UpstreamErrorKind::Reset`] or
//! [`UpstreamErrorKind::RefusedStream`], for a retry layer to judge.
//!
//! # What it costs
//! A call allocates its future. On HTTP/1, beside it, hyper allocates the channel of the response, that of a body, and
//! what it reads into. On HTTP/2 a request's head is cloned, in case it is refused.

mod head;
mod http1;
mod http2;
mod pool;
mod upload;
mod wire;

pub(crate) use http1::Http1Body;
pub(crate) use http2::Http2Body;
pub use pool::{connections, retain, sweep};
pub use wire::{Connect, Connecting, Transport};

use crate::{Body, HttpError, Request, Response, UpstreamErrorKind, forward};
use http::{Method, Version};
use http_body::Body as _;
use http1::Http1;
use mesh_core::{
    Address, Context as Call, Endpoint, EndpointId, Name,
    http::{CallBody, GovernedBody},
};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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
    address: Address,
    options: UpstreamOptions,
    active: metrics::Gauge,
    idle: metrics::Gauge,
}

impl Upstream {
    /// The way to `endpoint`. Connections are shared by all that lead to the same endpoint, whatever their options;
    /// those of the first one on a thread decide how long they are kept.
    pub fn new(endpoint: &Endpoint, options: UpstreamOptions) -> Self {
        let gauge = |state| metrics::gauge!("mesh_upstream_connections", "cluster" => options.cluster.as_str(), "state" => state);
        let (active, idle) = (gauge("active"), gauge("idle"));
        Self(Arc::new(Shared { endpoint: endpoint.id(), address: endpoint.address().clone(), options, active, idle }))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.0.address).field("options", &self.0.options).finish()
    }
}

impl Service<Request> for Upstream {
    type Response = Response;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shared = self.0.clone();
        let http2 = match shared.options.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::AsDownstream => request.version() == Version::HTTP_2,
        };
        if http2 { Box::pin(over_http2(shared, request)) } else { Box::pin(over_http1(shared, request)) }
    }
}

async fn over_http1(shared: Arc<Shared>, mut request: Request) -> Result<Response, HttpError> {
    begin(&mut request)?;
    forward::to_http1(&mut request)?;
    let head = *request.method() == Method::HEAD;
    let is_bodyless = request.body().is_end_stream();
    // an upload's end is known by the record of the call
    let call = request.body().context().clone();
    let repeatable = is_bodyless && request.method().is_idempotent();

    let mut connection = match pool::checkout(&shared) {
        Some(connection) => connection,
        None => Http1::open(&shared).await?,
    };
    let mut result = connection.exchange(request, repeatable && connection.has_answered()).await;
    if let Err(failed) = &mut result
        && let Some(request) = again(failed, &connection)
    {
        tracing::debug!(address = %shared.address, "an idle connection was closed, the request is sent on another");
        let request = request.unwrap_or_else(|head| head.map(|()| CallBody::new(call.clone(), Body::empty())));
        connection = Http1::open(&shared).await?;
        call.begin_attempt();
        result = connection.exchange(request, false).await;
    }
    match result {
        Ok(response) => {
            let uploading = !is_bodyless && call.request_ended().is_none();
            Ok(lift(response, head, |body| connection.respond(body, uploading)))
        }
        Err(failed) => Err(failed.error.into()),
    }
}

/// The request that met a closed connection: as it was if nothing of it was sent, else its head as it was recorded.
fn again(failed: &mut http1::Failed, connection: &Http1) -> Option<Result<Request, http::Request<()>>> {
    if failed.unsent.is_some() {
        return failed.unsent.take().map(Ok);
    }
    (failed.error.kind() == UpstreamErrorKind::Reset).then(|| connection.recorded())?.map(Err)
}

async fn over_http2(shared: Arc<Shared>, mut request: Request) -> Result<Response, HttpError> {
    begin(&mut request)?;
    forward::to_http2(&mut request)?;
    let head = *request.method() == Method::HEAD;
    let repeatable = request.body().is_end_stream() && request.method().is_idempotent();

    let stream = http2::acquire(&shared).await?;
    let is_first = stream.first;
    let mut result = http2::exchange(stream, request, true).await;
    if let Err(failed) = &mut result
        && let Some(request) = failed.request.take()
        && match failed.error.kind() {
            UpstreamErrorKind::RefusedStream => true,
            UpstreamErrorKind::Reset => repeatable && !is_first,
            _ => false,
        }
    {
        tracing::debug!(address = %shared.address, "the upstream did not take the request, it is sent again");
        let stream = http2::acquire(&shared).await?;
        request.body().context().begin_attempt();
        result = http2::exchange(stream, request, false).await;
    }
    match result {
        Ok(response) => Ok(lift(response, head, Body::from)),
        Err(failed) => Err(failed.error.into()),
    }
}

fn begin(request: &mut Request) -> Result<(), HttpError> {
    let call: Call = request.body().context().clone();
    forward::shrink_grpc_timeout(request.headers_mut(), &call)?;
    call.begin_attempt();
    Ok(())
}

/// `head`: the request was a HEAD.
fn lift<B>(mut response: http::Response<B>, head: bool, body: impl FnOnce(B) -> Body) -> Response {
    let grpc = forward::strip_response(response.headers_mut());
    let bodyless = head || matches!(response.status().as_u16(), 204 | 304);
    response.map(|inner| GovernedBody::new(body(inner)).grpc(grpc).bodyless(bodyless))
}
