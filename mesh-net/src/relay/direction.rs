//! One direction of a relay.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::Pipe;
use crate::stream::Stream;

/// What is read at once, and so the most that is held while the other side takes nothing.
const READ: usize = 64 * 1024;
/// What moves in one turn before other connections of the worker have theirs.
const TURN: u64 = 512 * 1024;
/// A read of so much says that there is more to come than a copy is good for.
const MUCH: usize = 32 * 1024;

// What is read goes through a buffer that all connections of a worker share; only what cannot be written at once is kept.
thread_local!(static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

pub(super) struct Direction {
    splice: bool,
    moved: u64,
    /// What was read and could not be written yet, from `start` on.
    kept: Vec<u8>,
    start: usize,
    /// While much moves: what carries it.
    pipe: Option<Pipe>,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    /// The end was read, and is to be told.
    Read,
    Told,
}

/// Which side broke.
pub(super) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

impl Direction {
    pub(super) fn new(splice: bool) -> Self {
        Self { splice, moved: 0, kept: Vec::new(), start: 0, pipe: None, ended: Ended::No }
    }

    /// Bytes that were written.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved. Ready when the end has been told.
    pub(super) fn poll(&mut self, from: &mut Stream, to: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let until = self.moved + TURN;
        loop {
            if self.ended == Ended::Told {
                return Poll::Ready(Ok(()));
            }
            ready!(self.write_kept(to, cx)).map_err(Fault::Write)?;
            if let Some(pipe) = &mut self.pipe {
                ready!(pipe.poll_write(to, &mut self.moved, cx)).map_err(Fault::Write)?;
            }
            if self.ended == Ended::Read {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Fault::Write)?;
                self.ended = Ended::Told;
                return Poll::Ready(Ok(()));
            }
            if self.moved >= until {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match &mut self.pipe {
                None => ready!(self.copy(from, to, cx))?,
                Some(pipe) => match pipe.poll_read(from, cx) {
                    Poll::Ready(Ok(0)) => self.ended = Ended::Read,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Read(error))),
                    Poll::Pending => {
                        // nothing is in it: it is of use to another
                        self.pipe = None;
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    fn write_kept(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.start < self.kept.len() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept[self.start..]))?;
            self.start += written;
            self.moved += written as u64;
        }
        if !self.kept.is_empty() {
            (self.kept, self.start) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what was read, as far as the other side takes it.
    fn copy(&mut self, from: &mut Stream, to: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(READ, 0);
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut buffer)).map_err(Fault::Read)?;
            let mut read = buffer.filled();
            if read.is_empty() {
                self.ended = Ended::Read;
            }
            if self.splice && read.len() >= MUCH {
                self.pipe = Pipe::get();
            }
            while !read.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, read) {
                    Poll::Ready(Ok(written)) => {
                        self.moved += written as u64;
                        read = &read[written..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Write(error))),
                    Poll::Pending => {
                        self.kept = read.to_vec();
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }
}
