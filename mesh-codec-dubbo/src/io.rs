//! What both sides do with a socket.

use bytes::{Buf, BytesMut};
use mesh_core::Nanos;
use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// Read at once at the least, and kept by a connection that is quiet at the most.
const PIECE: usize = 8 * 1024;

/// What has come and has not been taken.
pub(crate) struct Input(BytesMut);

impl Input {
    pub(crate) fn new() -> Self {
        Self(BytesMut::new())
    }

    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    /// Reads what there is; 0 at the end. The room grows with what comes.
    pub(crate) fn poll_read<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.0.capacity() - self.0.len() < PIECE / 4 {
            self.0.reserve(PIECE);
        }
        let read = poll_read_buf(Pin::new(io), cx, &mut self.0);
        if read.is_pending() && self.0.is_empty() && self.0.capacity() > PIECE {
            self.0 = BytesMut::new();
        }
        read
    }
}

/// What is to be written.
pub(crate) struct Output {
    bytes: BytesMut,
    /// What wraps a socket may hold some back.
    is_unflushed: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { bytes: BytesMut::new(), is_unflushed: false }
    }

    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes over what another has gathered, whose room it gives in return.
    pub(crate) fn swap(&mut self, other: &mut BytesMut) {
        debug_assert!(self.bytes.is_empty(), "it would come out of order");
        std::mem::swap(&mut self.bytes, other);
    }

    /// Writes what the socket takes, and flushes. True: something was written.
    pub(crate) fn poll_write<I: AsyncWrite + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut has_written = false;
        while !self.bytes.is_empty() {
            match Pin::new(&mut *io).poll_write(cx, &self.bytes) {
                Poll::Pending => return Ok(has_written),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => self.bytes.advance(written),
                Poll::Ready(Err(error)) => return Err(error),
            }
            (has_written, self.is_unflushed) = (true, true);
        }
        if std::mem::replace(&mut self.is_unflushed, false) {
            match Pin::new(io).poll_flush(cx) {
                Poll::Pending => self.is_unflushed = true,
                Poll::Ready(result) => result?,
            }
            if self.bytes.capacity() > 8 * PIECE {
                self.bytes = BytesMut::new();
            } else {
                self.bytes.clear();
            }
        }
        Ok(has_written)
    }
}

/// When a heartbeat is due: one direction has been quiet for so long, and as long ago the last one was sent.
pub(crate) fn beat_due(last_read: Nanos, last_written: Nanos, last_beat: Nanos, beat: Duration) -> Nanos {
    last_read.min(last_written).max(last_beat).plus(beat)
}

/// A service that is never ready again ends the connection.
pub(crate) fn failed(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

/// Something that is passed over: counted, by what it is.
#[cold]
pub(crate) fn ignored(what: &'static str) {
    metrics::counter!("mesh_dubbo_ignored_total", "what" => what).increment(1);
}
