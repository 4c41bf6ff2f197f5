//! HTTP/2 or HTTP/1, told apart by the first bytes of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection turned out to be, with nothing of it lost.
#[derive(Debug)]
pub enum Detected<S> {
    /// Not HTTP/2, so HTTP/1 or something that an HTTP/1 codec refuses.
    Http1(Rewind<S>),
    /// The whole preface has come.
    Http2(Rewind<S>),
    /// The peer closed without a byte, as port probes do.
    Closed,
}

/// Reads a connection until it is clear whether it starts with the HTTP/2 preface, no byte longer: the first one that
/// differs decides for HTTP/1, and so does an end in the middle. No allocation, one read in most cases.
///
/// It waits as long as the peer does, the caller brings the timeout: dropping the future closes the connection.
///
/// # Errors
/// What the read gives, such as a reset by the peer.
pub async fn detect<S: AsyncRead + Unpin>(mut io: S) -> io::Result<Detected<S>> {
    let mut prefix = [0; PREFACE.len()];
    let mut len = 0;
    loop {
        let read = io.read(&mut prefix[len..]).await?;
        len += read;
        if len == 0 {
            return Ok(Detected::Closed);
        }
        if read == 0 || prefix[..len] != PREFACE[..len] {
            return Ok(Detected::Http1(Rewind::with_prefix(io, prefix, len)));
        }
        if len == PREFACE.len() {
            return Ok(Detected::Http2(Rewind::with_prefix(io, prefix, len)));
        }
    }
}

pin_project! {
    /// A stream that gives the bytes already read from it once more, then itself at the price of one comparison a read.
    #[derive(Debug)]
    pub struct Rewind<S> {
        prefix: [u8; PREFACE.len()],
        start: u8,
        end: u8,
        // Met while reading on behind the prefix; the next read gives it.
        error: Option<io::Error>,
        #[pin]
        inner: S,
    }
}

impl<S> Rewind<S> {
    /// A stream with nothing to give again: where the protocol is known beforehand the type stays the same.
    pub fn new(inner: S) -> Self {
        Self::with_prefix(inner, [0; PREFACE.len()], 0)
    }

    fn with_prefix(inner: S, prefix: [u8; PREFACE.len()], len: usize) -> Self {
        Self { prefix, start: 0, end: len as u8, error: None, inner }
    }

    /// The stream, to look at its options.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The stream alone. Bytes that were still to be given once more are lost.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead> AsyncRead for Rewind<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if this.start == this.end {
            return match this.error.take() {
                None => this.inner.poll_read(cx, buffer),
                Some(error) => Poll::Ready(Err(error)),
            };
        }
        let prefix = &this.prefix[usize::from(*this.start)..usize::from(*this.end)];
        let given = prefix.len().min(buffer.remaining());
        buffer.put_slice(&prefix[..given]);
        *this.start += given as u8;
        // What the peer sent along with the prefix is most likely there: given in the same read, it is parsed once.
        if buffer.remaining() > 0
            && let Poll::Ready(Err(error)) = this.inner.poll_read(cx, buffer)
        {
            *this.error = Some(error);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite> AsyncWrite for Rewind<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
