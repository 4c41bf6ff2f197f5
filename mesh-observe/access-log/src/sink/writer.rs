//! The thread that writes.

use super::{Output, Shared, lock};
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// For how long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is said at the most that lines are lost.
const REPORT: Duration = Duration::from_secs(1);
/// What is kept of a buffer that has grown.
const KEPT: usize = 256 << 10;

/// Starts the writer. Without a thread all lines are lost, and counted.
pub(super) fn start(shared: Arc<Shared>, output: Output, label: String) {
    let writer = Writer { shared: shared.clone(), output, label, reported: 0, last_report: None };
    match thread::Builder::new().name("access-log".into()).spawn(move || writer.run()) {
        Ok(handle) => _ = shared.writer.set(handle.thread().clone()),
        Err(error) => {
            tracing::error!(%error, "the writer of an access log could not be started; its lines are lost");
            lock(&shared.done).ended = true;
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    output: Output,
    label: String,
    /// The lost lines that have been told of.
    reported: u64,
    last_report: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        let mut spare = Vec::with_capacity(super::BUFFER);
        let mut flushed = 0;
        loop {
            while !self.shared.is_wanted(flushed) {
                match self.next_report() {
                    Some(wait) => {
                        thread::park_timeout(wait);
                        self.report();
                    }
                    None => thread::park(),
                }
            }
            let closed = self.shared.closed.load(Acquire);
            let asked = self.shared.asked.load(Acquire);
            if !closed && asked == flushed {
                thread::park_timeout(GATHER);
            }
            // what is appended from here on sets it again
            self.shared.dirty.swap(false, AcqRel);
            for shelf in 0..self.shared.shelves.len() {
                self.take(shelf, &mut spare);
            }
            self.report();
            // a flush that was asked for while it wrote is for the next turn
            flushed = asked;
            let mut done = lock(&self.shared.done);
            done.flushes = flushed;
            done.ended = closed;
            self.shared.progress.notify_all();
            if closed {
                return;
            }
        }
    }

    /// Writes what one buffer has.
    fn take(&mut self, shelf: usize, spare: &mut Vec<u8>) {
        mem::swap(&mut *lock(&self.shared.shelves[shelf].0), spare);
        if spare.is_empty() {
            return;
        }
        let lines = spare.iter().filter(|byte| **byte == b'\n').count() as u64;
        match self.output.write(spare) {
            Ok(()) => {
                self.shared.lines.fetch_add(lines, Relaxed);
                self.shared.lines_total.increment(lines);
            }
            Err(error) => {
                self.shared.drop_lines(lines);
                self.failed(&error);
            }
        }
        spare.clear();
        spare.shrink_to(KEPT);
    }

    fn failed(&mut self, error: &io::Error) {
        if self.may_report() {
            tracing::error!(sink = %self.label, %error, "an access log cannot be written");
            self.last_report = Some(Instant::now());
            self.reported = self.shared.dropped.load(Relaxed);
        }
    }

    fn may_report(&self) -> bool {
        self.last_report.is_none_or(|last| last.elapsed() >= REPORT)
    }

    /// How long until lost lines may be told of; `None` where there is nothing to tell.
    fn next_report(&self) -> Option<Duration> {
        let last = self.last_report.filter(|_| self.shared.dropped.load(Relaxed) != self.reported)?;
        Some(REPORT.saturating_sub(last.elapsed()))
    }

    fn report(&mut self) {
        let dropped = self.shared.dropped.load(Relaxed);
        if dropped != self.reported && self.may_report() {
            tracing::warn!(sink = %self.label, lines = dropped - self.reported, "lines of an access log were lost");
            self.last_report = Some(Instant::now());
            self.reported = dropped;
        }
    }
}
