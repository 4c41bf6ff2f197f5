use super::connection::Connection;
use pin_project_lite::pin_project;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pin_project! {
    /// A stream that notes when the head of an HTTP/1 request begins, and whether the peer has fallen behind.
    pub(super) struct HeadClock<I> {
        connection: Arc<Connection>,
        behind: bool,
        #[pin]
        inner: I,
    }
}

impl<I> HeadClock<I> {
    pub(super) fn new(inner: I, connection: Arc<Connection>) -> Self {
        Self { connection, behind: false, inner }
    }

    /// The stream, if all that was written has gone out.
    pub(super) fn into_written_out(self) -> Option<I> {
        (!self.behind).then_some(self.inner)
    }

    /// The stream as it is.
    pub(super) fn into_inner(self) -> I {
        self.inner
    }
}

impl<I: AsyncRead> AsyncRead for HeadClock<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.project();
        let before = buffer.filled().len();
        let read = me.inner.poll_read(cx, buffer);
        if buffer.filled().len() > before {
            me.connection.note_bytes();
        }
        read
    }
}

impl<I: AsyncWrite> AsyncWrite for HeadClock<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.project();
        let written = me.inner.poll_write(cx, bytes);
        *me.behind = written.is_pending();
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
        let me = self.project();
        let written = me.inner.poll_write_vectored(cx, slices);
        *me.behind = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
