//! Values that fade with time, each in one word: arithmetic and the writing of it.
//!
//! A word is a value that is not negative (the bits of an `f32`) and the moment it was written, in units of 2²⁰ ns
//! (1.05 ms) that wrap after 52 days. Zero is nothing known. Reading never writes.

use super::sync::{AtomicU64, Ordering::Relaxed};
use mesh_core::Nanos;
use std::time::Duration;

/// How often a write that others were faster than is tried again; then it is dropped: one sample among thousands.
const RETRIES: usize = 2;
/// Half-lives after which nothing is left of a value.
const FORGOTTEN: i32 = 64;
/// The longest time that a failure counts for by what others take. Without an end twice the median would double
/// itself while everything fails.
const LONGEST_FAILURE: f32 = 60e9;
/// A failure of late counts half as much after this time, as a call in flight.
const FAULT_HALF_LIFE: Duration = Duration::from_secs(10);

/// A moment in the units of a word.
#[inline]
pub(crate) fn stamp(now: Nanos) -> u32 {
    (now.as_nanos() >> 20) as u32
}

#[inline]
fn units(duration: Duration) -> f32 {
    duration.as_nanos() as f32 / (1_u32 << 20) as f32
}

#[inline]
fn pack(value: f32, stamp: u32) -> u64 {
    // so that no word with a value is zero
    u64::from(value.max(f32::MIN_POSITIVE).to_bits()) << 32 | u64::from(stamp)
}

/// The value as it was written.
#[inline]
pub(crate) fn written(word: u64) -> f32 {
    f32::from_bits((word >> 32) as u32)
}

/// The age in units; a stamp of the future, from another thread's clock, has none.
#[inline]
fn age(word: u64, now: u32) -> f32 {
    (now.wrapping_sub(word as u32) as i32).max(0) as f32
}

/// 2⁻ʸ for y from 0, within 0.3 %, never rising: the whole part goes into the exponent, the rest through the parabola
/// that meets 2⁻ʸ at 0, ½ and 1.
#[inline]
pub(crate) fn half_power(halves: f32) -> f32 {
    const BEND: f32 = 0.171_572_88;
    let whole = halves as i32;
    if whole >= FORGOTTEN {
        return 0.0;
    }
    let part = halves - whole as f32;
    let mantissa = 1.0 - part * ((0.5 + BEND) - BEND * part);
    f32::from_bits(mantissa.to_bits() - ((whole as u32) << 23))
}

/// Writes what `next` makes of the word.
#[inline]
fn update(word: &AtomicU64, next: impl Fn(u64) -> u64) {
    let mut seen = word.load(Relaxed);
    for _ in 0..=RETRIES {
        let new = next(seen);
        if new == seen {
            return;
        }
        match word.compare_exchange(seen, new, Relaxed, Relaxed) {
            Ok(_) => return,
            Err(other) => seen = other,
        }
    }
}

/// How estimates of latency move: settings as arithmetic needs them. Values are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Half-lives per unit of age.
    halves: f32,
    /// The age in units below which an estimate is taken as it is.
    fresh: f32,
    /// Which part of the way up a sample above the estimate goes.
    rise: f32,
    /// What a failure counts for at the least.
    penalty: f32,
}

impl Rates {
    pub(crate) fn new(decay: Duration, rise: f32, penalty: Duration) -> Self {
        // after `decay` a part of 1/e is left
        let decay = units(decay).max(1.0);
        let halves = std::f32::consts::LOG2_E / decay;
        Self { halves, fresh: decay / 16.0, rise, penalty: penalty.as_nanos() as f32 }
    }

    /// The estimate at this moment: what is known fades towards `median`, which stands for what is not known.
    #[inline]
    pub(crate) fn read(&self, word: u64, now: u32, median: f32) -> f32 {
        if word == 0 {
            return median;
        }
        let (value, age) = (written(word), age(word, now));
        if age < self.fresh {
            return value;
        }
        median + (value - median) * half_power(age * self.halves)
    }

    /// A call was answered after so long.
    #[inline]
    pub(crate) fn observe(&self, word: &AtomicU64, nanos: f32, now: u32) {
        update(word, |seen| self.moved(seen, nanos, now));
    }

    /// A call failed after so long: it counts as a slow one, so that failing fast does not attract.
    #[cold]
    pub(crate) fn observe_failure(&self, word: &AtomicU64, nanos: f32, now: u32, median: f32) {
        let nanos = nanos.max(self.penalty).max((2.0 * median).min(LONGEST_FAILURE));
        update(word, |seen| self.moved(seen, nanos, now));
    }

    /// A call was given up after so long: it would have taken longer.
    #[cold]
    pub(crate) fn observe_at_least(&self, word: &AtomicU64, nanos: f32, now: u32) {
        update(word, |seen| if seen != 0 && nanos <= written(seen) { seen } else { self.moved(seen, nanos, now) });
    }

    #[inline]
    pub(crate) fn moved(&self, seen: u64, nanos: f32, now: u32) -> u64 {
        if seen == 0 {
            return pack(nanos, now);
        }
        let value = written(seen);
        if nanos > value {
            return pack(value + (nanos - value) * self.rise, now);
        }
        let age = age(seen, now);
        if age == 0.0 {
            return seen;
        }
        pack(value + (nanos - value) * (1.0 - half_power(age * self.halves)), now)
    }
}

/// Failures of late, each of which counts as a call in flight and fades.
pub(crate) mod faults {
    use super::{AtomicU64, FAULT_HALF_LIFE, Relaxed, age, half_power, pack, units, update, written};

    /// So many calls at this moment, to the nearest.
    #[inline]
    pub(crate) fn count(word: u64, now: u32) -> u32 {
        (faded(word, now) + 0.5) as u32
    }

    /// One more.
    #[cold]
    pub(crate) fn add(word: &AtomicU64, now: u32) {
        update(word, |seen| pack(faded(seen, now) + 1.0, now));
    }

    /// Forgets what does not count any more, so that nobody reads a clock for it.
    #[cold]
    pub(crate) fn forget(word: &AtomicU64, now: u32) {
        let seen = word.load(Relaxed);
        if seen != 0 && count(seen, now) == 0 {
            let _ = word.compare_exchange(seen, 0, Relaxed, Relaxed);
        }
    }

    fn faded(word: u64, now: u32) -> f32 {
        if word == 0 { 0.0 } else { written(word) * half_power(age(word, now) / units(FAULT_HALF_LIFE)) }
    }
}
