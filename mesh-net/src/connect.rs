//! Connections to endpoints.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mesh_core::Address;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::listen::{KEEP_ALIVE, USER_TIMEOUT, set_liveness};
use crate::stream::Stream;

/// Makes connections to endpoints. Plain data: clone it, or keep one per cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    nodelay: bool,
    keep_alive: Option<Duration>,
    user_timeout: Option<Duration>,
}

impl Default for Connector {
    fn default() -> Self {
        Self { nodelay: true, keep_alive: Some(KEEP_ALIVE), user_timeout: Some(USER_TIMEOUT) }
    }
}

impl Connector {
    /// `TCP_NODELAY`: small writes go out at once. Default on.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// TCP keep-alive, as on [`ListenOptions`](crate::ListenOptions::keep_alive). Default 30 s, `None` is off.
    #[must_use]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = idle.into();
        self
    }

    /// `TCP_USER_TIMEOUT`, as on [`ListenOptions`](crate::ListenOptions::user_timeout); also bounds the handshake.
    /// Default 2 min, `None` is off.
    #[must_use]
    pub fn user_timeout(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = silence.into();
        self
    }

    /// Connects to `address` within `timeout`. Dropping the future gives the attempt up and closes its socket.
    ///
    /// # Errors
    /// [`ConnectError`], whose kind says whether the endpoint, the way to it or this host is to blame.
    ///
    /// # Panics
    /// Outside a tokio runtime that has I/O and time enabled.
    pub async fn connect(&self, address: &Address, timeout: Duration) -> Result<Stream, ConnectError> {
        match tokio::time::timeout(timeout, self.try_connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => {
                Err(ConnectError { address: address.clone(), kind: ConnectErrorKind::of(&source), source })
            }
            Err(_) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}"));
                Err(ConnectError { address: address.clone(), kind: ConnectErrorKind::TimedOut, source })
            }
        }
    }

    async fn try_connect(&self, address: &Address) -> io::Result<Stream> {
        match address {
            Address::Tcp(address) => self.tcp(*address).await.map(Stream::Tcp),
            // boxed: connections over TCP need not have the room for it
            Address::Unix(path) => Box::pin(unix(path)).await.map(Stream::Unix),
        }
    }

    async fn tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self.nodelay {
            socket.set_nodelay(true)?;
        }
        set_liveness(&socket, self.keep_alive, self.user_timeout)?;
        let stream = socket.connect(address).await?;
        if is_self_connected(&stream, address)? {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens, the socket met itself"));
        }
        Ok(stream)
    }
}

/// Connects to a path. Where the queue of its socket is full the kernel says so at once, and never that there is room
/// again: it is asked once more after a while.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// Whether a connection is its own peer. Where nobody listens on a local port of the ephemeral range, the kernel may
/// choose that very port as the source, and TCP's simultaneous open then connects the socket to itself: the endpoint
/// would look alive and echo every request, and could not bind its port again.
fn is_self_connected(stream: &TcpStream, peer: SocketAddr) -> io::Result<bool> {
    Ok(stream.local_addr()? == peer)
}

/// A connection that was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {source}")]
pub struct ConnectError {
    address: Address,
    kind: ConnectErrorKind,
    source: io::Error,
}

impl ConnectError {
    /// The endpoint's address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the failure means.
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }
}

/// What a failure to connect means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// No answer in the time given, or the kernel gave up first.
    TimedOut,
    /// The host is there, nobody listens; nor on a Unix socket, or its file is not there.
    Refused,
    /// No way to the host.
    Unreachable,
    /// This host has run out of something: file descriptors, memory, source ports. Not the endpoint's fault.
    Local,
    /// Anything else.
    Other,
}

impl ConnectErrorKind {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => {
                return Self::Local;
            }
            Some(libc::EHOSTDOWN) => return Self::Unreachable,
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            // an application that has not come up yet has not made its socket
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Self::Unreachable
            }
            // Every source port towards this endpoint is taken.
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::Local,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_that_met_itself_is_told() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let stream = socket.connect(address).await.unwrap();
        assert!(is_self_connected(&stream, address).unwrap());
    }

    #[test]
    fn errors_have_kinds() {
        let kind = |code| ConnectErrorKind::of(&io::Error::from_raw_os_error(code));
        assert_eq!(kind(libc::ECONNREFUSED), ConnectErrorKind::Refused);
        assert_eq!(kind(libc::ETIMEDOUT), ConnectErrorKind::TimedOut);
        assert_eq!(kind(libc::EHOSTUNREACH), ConnectErrorKind::Unreachable);
        assert_eq!(kind(libc::ENETUNREACH), ConnectErrorKind::Unreachable);
        assert_eq!(kind(libc::EHOSTDOWN), ConnectErrorKind::Unreachable);
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC, libc::EADDRNOTAVAIL] {
            assert_eq!(kind(code), ConnectErrorKind::Local);
        }
        assert_eq!(kind(libc::EACCES), ConnectErrorKind::Other);
    }
}
