//! A connection over TCP or a Unix socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection, whatever kind of socket it runs over. Costs one predictable branch per call.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Does the same with the stream inside, whichever it is.
macro_rules! each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($io) => $call,
            Stream::Unix($io) => $call,
        }
    };
}

impl Stream {
    /// Calls the kernel, if the socket is ready for it as far as is known.
    pub(crate) fn try_io<T>(&self, interest: Interest, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        each!(self, io => io.try_io(interest, call))
    }

    /// Makes that the connection is reset when it is dropped. A Unix socket knows no reset: it is closed.
    ///
    /// # Errors
    /// The socket does not take the option.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_zero_linger(),
            Stream::Unix(_) => Ok(()),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Stream::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Stream::Unix(stream)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(self, io => io.as_fd())
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // nothing is buffered on this side of the kernel
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}

/// A connection on its way from the runtime of one thread to that of another.
#[derive(Debug)]
pub struct Detached(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Takes it out of the runtime of this thread. Two system calls, with [`Detached::attach`].
    ///
    /// # Errors
    /// The runtime does not let go of it.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(Detached(match self {
            Stream::Tcp(stream) => Kind::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Kind::Unix(stream.into_std()?),
        }))
    }
}

impl Detached {
    /// Takes it into the runtime of this thread.
    ///
    /// # Errors
    /// The runtime cannot watch more sockets.
    ///
    /// # Panics
    /// Outside a tokio runtime that has I/O enabled.
    pub fn attach(self) -> io::Result<Stream> {
        Ok(match self.0 {
            Kind::Tcp(stream) => TcpStream::from_std(stream)?.into(),
            Kind::Unix(stream) => UnixStream::from_std(stream)?.into(),
        })
    }
}
