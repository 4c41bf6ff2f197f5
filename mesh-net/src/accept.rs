//! The accept loop of one worker.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::{Address, Credentials, Peer};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

use crate::drain::{Guard, Watch};
use crate::stream::Stream;
use crate::unix::{SocketFile, UnixSocket};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

/// Pauses after errors that only time can mend: the first one, and the longest after doublings.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// How many queued connections are still taken at the end, so that a storm of new ones cannot hold the end up.
const MOST_QUEUED: u32 = 4096;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with the options of its listener.
    pub stream: Stream,
    /// Who connected: its address over TCP (an IPv4 peer of a dual-stack socket is shown as IPv4), its process over a
    /// Unix socket.
    pub peer: Peer,
    /// The address the peer connected to, of this host even where the listener is bound to all addresses. `None` on a
    /// Unix socket.
    pub local: Option<SocketAddr>,
    /// To be kept as long as the connection: the drain waits for it, and it says when to stop.
    pub guard: Guard,
}

/// A socket that listens, not yet in a runtime.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, Option<SocketFile>),
}

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

impl From<UnixSocket> for Listener {
    fn from(UnixSocket { listener, file }: UnixSocket) -> Self {
        Self(Kind::Unix(listener, Some(file)))
    }
}

/// Its file is not removed at the end.
impl From<std::os::unix::net::UnixListener> for Listener {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

/// Accepts the connections of one listening socket until a drain starts.
///
/// The drain does not finish before its acceptors are dropped.
#[derive(Debug)]
pub struct Acceptor {
    source: Source,
    address: Address,
    guard: Guard,
    pauses: Pauses,
}

#[derive(Debug)]
enum Source {
    Open(Open),
    /// The drain has started: what the kernel has queued is still taken. The socket is out of the runtime, whose notion
    /// of readiness may be a turn old.
    Closing {
        listener: Queue,
        left: u32,
    },
    Closed,
}

#[derive(Debug)]
enum Open {
    Tcp(TcpListener),
    Unix(UnixListener, Option<SocketFile>),
}

#[derive(Debug)]
enum Queue {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A connection and, over TCP, the address of its peer.
type Connection = (Stream, Option<SocketAddr>);

impl Open {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self {
            Open::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream::Tcp(stream), Some(peer))),
            Open::Unix(listener, _) => listener.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    /// Out of the runtime. The file of a Unix socket goes first: who comes from now on is told at once.
    fn close(self) -> io::Result<Queue> {
        match self {
            Open::Tcp(listener) => listener.into_std().map(Queue::Tcp),
            Open::Unix(listener, file) => {
                drop(file);
                listener.into_std().map(Queue::Unix)
            }
        }
    }
}

impl Queue {
    fn accept(&self) -> io::Result<Connection> {
        match self {
            Queue::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?.into(), Some(peer)))
            }
            Queue::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((UnixStream::from_std(stream)?.into(), None))
            }
        }
    }
}

impl Acceptor {
    /// Takes a socket that [`ListenOptions`](crate::ListenOptions) made into the runtime of this thread.
    ///
    /// # Errors
    /// The socket does not listen, or cannot be registered with the runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime that has I/O enabled.
    pub fn new(listener: impl Into<Listener>, drain: &Watch) -> io::Result<Self> {
        // A socket of another origin may block, and would then block the worker.
        let (open, address) = match listener.into().0 {
            Kind::Tcp(listener) => {
                let address = listener.local_addr()?.into();
                listener.set_nonblocking(true)?;
                (Open::Tcp(TcpListener::from_std(listener)?), address)
            }
            Kind::Unix(listener, file) => {
                let path = listener.local_addr()?.as_pathname().unwrap_or(Path::new("")).into();
                listener.set_nonblocking(true)?;
                (Open::Unix(UnixListener::from_std(listener)?, file), Address::Unix(path))
            }
        };
        Ok(Self { source: Source::Open(open), address, guard: drain.guard(), pauses: Pauses::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next connection. `None` when the drain has started and the connections that the kernel had queued
    /// until then have been given; the socket is closed by then. Cancellation by drop loses no connection.
    ///
    /// A connection whose handshake ends in the instant between the last look and the close is reset by the kernel. Where
    /// another socket of the group (of a worker that is a moment behind, or of the next process) still listens,
    /// `net.ipv4.tcp_migrate_req=1` moves it there.
    ///
    /// An error of one connection (it was reset before it was accepted) is passed over. When file descriptors or memory
    /// run out, it pauses from 5 ms, doubling up to 1 s, and logs at most once per second.
    ///
    /// # Errors
    /// The socket cannot accept any more; calling again is of no use.
    pub async fn accept(&mut self) -> io::Result<Option<Accepted>> {
        if let Source::Open(listener) = &self.source {
            let poll = |cx: &mut Context<'_>| listener.poll_accept(cx);
            if let Some(connection) = next(poll, &self.guard, &mut self.pauses, &self.address).await? {
                return Ok(Some(self.accepted(connection)));
            }
            self.close()?;
        }
        // The last ones come without waiting; other tasks of the worker have their turns in between.
        tokio::task::consume_budget().await;
        match self.queued() {
            Some(connection) => Ok(Some(self.accepted(connection))),
            None => {
                self.source = Source::Closed;
                Ok(None)
            }
        }
    }

    fn close(&mut self) -> io::Result<()> {
        if let Source::Open(listener) = std::mem::replace(&mut self.source, Source::Closed) {
            self.source = Source::Closing { listener: listener.close()?, left: MOST_QUEUED };
        }
        Ok(())
    }

    fn queued(&mut self) -> Option<Connection> {
        let Source::Closing { listener, left } = &mut self.source else {
            return None;
        };
        while *left > 0 {
            *left -= 1;
            match listener.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if Fault::of(&error) == Fault::Connection => {}
                // Nothing left, or nothing to be had.
                Err(_) => return None,
            }
        }
        None
    }

    fn accepted(&self, (stream, peer): Connection) -> Accepted {
        let local = match (&self.address, &stream) {
            // Bound to one address, a connection has that one; the system call is only for the others.
            (Address::Tcp(address), Stream::Tcp(stream)) if address.ip().is_unspecified() => {
                Some(stream.local_addr().map_or(*address, as_v4))
            }
            (Address::Tcp(address), _) => Some(*address),
            (Address::Unix(_), _) => None,
        };
        let peer = Peer { address: peer.map(as_v4), credentials: credentials(&stream), identity: None };
        Accepted { stream, peer, local, guard: self.guard.guard() }
    }
}

/// Who the kernel says is at the other end of a Unix socket (`SO_PEERCRED`): as it was when it connected.
fn credentials(stream: &Stream) -> Option<Credentials> {
    let Stream::Unix(stream) = stream else { return None };
    let found = stream.peer_cred().ok()?;
    Some(Credentials { uid: found.uid(), gid: found.gid(), pid: found.pid() })
}

/// An IPv4 address that a dual-stack socket wrapped into IPv6 as what it is.
fn as_v4(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddrV4::new(v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// The next connection of a source, `None` when the drain has started.
async fn next<C>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<C>>,
    drain: &Watch,
    pauses: &mut Pauses,
    local: &Address,
) -> io::Result<Option<C>> {
    let mut signaled = pin!(drain.signaled());
    loop {
        let accepted = poll_fn(|cx| {
            if drain.is_draining() {
                return Poll::Ready(None);
            }
            match poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => signaled.as_mut().poll(cx).map(|()| None),
            }
        });
        let error = match accepted.await {
            None => return Ok(None),
            Some(Ok(connection)) => {
                pauses.end();
                return Ok(Some(connection));
            }
            Some(Err(error)) => error,
        };
        match Fault::of(&error) {
            Fault::Connection => {
                tracing::debug!(%local, %error, "a connection failed before it was accepted");
            }
            Fault::Resources => {
                let pause = pauses.next(local, &error);
                if timeout(pause, signaled.as_mut()).await.is_ok() {
                    return Ok(None);
                }
            }
            Fault::Listener => return Err(error),
        }
    }
}

/// Whose fault an error of `accept` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Of the connection that was next; the one behind it may be good.
    Connection,
    /// The process or the host has run out of something (`ENOSPC`: of places in epoll); the same call may succeed later.
    Resources,
    /// Of the socket itself.
    Listener,
}

impl Fault {
    /// By the list in accept(2): Linux passes errors that are pending on the new connection through `accept`, and asks
    /// for them to be treated like `EAGAIN`. `EPERM` is a firewall's refusal.
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => Self::Resources,
            Some(
                libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ETIMEDOUT,
            ) => Self::Connection,
            #[cfg(target_os = "linux")]
            Some(libc::ENONET) => Self::Connection,
            _ => Self::Listener,
        }
    }
}

/// Growing pauses while resources are short, and a log that does not add to the trouble.
#[derive(Debug, Default)]
struct Pauses {
    /// Of the last pause; zero when all is well.
    last: Duration,
    logged: Option<Instant>,
    /// Failures since the last log line.
    unlogged: u32,
}

impl Pauses {
    fn next(&mut self, local: &Address, error: &io::Error) -> Duration {
        self.last = (self.last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.unlogged = self.unlogged.saturating_add(1);
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL) {
            tracing::warn!(%local, %error, failures = self.unlogged, "cannot accept connections for now");
            self.logged = Some(now);
            self.unlogged = 0;
        }
        self.last
    }

    fn end(&mut self) {
        self.last = Duration::ZERO;
    }
}
