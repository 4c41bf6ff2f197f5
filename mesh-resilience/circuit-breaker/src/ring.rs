//! The last N outcomes, one bit each, and how many of them are failures.
//!
//! A true ring: what falls out at the back is subtracted. (Totals that only grow take 100,000 failures to notice that a
//! service which answered 100,000 times has died.)
//!
//! # Why the number of failures cannot drift
//! It is changed by exactly those who change a bit, and by what the bit was before: of two threads that write the same
//! bit one finds it changed. A reset takes the words out one by one and subtracts the bits that it took. So, when no
//! thread is between the two steps, the number is that of the bits; while some are, it is off by as many at the most.

use super::sync::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// The most outcomes that can be kept: 2²⁰, in 128 KiB.
pub(crate) const MAX_CALLS: u64 = 1 << 20;
/// Segment `n` has 2ⁿ words: fifteen hold the largest ring, and a ring that grows moves nothing.
const SEGMENTS: usize = 15;

pub(crate) struct Ring {
    /// Outcomes that are kept; 0: none.
    size: AtomicU64,
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
    counts: Counts,
}

/// Written by every call: on cache lines of its own.
#[repr(align(128))]
struct Counts {
    /// Outcomes since the last reset.
    pushed: AtomicU64,
    failed: AtomicU64,
}

impl Ring {
    pub(crate) fn new(size: u64) -> Self {
        let ring = Self {
            size: AtomicU64::new(0),
            segments: [const { OnceLock::new() }; SEGMENTS],
            counts: Counts { pushed: AtomicU64::new(0), failed: AtomicU64::new(0) },
        };
        ring.set_size(size);
        ring
    }

    #[inline]
    pub(crate) fn size(&self) -> u64 {
        // acquire: its segments are there
        self.size.load(Ordering::Acquire)
    }

    /// Adds an outcome to a ring of this size, which is not 0, and gives how many were added since the last reset.
    #[inline]
    pub(crate) fn push(&self, size: u64, failed: bool) -> u64 {
        let number = self.counts.pushed.fetch_add(1, Ordering::Relaxed);
        // where nothing has failed there is no bit to take away. (One whose failure is not counted yet may be left; the
        // next round takes it, and until then it is counted.)
        if failed || self.counts.failed.load(Ordering::Relaxed) != 0 {
            self.set(number % size, failed);
        }
        number + 1
    }

    #[inline(never)]
    fn set(&self, slot: u64, failed: bool) {
        let (word, bit) = (self.word(slot / 64), 1 << (slot % 64));
        if failed {
            if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
            }
        // most often it is a success already, and nothing shared is written
        } else if word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::Relaxed) & bit != 0 {
            self.counts.failed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many outcomes are kept, and how many of them are failures.
    #[inline]
    pub(crate) fn totals(&self) -> (u64, u64) {
        let total = self.counts.pushed.load(Ordering::Relaxed).min(self.size());
        (total, self.failed())
    }

    #[inline]
    fn failed(&self) -> u64 {
        // a subtraction may come before its addition
        (self.counts.failed.load(Ordering::Relaxed) as i64).max(0) as u64
    }

    /// Forgets all outcomes.
    pub(crate) fn reset(&self) {
        let words = self.size().div_ceil(64);
        for index in 0..words {
            let taken = self.word(index).swap(0, Ordering::Relaxed);
            self.counts.failed.fetch_sub(u64::from(taken.count_ones()), Ordering::Relaxed);
        }
        self.counts.pushed.store(0, Ordering::Relaxed);
    }

    /// Keeps another number of outcomes: the latest stay, as many as there is room for.
    pub(crate) fn set_size(&self, size: u64) {
        let size = size.min(MAX_CALLS);
        let old = self.size();
        if size == old {
            return;
        }
        let pushed = self.counts.pushed.load(Ordering::Relaxed);
        let kept = pushed.min(old).min(size);
        let latest: Vec<bool> = (pushed - kept..pushed).map(|number| self.has_failed(number % old)).collect();
        self.reset();
        for segment in 0..SEGMENTS {
            if (1 << segment) - 1 < size.div_ceil(64) {
                self.segments[segment].get_or_init(|| (0..1 << segment).map(|_| AtomicU64::new(0)).collect());
            }
        }
        self.size.store(size, Ordering::Release);
        for failed in latest {
            self.push(size, failed);
        }
    }

    fn has_failed(&self, slot: u64) -> bool {
        self.word(slot / 64).load(Ordering::Relaxed) & 1 << (slot % 64) != 0
    }

    #[inline]
    fn word(&self, index: u64) -> &AtomicU64 {
        // segment n begins at word 2ⁿ − 1
        let segment = (index + 1).ilog2();
        let words = self.segments[segment as usize].get().expect("a size is set after its segments are made");
        &words[(index + 1 - (1 << segment)) as usize]
    }

    /// The failures, counted bit by bit.
    #[cfg(test)]
    pub(crate) fn failed_bits(&self) -> u64 {
        (0..self.size().div_ceil(64))
            .map(|index| u64::from(self.word(index).load(Ordering::Relaxed).count_ones()))
            .sum()
    }
}
