//! Pipes in the kernel that carry what is relayed, so that it need not be copied.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use crate::stream::Stream;

/// What a pipe is made to hold. Unprivileged processes may have 64 MiB in pipes altogether (`pipe-user-pages-soft`); a
/// pipe that may not be made larger carries less at once.
const CAPACITY: usize = 256 * 1024;
/// How many pipes a worker has at the most, those in use included. Without one bytes are copied.
const MOST: usize = 16;
/// The file descriptors of the pipes that a worker has at the most.
pub const PIPE_DESCRIPTORS: usize = 2 * MOST;

thread_local! {
    static FREE: RefCell<Vec<(OwnedFd, OwnedFd)>> = const { RefCell::new(Vec::new()) };
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// A pipe of this thread's. One that is empty when it is dropped is kept for the next.
pub(super) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<(OwnedFd, OwnedFd)>,
    held: usize,
}

impl Pipe {
    /// An empty pipe; `None` where there are enough, or none can be had.
    pub(super) fn get() -> Option<Self> {
        let ends = FREE.with_borrow_mut(Vec::pop).or_else(|| {
            if MADE.get() >= MOST {
                return None;
            }
            let ends = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            let _ = fcntl_setpipe_size(&ends.1, CAPACITY);
            MADE.set(MADE.get() + 1);
            Some(ends)
        })?;
        Some(Self { ends: Some(ends), held: 0 })
    }

    /// Takes bytes from a stream, when the pipe is empty. 0: the stream has ended.
    pub(super) fn poll_read(&mut self, from: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some((_, end)) = &self.ends else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(poll_ready(from, Interest::READABLE, cx))?;
            let moved = from.try_io(Interest::READABLE, || Ok(move_bytes(from, end, CAPACITY)?));
            match moved {
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(moved) => {
                    self.held = moved;
                    return Poll::Ready(Ok(moved));
                }
            }
        }
    }

    /// Gives a stream all that is in the pipe, and counts it.
    pub(super) fn poll_write(
        &mut self,
        to: &Stream,
        moved_in_all: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some((end, _)) = &self.ends else { return Poll::Ready(Ok(())) };
        while self.held > 0 {
            ready!(poll_ready(to, Interest::WRITABLE, cx))?;
            match to.try_io(Interest::WRITABLE, || Ok(move_bytes(end, to, self.held)?)) {
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(moved) => {
                    self.held -= moved;
                    *moved_in_all += moved as u64;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> rustix::io::Result<usize> {
    splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)
}

fn poll_ready(stream: &Stream, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match (stream, interest.is_readable()) {
        (Stream::Tcp(stream), true) => stream.poll_read_ready(cx),
        (Stream::Tcp(stream), false) => stream.poll_write_ready(cx),
        (Stream::Unix(stream), true) => stream.poll_read_ready(cx),
        (Stream::Unix(stream), false) => stream.poll_write_ready(cx),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.held == 0 && FREE.try_with(|free| free.borrow_mut().push(ends)).is_ok() {
            return;
        }
        // what is left in it is nobody's: it is closed
        let _ = MADE.try_with(|made| made.set(made.get().saturating_sub(1)));
    }
}
