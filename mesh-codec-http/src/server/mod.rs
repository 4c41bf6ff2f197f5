//! The downstream side: one accepted connection in, requests out to a service, its responses and errors as answers.
//!
//! ```no_run
//! # use std::{num::NonZeroUsize, sync::Arc};
//! # use mesh_codec_http::{HttpError, Request, Response, server::{Ended, Options, Server}};
//! # use mesh_core::http::GovernedBody;
//! # async fn run(mut acceptor: mesh_net::Acceptor) -> std::io::Result<()> {
//! let server = Server::new(Options::default());
//! let hello = tower::service_fn(|_: Request| std::future::ready(Ok::<Response, HttpError>(
//!     http::Response::new(GovernedBody::own("hello\n")),
//! )));
//! while let Some(accepted) = acceptor.accept().await? {
//!     let serving = server.serve(accepted.stream, Arc::new(accepted.peer), hello, (*accepted.guard).clone());
//!     tokio::spawn(async move {
//!         let _until_the_end = accepted.guard;
//!         if let Ok(Ended::Reset(stream)) = serving.await {
//!             let _ = stream.set_zero_linger();
//!         }
//!     });
//! }
//! # Ok(()) }
//! ```
//!
//! # A request
//! 1. Its head is made fit to be passed on ([`forward::received`](crate::forward::received)); a malformed one is
//!    answered with 400 and never reaches the service. What is not HTTP at all hyper answers itself: 400, 414, 431.
//!    Whoever is to hear of these asks [`Server::on_refusal`].
//! 2. A record of the call begins: arrival (of the head's first byte), peer, listener, protocol, and the deadline that
//!    a gRPC client's `grpc-timeout` sets.
//! 3. The service is called through `&mut`, never cloned, and must always be ready, as a
//!    [`Stage`](mesh_core::Stage) is; it may choose the newest pipeline for each request.
//! 4. An error becomes an answer by one table; of an injected reset the client sees the connection (HTTP/1) or the
//!    stream (HTTP/2) reset.
//! 5. A `grpc-timeout` is enforced here for all: what is under way when it passes is dropped as *timed out* and answered
//!    DEADLINE_EXCEEDED, in the head or in the trailers. (A client that does not read holds its stream until it does.)
//!
//! # Bodies
//! Are pulled, never pushed: the client's is read when the service reads, and of the response no more is taken than the
//! connection has room for (HTTP/1: `header_bytes`, HTTP/2: 64 KiB a stream, beside the kernel's buffers).
//! `100-continue` is answered when the service first asks for the body, so a refusal is seen before the body is sent;
//! not on HTTP/2, where clients do not wait long. Trailers pass both ways; on HTTP/1 to clients that said
//! `te: trailers`, those that the response's `trailer` names.
//!
//! # Tunnels
//! An upgrade (HTTP/1.1, of a request without a body, to anything but HTTP and TLS: what they would bring past us nobody
//! here would see), its like on HTTP/2, an extended CONNECT to WebSocket (RFC 8441), which goes on as an upgrade, and a CONNECT go to the service as requests whose body is what the client sends through the tunnel;
//! the body of a response that grants it (101; 2xx) is what comes back. So tickets and taps stay open as long as the
//! tunnel, bytes are pulled as ever, and flow control of HTTP/2 is obeyed. A tunnel is not idle; the deadline of a drain
//! cuts it, and so does a client that takes nothing for as long as a connection may be idle.
//!
//! # Not here
//! HTTP/2 server push.
//!
//! # What it costs
//! One allocation per request for its `x-request-id`, one where a list in `x-forwarded-for` grows, one for a deadline;
//! beside hyper's own. No timer is armed, reset or polled per request: a connection has one, which looks after idling,
//! age and slow heads when it goes off.

mod answer;
mod call;
mod codec;
mod connection;
mod deadline;
mod drive;
mod io;
mod limited;
mod linger;
mod refusal;
mod tunnel;

#[cfg(doc)]
use crate::forward::Rules;
use crate::{
    HttpError, Request, Response,
    forward::{Forwarded, RequestId},
};
pub(crate) use tunnel::{Chunks, FromClient, Prefixed};

use connection::{Connection, Listener};
use drive::{Drive, LINGER};
use linger::linger;
use mesh_core::{BoxError, Name, Peer, Rejection, time};
use mesh_net::{Detected, Rewind, Watch, detect};
use refusal::OnRefusal;
use std::{future::Future, io::Result as IoResult, pin::pin, sync::Arc, task::Poll, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 without TLS, told apart by the preface.
    #[default]
    Http,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, with prior knowledge.
    Http2,
    /// HTTP/2 only, and what we answer ourselves is always gRPC.
    Grpc,
}

/// How a listener treats its connections.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the listener, which each call's record carries.
    pub listener: Name,
    /// What is spoken.
    pub protocol: Protocol,
    /// What becomes of `x-forwarded-*`. Default: append.
    pub forwarded: Forwarded,
    /// What becomes of `x-request-id`. Default: keep.
    pub request_id: RequestId,
    /// How many proxies stand before this one whose `x-forwarded-for` counts; see [`Rules::trusted_hops`]. With any,
    /// the peer in the record of a call is the client that they name, which costs an allocation per request. Default 0.
    pub trusted_hops: usize,
    /// The most fields in a head; more are answered with 431. Default 100; on HTTP/1 any other number costs an
    /// allocation per request.
    pub headers: usize,
    /// The largest head in bytes; a larger one is answered with 431, or with 414 where its
    /// first line alone is longer. Default 64 KiB, at least 8 KiB. Also how many
    /// bytes of a response HTTP/1 holds for a client that reads slowly.
    pub header_bytes: usize,
    /// The largest body of a request in bytes; a larger one is answered with 413, or cut where its answer has begun.
    /// Default: any; otherwise a body whose length is not said beforehand costs an allocation.
    pub body: Option<u64>,
    /// The most HTTP/2 streams of a connection at once. Default 100.
    pub streams: u32,
    /// How long the head of an HTTP/1 request may take from its first byte; then it is answered with 408. Default 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be without a request; then it is closed. And how long a client may take nothing of
    /// what is written to it; then the connection is cut. Default 60 s.
    pub idle_timeout: Duration,
    /// How old a connection may become, give or take a tenth, so that not all end at once; then it takes no more
    /// requests and ends with the last one. Default: any age.
    pub max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listener: Name::NONE,
            protocol: Protocol::Http,
            forwarded: Forwarded::Append,
            request_id: RequestId::Keep,
            trusted_hops: 0,
            headers: 100,
            header_bytes: 64 * 1024,
            body: None,
            streams: 100,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_age: None,
        }
    }
}

/// Serves the connections of one listener. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Server {
    listener: Arc<Listener>,
}

/// How a connection has ended, where that was not an error.
#[derive(Debug)]
pub enum Ended<I> {
    /// In order, or cut off at the deadline of the drain.
    Closed,
    /// An HTTP/1 connection that is to be reset: whoever knows what it is does that by dropping it with a linger time
    /// of zero; dropped as it is, the peer sees an early end.
    Reset(I),
}

impl Server {
    /// A server with these options.
    pub fn new(options: Options) -> Self {
        Self { listener: Arc::new(Listener::new(options)) }
    }

    /// The same, which tells of each request that it refuses itself, before the service has seen it: a malformed one, one
    /// that is too large or too slow, a gRPC call whose time is over. What is told is the request as far as it was read
    /// (where nothing was, its method and authority are `-`), without its body but with its record, and the refusal, which
    /// becomes the answer. They are counted in `mesh_rejections_total{reason}` whether somebody is told or not. What breaks
    /// HTTP/2 on a connection ends the stream or the connection and is no request.
    #[must_use]
    pub fn on_refusal(self, tell: impl Fn(Request, &mut Rejection) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(self.listener.on_refusal(OnRefusal(Arc::new(tell)))) }
    }

    /// Serves one connection to its end: until the client closes it, it has been idle or has become too old, or the
    /// drain says so. Then requests under way are finished (HTTP/1 says `connection: close`, HTTP/2 GOAWAY), up to the
    /// deadline of the drain. An HTTP/1 connection that was busy less than a second before may bring one more request,
    /// which may be on its way: closed at once it would be lost.
    ///
    /// `service` must always be ready; it is not asked. It is called by `&mut` from the connection's task; on HTTP/2 its
    /// futures run on tasks of their own, which `tokio::spawn` starts. Dropping the future closes the connection and
    /// drops what HTTP/1 has under way; HTTP/2 streams end as soon as they notice.
    ///
    /// # Errors
    /// The connection broke, or its peer breaks the protocol; there is nothing to do about it but to log it.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub fn serve<I, S>(
        &self,
        io: I,
        peer: Arc<Peer>,
        service: S,
        drain: Watch,
    ) -> impl Future<Output = Result<Ended<I>, BoxError>> + Send + use<I, S>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
        S::Future: Send + 'static,
    {
        let connection = Arc::new(Connection::new(self.listener.clone(), peer));
        async move {
            let protocol = connection.options().protocol;
            let io = match protocol {
                Protocol::Http1 => Detected::Http1(Rewind::new(io)),
                _ => detect_until(io, connection.options().idle_timeout, &drain).await?,
            };
            match io {
                Detected::Closed => Ok(Ended::Closed),
                // it does not begin as HTTP/2 does (RFC 9113, section 3.4)
                Detected::Http1(io) if matches!(protocol, Protocol::Http2 | Protocol::Grpc) => {
                    Box::pin(linger(io)).await;
                    Err("a client does not begin as HTTP/2 does".into())
                }
                Detected::Http1(io) => {
                    let codec = codec::http1(io, service, &connection);
                    Drive::new(codec, connection, drain).run().await
                }
                Detected::Http2(io) => {
                    let codec = codec::http2(io, service, &connection);
                    Drive::new(codec, connection, drain).run().await
                }
            }
        }
    }
}

/// Waits for the first bytes; a connection that sends none is idle, and in a drain as long as any.
async fn detect_until<I: AsyncRead + Unpin>(io: I, idle: Duration, drain: &Watch) -> IoResult<Detected<I>> {
    let mut detected = pin!(detect(io));
    let mut drained = pin!(drain.signaled());
    let since = time::now();
    let mut late = pin!(time::sleep_until(since.plus(idle)));
    let mut is_drained = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(detected) = detected.as_mut().poll(cx) {
            return Poll::Ready(detected);
        }
        if !is_drained && drained.as_mut().poll(cx).is_ready() {
            is_drained = true;
            late.set(time::sleep_until(since.plus(idle.min(LINGER))));
        }
        late.as_mut().poll(cx).map(|()| Ok(Detected::Closed))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Ready, ready};

    /// Answers nothing.
    struct Nothing;

    impl Service<Request> for Nothing {
        type Response = Response;
        type Error = HttpError;
        type Future = Ready<Result<Response, HttpError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), HttpError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request) -> Self::Future {
            ready(Ok(Response::default()))
        }
    }

    /// What a connection is made of beside buffers, and what a request adds to it before the service's own future.
    #[tokio::test]
    async fn a_connection_is_small() {
        let (io, _other) = tokio::io::duplex(1);
        let drain = mesh_net::Drain::new();
        let server = Server::new(Options::default());
        let future = size_of_val(&server.serve(io, Arc::default(), Nothing, drain.watch()));
        let shared = size_of::<Connection>() + size_of::<Peer>();
        let codec = size_of::<codec::Http1<tokio::io::DuplexStream, Nothing>>();
        assert!(future + shared + codec <= 2048, "{future} + {shared} + {codec}");
        let request = size_of::<call::Call<Ready<Result<Response, HttpError>>>>();
        assert!(request <= 512, "{request}");
    }
}
