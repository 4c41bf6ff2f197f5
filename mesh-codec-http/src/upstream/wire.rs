use mesh_core::{Address, BoxError};
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::{UpstreamError, UpstreamErrorKind};

/// What an upstream connection runs over.
pub struct Transport {
    kind: Kind,
    /// Given back with it.
    _permit: Option<mesh_net::Permit>,
}

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
    Other(Box<dyn Duplex>),
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl From<Kind> for Transport {
    fn from(kind: Kind) -> Self {
        Self { kind, _permit: None }
    }
}

impl Transport {
    /// The same, counted as open until it is dropped.
    #[must_use]
    pub fn keeping(mut self, permit: mesh_net::Permit) -> Self {
        self._permit = Some(permit);
        self
    }

    /// Any stream of bytes. Costs a box.
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Kind::Other(Box::new(io)).into()
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Kind::Tcp(stream).into()
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Self {
        Kind::Unix(stream).into()
    }
}

impl From<mesh_net::Stream> for Transport {
    fn from(stream: mesh_net::Stream) -> Self {
        match stream {
            mesh_net::Stream::Tcp(stream) => stream.into(),
            mesh_net::Stream::Unix(stream) => stream.into(),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Tcp(_) => "Transport(tcp)",
            Kind::Unix(_) => "Transport(unix)",
            Kind::Other(_) => "Transport(other)",
        })
    }
}

/// The future of [`Connect`].
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Transport, UpstreamError>> + Send + 'a>>;

/// Opens transports to endpoints: TCP and Unix sockets with [`mesh_net::Connector`], or what an application puts in
/// its place.
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

/// Whether bytes have come on a transport since somebody asked.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<AtomicBool>);

impl Line {
    /// Whether a byte has come since [`Line::take_received`].
    pub(super) fn has_received(&self) -> bool {
        self.0.load(Acquire)
    }

    /// Whether a byte has come since this was asked.
    pub(super) fn take_received(&self) -> bool {
        self.0.swap(false, AcqRel)
    }
}

/// A transport that tells its [`Line`] when bytes come.
pub(super) struct Wire {
    transport: Transport,
    line: Line,
}

impl Wire {
    pub(super) fn new(transport: Transport, line: Line) -> Self {
        Self { transport, line }
    }
}

/// Passes a call on to the stream inside.
macro_rules! each {
    ($transport:expr, $io:ident => $call:expr) => {
        match &mut $transport.kind {
            Kind::Tcp($io) => $call,
            Kind::Unix($io) => $call,
            Kind::Other($io) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Tcp(io) => io.is_write_vectored(),
            Kind::Unix(io) => io.is_write_vectored(),
            Kind::Other(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut me.transport).poll_read(cx, buf);
        if buf.filled().len() > before {
            me.line.0.store(true, Release);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

/// Runs `work`, for at most `timeout`. The timer is armed when there is something to wait for.
pub(super) async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let mut work = std::pin::pin!(work);
    let mut sleep = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let sleep = sleep.get_or_insert_with(|| mesh_core::time::sleep(timeout));
        Pin::new(sleep).poll(cx).map(|()| {
            let source: BoxError = format!("not connected within {timeout:?}").into();
            Err(UpstreamError::new(UpstreamErrorKind::ConnectTimeout, source))
        })
    })
    .await
}
