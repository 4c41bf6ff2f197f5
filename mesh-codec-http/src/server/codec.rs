use super::{call::Calls, connection::Connection, io::Watched, tunnel::Prefixed};
use crate::{HttpError, Request, Response};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_net::Rewind;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

/// hyper refuses less.
const SMALLEST_BUFFER: usize = 8 * 1024;
/// What a client may send of one request before the service reads it: four streams that nobody reads fill the
/// connection's window.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of each response, for a client that reads slowly.
const STREAM_SEND_BUFFER: usize = 64 * 1024;

/// One connection's codec: reads requests from it, calls the service, writes the responses.
pub(super) trait Codec: Send {
    /// The stream underneath.
    type Io;

    /// Serves until the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>>;

    /// Whether a client may send a request while it is not told yet that the connection ends, and lose it: HTTP/2 tells
    /// it which ones count.
    const LOSES: bool;

    /// Takes no more requests than those that have begun, and tells the client so.
    fn retire(&mut self);

    /// The stream after an upgrade or a CONNECT; `None` if there are none in this protocol.
    fn into_tunnel(self) -> Option<Prefixed<Watched<Self::Io>>>;

    /// The stream itself; `None` if that cannot be had.
    fn into_watched(self) -> Option<Watched<Self::Io>>;
}

pub(super) type Http1<I, S> = http1::Connection<TokioIo<Watched<Rewind<I>>>, Calls<S>>;
type Http2<I, S> = http2::Connection<TokioIo<Watched<Rewind<I>>>, Calls<S>, TokioExecutor>;

pub(super) fn http1<I, S>(
    io: Rewind<I>,
    service: S,
    connection: &Arc<Connection>,
) -> impl Codec<Io = Rewind<I>> + use<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    let options = connection.options();
    let mut builder = http1::Builder::new();
    // our own timer looks after heads: hyper's is armed and reset with each
    builder.header_read_timeout(None);
    builder.max_buf_size(options.header_bytes.max(SMALLEST_BUFFER));
    builder.max_header_size(options.header_bytes.max(SMALLEST_BUFFER));
    // what is said is allocated per request, what is not said is on the stack
    if options.headers != 100 {
        builder.max_headers(options.headers);
    }
    let io = TokioIo::new(Watched::new(io, connection.clone(), true));
    let calls = Calls::new(connection.clone(), service);
    Box::new(builder.serve_connection(io, calls))
}

impl<I, S> Codec for Box<Http1<I, S>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Io = Rewind<I>;

    const LOSES: bool = true;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Pin::new(&mut **self).poll(cx)
    }

    fn retire(&mut self) {
        Pin::new(&mut **self).graceful_shutdown();
    }

    fn into_tunnel(self) -> Option<Prefixed<Watched<Rewind<I>>>> {
        let parts = self.into_parts();
        Some(Prefixed::new(parts.read_buf, parts.io.into_inner()))
    }

    fn into_watched(self) -> Option<Watched<Rewind<I>>> {
        Some(self.into_parts().io.into_inner())
    }
}

pub(super) fn http2<I, S>(
    io: Rewind<I>,
    service: S,
    connection: &Arc<Connection>,
) -> impl Codec<Io = Rewind<I>> + use<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    let options = connection.options();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(options.streams)
        .max_header_list_size(u32::try_from(options.header_bytes.max(SMALLEST_BUFFER)).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .enable_connect_protocol();
    let io = TokioIo::new(Watched::new(io, connection.clone(), false));
    Box::new(builder.serve_connection(io, Calls::new(connection.clone(), service)))
}

impl<I, S> Codec for Box<Http2<I, S>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Io = Rewind<I>;

    const LOSES: bool = false;

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Pin::new(&mut **self).poll(cx)
    }

    fn retire(&mut self) {
        Pin::new(&mut **self).graceful_shutdown();
    }

    fn into_tunnel(self) -> Option<Prefixed<Watched<Rewind<I>>>> {
        None
    }

    fn into_watched(self) -> Option<Watched<Rewind<I>>> {
        None
    }
}
