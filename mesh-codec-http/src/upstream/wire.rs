use mesh_core::{Address, BoxError};
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker},
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

/// How much of a request's head is kept to send it again; a longer one is sent once.
const MAX_RECORDED: usize = 64 * 1024;

/// How much of the room for it stays with the connection.
const KEPT: usize = 4 * 1024;

/// What the two ends of a connection, its socket and whoever polls it, know together.
///
/// It is the waker that the connection is polled with. Wakes from inside (hyper's own channels, while we poll them)
/// are not handed on to the task: whoever polls goes on to look anyway. Without that the task would be polled once
/// more for each message.
#[derive(Default)]
pub(super) struct Line {
    task: Mutex<Option<Waker>>,
    muted: AtomicBool,
    woken: AtomicBool,
    received: AtomicBool,
    recording: AtomicBool,
    sent: Mutex<Vec<u8>>,
    /// The socket had nothing to read, and has not been heard of since.
    quiet: AtomicBool,
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Release);
        if !self.muted.load(Acquire) {
            let task = lock(&self.task).take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

impl Line {
    /// Before polling: wakes are held back until [`Line::listen`].
    pub(super) fn hold(&self) {
        self.muted.store(true, Release);
        // read, so that what was noted before that wake is seen: the socket is not quiet any more
        self.woken.swap(false, AcqRel);
    }

    /// From now on wakes are for `task`, also one that was held back: for whoever returns `Pending`.
    pub(super) fn listen(&self, task: &Waker) {
        let mut slot = lock(&self.task);
        match &*slot {
            Some(present) if present.will_wake(task) => {}
            _ => *slot = Some(task.clone()),
        }
        drop(slot);
        self.muted.store(false, Release);
        if self.woken.swap(false, AcqRel) {
            task.wake_by_ref();
        }
    }

    /// Nobody waits any more; a wake that was held back is void.
    pub(super) fn leave(&self) {
        *lock(&self.task) = None;
        self.woken.swap(false, AcqRel);
        self.muted.store(false, Release);
    }

    /// Whether something has happened on the socket since [`Line::leave`].
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Acquire)
    }

    /// A request begins: nothing has come back yet. With `record` what is sent is kept.
    pub(super) fn begin(&self, record: bool) {
        self.received.store(false, Release);
        self.recording.store(record, Release);
        if record {
            let mut sent = lock(&self.sent);
            sent.clear();
            // one long head must not stay with an idle connection
            sent.shrink_to(KEPT);
        }
    }

    /// Whether a byte has come since [`Line::begin`].
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Acquire)
    }

    /// Whether a byte has come since this was asked.
    pub(super) fn take_received(&self) -> bool {
        self.received.swap(false, AcqRel)
    }

    /// What was sent since [`Line::begin`], if all of it was kept and no byte has come back.
    pub(super) fn recorded(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        (self.recording.load(Acquire) && !self.has_received()).then(|| lock(&self.sent))
    }

    fn record(&self, bytes: &[u8]) {
        let mut sent = lock(&self.sent);
        if sent.len() + bytes.len() > MAX_RECORDED {
            self.recording.store(false, Release);
            *sent = Vec::new();
        } else {
            sent.extend_from_slice(bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Wakes a line, and notes that it was the socket that did.
struct Heard(Arc<Line>);

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.quiet.store(false, Release);
        self.0.wake_by_ref();
    }
}

/// A transport that tells its [`Line`] what passes.
pub(super) struct Wire {
    transport: Transport,
    line: Arc<Line>,
    quiet: Option<Quiet>,
}

/// The waker of the line, by which a connection is known that is polled with that; and the socket's.
struct Quiet {
    line: Waker,
    heard: Waker,
}

impl Wire {
    pub(super) fn new(transport: Transport, line: Arc<Line>) -> Self {
        Self { transport, line, quiet: None }
    }

    /// For a connection that is polled with this waker, that of its line. hyper looks for something to read five times
    /// for each response; where the socket has not been heard of since, this says so without asking it, which saves 200
    /// instructions each time.
    pub(super) fn known_when_quiet(mut self, line: &Waker) -> Self {
        let heard = Waker::from(Arc::new(Heard(self.line.clone())));
        self.quiet = Some(Quiet { line: line.clone(), heard });
        self
    }

    fn note_written(&self, bytes: &[u8]) {
        if self.line.recording.load(Acquire) {
            self.line.record(bytes);
        }
    }
}

fn read(transport: &mut Transport, line: &Line, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    let polled = each!(transport, io => Pin::new(io).poll_read(cx, buf));
    if buf.filled().len() > before {
        line.received.store(true, Release);
    }
    polled
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let Self { transport, line, quiet } = me;
        let heard = match quiet {
            Some(quiet) if quiet.line.will_wake(cx.waker()) => &quiet.heard,
            // a task has it now
            _ => return read(transport, line, cx, buf),
        };
        if line.quiet.load(Acquire) {
            return Poll::Pending;
        }
        // before it is asked: it may be heard of at once
        line.quiet.store(true, Release);
        let polled = read(transport, line, &mut Context::from_waker(heard), buf);
        if polled.is_ready() {
            line.quiet.store(false, Release);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let polled = each!(me.transport, io => Pin::new(io).poll_write(cx, buf));
        if let Poll::Ready(Ok(written)) = polled {
            me.note_written(&buf[..written]);
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let polled = each!(me.transport, io => Pin::new(io).poll_write_vectored(cx, bufs));
        if let Poll::Ready(Ok(mut written)) = polled {
            for buf in bufs {
                let part = written.min(buf.len());
                me.note_written(&buf[..part]);
                written -= part;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport.kind {
            Kind::Tcp(io) => io.is_write_vectored(),
            Kind::Unix(io) => io.is_write_vectored(),
            Kind::Other(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut().transport, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut().transport, io => Pin::new(io).poll_shutdown(cx))
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
