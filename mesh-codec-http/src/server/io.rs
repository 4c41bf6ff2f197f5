use super::connection::Connection;
use pin_project_lite::pin_project;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How hyper answers a head that is too large, and the same answer where not even its first line was whole (RFC 9112,
/// section 3), of the same length.
const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n";
const URI_TOO_LONG: &[u8] = b"HTTP/1.1 414 URI Too Long, beyond head limit\r\n";
const _: () = assert!(HEAD_TOO_LARGE.len() == URI_TOO_LONG.len());

pin_project! {
    /// The stream of a connection, watched: when the head of an HTTP/1 request begins, and since when the peer takes
    /// nothing of what is written.
    pub(super) struct Watched<I> {
        connection: Arc<Connection>,
        heads: bool,
        // The first line of the head that is being read is not whole.
        in_first_line: bool,
        behind: bool,
        #[pin]
        inner: I,
    }
}

impl<I> Watched<I> {
    /// `heads`: bytes that come while no request is open begin one.
    pub(super) fn new(inner: I, connection: Arc<Connection>, heads: bool) -> Self {
        Self { connection, heads, in_first_line: false, behind: false, inner }
    }

    /// The stream, if all that was written has gone out.
    pub(super) fn into_written_out(self) -> Option<I> {
        (!self.behind).then_some(self.inner)
    }

    /// Whether the head that is being read has not even a whole first line.
    pub(super) fn is_in_first_line(&self) -> bool {
        self.in_first_line
    }

    /// The stream as it is.
    pub(super) fn into_inner(self) -> I {
        self.inner
    }
}

/// Notes how a write went.
fn note(behind: &mut bool, connection: &Connection, written: &Poll<io::Result<usize>>) {
    if written.is_pending() != *behind {
        *behind = !*behind;
        connection.note_stalled(*behind);
    }
}

impl<I: AsyncRead> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.project();
        let before = buffer.filled().len();
        let read = me.inner.poll_read(cx, buffer);
        let come = &buffer.filled()[before..];
        if *me.heads
            && let Some(last) = come.last()
        {
            let first = me.connection.note_bytes();
            if first || *me.in_first_line {
                // most heads come as a whole
                *me.in_first_line = *last != b'\n' && !come.contains(&b'\n');
            }
        }
        read
    }
}

impl<I: AsyncWrite> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.project();
        let bytes = match bytes {
            // its one write, into an empty buffer; what is not of the first line goes with the next
            bytes if *me.in_first_line && bytes.starts_with(HEAD_TOO_LARGE) => URI_TOO_LONG,
            bytes => bytes,
        };
        let written = me.inner.poll_write(cx, bytes);
        note(me.behind, me.connection, &written);
        written
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
        if self.in_first_line {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(cx, first);
        }
        let me = self.project();
        let written = me.inner.poll_write_vectored(cx, slices);
        note(me.behind, me.connection, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
