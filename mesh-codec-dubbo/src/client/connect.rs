//! How a client gets to its upstream.

use crate::{UpstreamError, UpstreamErrorKind};
use mesh_core::Address;
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection runs over.
pub struct Transport(Kind, Option<Box<dyn Send>>);

enum Kind {
    Net(mesh_net::Stream),
    Other(Box<dyn Duplex>),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Transport {
    /// Any stream of bytes. Costs a box.
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Kind::Other(Box::new(io)), None)
    }
}

impl Transport {
    /// Keeps something until the connection is closed, such as a permit to have it.
    #[must_use]
    pub fn keeping(mut self, kept: impl Send + 'static) -> Self {
        self.1 = Some(Box::new(kept));
        self
    }
}

impl From<mesh_net::Stream> for Transport {
    fn from(stream: mesh_net::Stream) -> Self {
        Self(Kind::Net(stream), None)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Net(_) => "Transport(net)",
            Kind::Other(_) => "Transport(other)",
        })
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Net(stream) => Pin::new(stream).poll_read(cx, into),
            Kind::Other(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Net(stream) => Pin::new(stream).poll_write(cx, bytes),
            Kind::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Net(stream) => Pin::new(stream).poll_flush(cx),
            Kind::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Net(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The future of [`Connect`].
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Transport, UpstreamError>> + Send + 'a>>;

/// Opens transports to upstreams: TCP and Unix sockets with [`mesh_net::Connector`], or what an application puts in its
/// place.
pub trait Connect: Send + Sync {
    /// Opens one. The caller gives up after `timeout` by dropping the future; giving up earlier is not needed.
    fn connect<'a>(&'a self, address: &'a Address, timeout: Duration) -> Connecting<'a>;
}

impl Connect for mesh_net::Connector {
    fn connect<'a>(&'a self, address: &'a Address, timeout: Duration) -> Connecting<'a> {
        Box::pin(async move {
            use mesh_net::ConnectErrorKind;
            self.connect(address, timeout).await.map(Transport::from).map_err(|error| {
                let kind = match error.kind() {
                    ConnectErrorKind::TimedOut => UpstreamErrorKind::ConnectTimeout,
                    ConnectErrorKind::Local => UpstreamErrorKind::Local,
                    _ => UpstreamErrorKind::Connect,
                };
                UpstreamError::new(kind, error)
            })
        })
    }
}
