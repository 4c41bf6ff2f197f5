//! The downstream side: one accepted connection in, calls out to a service, its answers and errors as answers.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use mesh_codec_dubbo::{DubboError, Request, Response, server::{Options, Server}};
//! # async fn run(mut acceptor: mesh_net::Acceptor) -> std::io::Result<()> {
//! let server = Server::new(Options::default());
//! let hello = tower::service_fn(|call: Request| {
//!     std::future::ready(Ok::<_, DubboError>(Response::value(&call, |writer| writer.string("hello"))))
//! });
//! while let Some(accepted) = acceptor.accept().await? {
//!     let serving = server.serve(accepted.stream, Arc::new(accepted.peer), hello, (*accepted.guard).clone());
//!     tokio::spawn(async move {
//!         let _until_the_end = accepted.guard;
//!         serving.await
//!     });
//! }
//! # Ok(()) }
//! ```
//!
//! # A call
//! 1. A record of it begins: arrival, peer, listener, protocol, and the deadline that the consumer's `timeout` sets.
//! 2. The service is called through `&mut`, when it is ready; while it is not, nothing more is read. Many calls are under way
//!    at once, in one task, and are answered in the order in which they are done, each with the id it came with.
//! 3. An error becomes a status and a message by [one table](DubboError::answer). An answer is in the serialization of its
//!    request; where that is not Hessian2 a failure has no message.
//! 4. When its deadline passes a call is dropped as *timed out* and answered with status 31. A consumer that leaves cancels
//!    its calls, one-way ones excepted, which go on to their end.
//!
//! A one-way call is never answered. A call whose names cannot be read is answered with status 40, one whose body is
//! longer than [`Options::max_body`] too; bytes that are no frames end the connection.
//!
//! # Beside the calls
//! Heartbeats are answered here. A connection that has been quiet for [`Options::heartbeat`] is sent one, and closed after
//! three times that without a byte. Other events, and answers to nothing, are passed over and counted in
//! `mesh_dubbo_ignored_total{what}`.
//!
//! When the drain starts the consumer is told that no new calls are welcome ("read only"). Those that come all the same are
//! served; the connection is closed when all are answered and none has come for [`Options::linger`], at the latest at
//! the drain's deadline.
//!
//! # Bounds
//! No more is read while [`Options::max_in_flight`] calls are under way, or while 64 KiB of answers wait for a consumer that
//! does not read; one for whom more than [`Options::max_buffered`] bytes wait is cut off.
//!
//! # What it costs
//! No allocation per call beside what the service's own future takes, once a connection has had as many calls at once; a
//! frame's body is a part of what was read.

mod connection;
mod in_flight;

#[cfg(doc)]
use crate::DubboError;
use crate::{Request, Response, frame::FrameError, frame::MAX_BODY};
use connection::Connection;
use mesh_core::{Name, Peer};
use mesh_net::Watch;
use std::{error::Error, fmt, future::poll_fn, io, pin::pin, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

/// How a listener treats its connections.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the listener, which each call's record carries. Default none.
    pub listener: Name,
    /// The longest body of a call that is taken. Default 8 MiB, Dubbo's own.
    pub max_body: usize,
    /// The most calls of a connection that may be under way at once; no more is read meanwhile. At least 1. Default 1024.
    pub max_in_flight: usize,
    /// The most bytes of answers that may wait for a consumer that does not read them; it is cut off then, so that what it
    /// shares with others is not held up. Default 32 MiB.
    pub max_buffered: usize,
    /// How long a connection may be quiet before it is sent a heartbeat; it is closed after three times that. `None`:
    /// none is sent, and a quiet one is never closed. Default 60 s, Dubbo's own.
    pub heartbeat: Option<Duration>,
    /// Whether the `timeout` that a consumer says becomes the deadline of its call. The attachments of each call are looked
    /// for then, past its arguments. Default true.
    pub deadlines: bool,
    /// How long a connection is kept, when the drain has started, after the last call has come. Default 250 ms.
    pub linger: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listener: Name::NONE,
            max_body: MAX_BODY,
            max_in_flight: 1024,
            max_buffered: 32 * 1024 * 1024,
            heartbeat: Some(Duration::from_secs(60)),
            deadlines: true,
            linger: Duration::from_millis(250),
        }
    }
}

/// Serves connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    options: Arc<Options>,
}

/// How a connection ended where it did not end well.
#[derive(Debug)]
pub enum ServeError {
    /// The socket failed.
    Io(io::Error),
    /// What came was no Dubbo2.
    Frame(FrameError),
    /// Nothing came for three times the time between heartbeats.
    Silent,
    /// The consumer did not read its answers.
    Overflow,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
            Self::Silent => f.write_str("the consumer is silent"),
            Self::Overflow => f.write_str("the consumer does not read its answers"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Frame(error) => Some(error),
            Self::Silent | Self::Overflow => None,
        }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for ServeError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl Server {
    /// A server with these options.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }

    /// Serves one connection until its consumer leaves, the drain is over, or it fails. Dropping the future closes the
    /// connection and drops what is under way.
    ///
    /// # Errors
    /// [`ServeError`]: the connection is closed, and nothing else is.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled, unless the thread has a timer of its own; where the service does.
    pub fn serve<I, S>(
        &self,
        io: I,
        peer: Arc<Peer>,
        service: S,
        drain: Watch,
    ) -> impl Future<Output = Result<(), ServeError>> + use<I, S>
    where
        I: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request, Response = Response, Error = crate::DubboError>,
    {
        let options = self.options.clone();
        async move {
            let mut connection = Connection::new(io, peer, service, options);
            let mut started = pin!(drain.signaled());
            let mut expired = pin!(drain.expired());
            poll_fn(|cx| connection.poll(cx, started.as_mut(), expired.as_mut())).await?;
            connection.close().await;
            Ok(())
        }
    }
}
