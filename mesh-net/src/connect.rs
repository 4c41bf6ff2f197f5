//! Connections to TCP endpoints.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::listen::set_keep_alive;

/// Makes connections to endpoints. Plain data: clone it, or keep one per cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    nodelay: bool,
    keep_alive: Option<Duration>,
}

impl Default for Connector {
    fn default() -> Self {
        Self { nodelay: true, keep_alive: Some(Duration::from_secs(30)) }
    }
}

impl Connector {
    /// `TCP_NODELAY`: small writes go out at once. Default on.
    #[must_use]
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// TCP keep-alive: idle time before the first probe, and between probes. Whole seconds, at least one. Default 30 s,
    /// `None` is off.
    #[must_use]
    pub fn keep_alive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = idle.into();
        self
    }

    /// Connects to `address` within `timeout`. Dropping the future gives the attempt up and closes its socket.
    ///
    /// # Errors
    /// [`ConnectError`], whose kind says whether the endpoint, the way to it or this host is to blame.
    ///
    /// # Panics
    /// Outside a tokio runtime that has I/O and time enabled.
    pub async fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
        match tokio::time::timeout(timeout, self.try_connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(ConnectError { address, kind: ConnectErrorKind::of(&source), source }),
            Err(_) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}"));
                Err(ConnectError { address, kind: ConnectErrorKind::TimedOut, source })
            }
        }
    }

    async fn try_connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self.nodelay {
            socket.set_nodelay(true)?;
        }
        set_keep_alive(&socket, self.keep_alive)?;
        let stream = socket.connect(address).await?;
        if is_self_connected(&stream, address)? {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens, the socket met itself"));
        }
        Ok(stream)
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
    address: SocketAddr,
    kind: ConnectErrorKind,
    source: io::Error,
}

impl ConnectError {
    /// The endpoint's address.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    /// The host is there, nobody listens.
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
            io::ErrorKind::ConnectionRefused => Self::Refused,
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
