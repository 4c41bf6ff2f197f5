//! Listening sockets, one per worker.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use mesh_core::Address;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::unix::{self, UnixSocket};

/// How sockets listen. [`bind`](ListenOptions::bind) makes them.
///
/// What is set here on a listening socket is inherited by every connection accepted from it, so that it costs no system
/// call per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    backlog: u32,
    nodelay: bool,
    keep_alive: Option<Duration>,
    user_timeout: Option<Duration>,
    dual_stack: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            nodelay: true,
            keep_alive: Some(KEEP_ALIVE),
            user_timeout: Some(USER_TIMEOUT),
            dual_stack: false,
        }
    }
}

impl ListenOptions {
    /// Connections that the kernel keeps per socket until they are accepted. Default 1024; the kernel caps it at
    /// `net.core.somaxconn`.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// `TCP_NODELAY` on accepted connections: small writes go out at once. Default on.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// TCP keep-alive on accepted connections: how long one may be idle before it is asked whether its peer is still
    /// there, a third of that between further times. Whole seconds, at least one. Default 30 s, `None` is off.
    #[must_use]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = idle.into();
        self
    }

    /// `TCP_USER_TIMEOUT` on accepted connections: how long a peer may acknowledge nothing, be it data or a probe of
    /// keep-alive, or take nothing, its window being shut, before the connection fails (RFC 5482). Without it a peer that
    /// has vanished is noticed after a quarter of an hour if data was on its way. Whole milliseconds, at least one.
    /// Default 2 min, `None` is off.
    #[must_use]
    pub fn user_timeout(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = silence.into();
        self
    }

    /// Whether a socket bound to `[::]` takes IPv4 connections too. Default off, whatever `net.ipv6.bindv6only` says, so
    /// that `[::]` and `0.0.0.0` can be two listeners on one port. Peers of such connections are shown as IPv4.
    #[must_use]
    pub fn dual_stack(mut self, on: bool) -> Self {
        self.dual_stack = on;
        self
    }

    /// Makes `workers` sockets that listen on `address`. With port 0 the kernel chooses one port for all of them.
    ///
    /// The kernel spreads connections over the sockets by a hash of the four-tuple (`SO_REUSEPORT`): evenly when they are
    /// many, by luck when they are few. With one worker `SO_REUSEPORT` is not set at all.
    ///
    /// The sockets listen when this returns: connections queue in the kernel until a worker accepts them.
    ///
    /// # Errors
    /// [`BindError`] when the address cannot be bound. A port that somebody else listens on is an error even if theirs
    /// has `SO_REUSEPORT`: the first socket is bound and listens without it, and gets it only then. So it cannot join a
    /// group by accident, and of two processes that start at once exactly one wins; binding alone would not decide,
    /// because with `SO_REUSEADDR` two sockets that do not listen yet may share a port. What no process can prevent is a
    /// later one of the same user that sets `SO_REUSEPORT` and binds the port of a group that exists.
    pub fn bind(&self, address: SocketAddr, workers: NonZeroUsize) -> Result<Listeners, BindError> {
        self.try_bind(address, workers).map_err(|source| BindError { address: address.into(), source })
    }

    /// Makes a socket that listens on this path, with the permissions `mode` (`0o600`: the owner of this process
    /// alone). Connecting needs the permission to write.
    ///
    /// There is one socket however many workers there are, for the kernel does not spread the connections of a path.
    ///
    /// The file of a process that did not come to its end is replaced: a socket that refuses connections. Of several
    /// processes that start at once exactly one has the path in the end; they keep each other out by a lock on its
    /// directory, for as long as this takes.
    ///
    /// # Errors
    /// [`BindError`]: [`AddrInUse`](io::ErrorKind::AddrInUse) where somebody listens there,
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) where there is a file that is not a socket; the directory is
    /// not there or not ours to write to; the path is longer than the 107 bytes that the kernel takes.
    pub fn bind_unix(&self, path: &Path, mode: u32) -> Result<UnixSocket, BindError> {
        unix::bind(path, mode, self.backlog_of())
            .map_err(|source| BindError { address: Address::Unix(path.into()), source })
    }

    fn backlog_of(&self) -> i32 {
        i32::try_from(self.backlog).unwrap_or(i32::MAX)
    }

    fn try_bind(&self, address: SocketAddr, workers: NonZeroUsize) -> io::Result<Listeners> {
        let first: TcpListener = self.socket(address, false)?.into();
        // Port 0 is a number from here on.
        let address = first.local_addr()?;
        if workers.get() > 1 {
            SockRef::from(&first).set_reuse_port(true)?;
        }
        let mut sockets = Vec::with_capacity(workers.get());
        sockets.push(first);
        for _ in 1..workers.get() {
            sockets.push(self.socket(address, true)?.into());
        }
        Ok(Listeners { address, sockets })
    }

    fn socket(&self, address: SocketAddr, shared: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // A restart need not wait for connections of the last run that are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!self.dual_stack)?;
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        set_liveness(&socket, self.keep_alive, self.user_timeout)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(self.backlog_of())?;
        Ok(socket)
    }
}

/// The defaults of what notices that a peer has vanished: one that is idle is asked after the first, and given up with
/// the second.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// Sets what notices that a peer has vanished.
pub(crate) fn set_liveness<'s>(
    socket: impl Into<SockRef<'s>>,
    keep_alive: Option<Duration>,
    user_timeout: Option<Duration>,
) -> io::Result<()> {
    let socket = socket.into();
    // The kernel counts in seconds and refuses zero.
    const SECOND: Duration = Duration::from_secs(1);
    if let Some(idle) = keep_alive {
        let alive = TcpKeepalive::new().with_time(idle.max(SECOND)).with_interval((idle / 3).max(SECOND));
        socket.set_tcp_keepalive(&alive)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(silence) = user_timeout {
        // To the kernel zero is its own default, and what it cannot hold is an error.
        let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
        socket.set_tcp_user_timeout(Some(silence.clamp(Duration::from_millis(1), longest)))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

/// Sockets that listen on one address, one for each worker. Made by [`ListenOptions::bind`].
///
/// They are non-blocking; iterate to give each worker its own.
#[derive(Debug)]
pub struct Listeners {
    address: SocketAddr,
    sockets: Vec<TcpListener>,
}

impl Listeners {
    /// The address they listen on; the port is never 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl IntoIterator for Listeners {
    type Item = TcpListener;
    type IntoIter = std::vec::IntoIter<TcpListener>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: Address,
    source: io::Error,
}

impl BindError {
    /// The address that was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What went wrong, such as [`io::ErrorKind::AddrInUse`].
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}
