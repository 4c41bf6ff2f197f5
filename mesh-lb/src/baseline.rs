//! What an endpoint of which nothing is known is taken to need: the median of the others.

use super::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use mesh_core::Nanos;
use std::time::Duration;

/// How many endpoints are looked at; of more than that, so many drawn at random. Their median lies between the 40th
/// and the 60th percentile of all in 19 of 20 cases, which is what a stand-in for the unknown needs; looking at them
/// takes some microseconds once a second, for ten thousand endpoints too.
pub(crate) const LOOKED_AT: usize = 101;
/// How often.
const PERIOD: Duration = Duration::from_secs(1);
/// How often as long as nothing is known of any of them.
const PERIOD_UNKNOWN: Duration = Duration::from_millis(1);

/// The median, in nanoseconds, and when it is to be looked for again.
#[derive(Debug)]
pub(crate) struct Baseline {
    median: AtomicU32,
    due: AtomicU64,
}

impl Baseline {
    pub(crate) fn new(first: Duration) -> Self {
        Self { median: AtomicU32::new((first.as_nanos() as f32).to_bits()), due: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn median(&self) -> f32 {
        f32::from_bits(self.median.load(Relaxed))
    }

    #[inline]
    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        now.as_nanos() >= self.due.load(Relaxed)
    }

    /// One of those who find that it is due looks: at the values that `look` puts into its argument, of which it gives
    /// the number.
    #[cold]
    pub(crate) fn refresh(&self, now: Nanos, look: impl FnOnce(&mut [f32; LOOKED_AT]) -> usize) {
        let due = self.due.load(Relaxed);
        let next = |period| now.plus(period).as_nanos();
        if due > now.as_nanos() || self.due.compare_exchange(due, next(PERIOD), Relaxed, Relaxed).is_err() {
            return;
        }
        let mut values = [0.0; LOOKED_AT];
        match look(&mut values) {
            0 => self.due.store(next(PERIOD_UNKNOWN), Relaxed),
            count => {
                let values = &mut values[..count];
                let (_, median, _) = values.select_nth_unstable_by((count - 1) / 2, f32::total_cmp);
                self.median.store(median.to_bits(), Relaxed);
            }
        }
    }
}
