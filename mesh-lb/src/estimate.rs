//! Values that fade with time, each in one word: arithmetic and the writing of it.
//!
//! A word is a value that is not negative (the bits of an `f32`) and the moment it was written, in units of 2²⁰ ns
//! (1.05 ms) that wrap after 52 days. Zero is nothing known. Reading never writes, but for
//! failures that count for nothing any more: those it forgets.

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
    let value = if value > f32::MIN_POSITIVE { value } else { f32::MIN_POSITIVE };
    u64::from(value.to_bits()) << 32 | u64::from(stamp)
}

/// The value as it was written.
#[inline]
pub(crate) fn written(word: u64) -> f32 {
    f32::from_bits((word >> 32) as u32)
}

/// The age in units; below zero for a stamp of the future, from another thread's clock.
#[inline]
fn signed_age(word: u64, now: u32) -> i32 {
    now.wrapping_sub(word as u32) as i32
}

/// The same, where a stamp of the future has none.
#[inline]
fn age(word: u64, now: u32) -> f32 {
    signed_age(word, now).max(0) as f32
}

/// How much 2⁻ʸ bends between 0 and 1.
const BEND: f32 = 0.171_572_88;

/// 2⁻ʸ for y from 0, within 0.3 %, never rising: the whole part goes into the exponent, the rest through the parabola
/// that meets 2⁻ʸ at 0, ½ and 1.
#[inline]
pub(crate) fn half_power(halves: f32) -> f32 {
    let whole = halves as i32;
    if whole >= FORGOTTEN {
        return 0.0;
    }
    let part = halves - whole as f32;
    let mantissa = 1.0 - parabola(part);
    f32::from_bits(mantissa.to_bits() - ((whole as u32) << 23))
}

/// 1 − 2⁻ʸ: the part that is lost. Before one half-life is over it is the parabola itself.
#[inline]
pub(crate) fn lost(halves: f32) -> f32 {
    if halves < 1.0 { parabola(halves) } else { 1.0 - half_power(halves) }
}

#[inline]
fn parabola(part: f32) -> f32 {
    part * ((0.5 + BEND) - BEND * part)
}

/// Writes what `next` makes of the word, if it makes anything else of it.
fn update(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) {
    let mut seen = word.load(Relaxed);
    for _ in 0..=RETRIES {
        let Some(new) = next(seen) else { return };
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
    /// Units of age before a half-life is over.
    half_life: u32,
    /// The age in units below which an estimate is taken as it is.
    fresh: i32,
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
        Self {
            halves,
            half_life: (1.0 / halves) as u32,
            fresh: (decay / 16.0).ceil() as i32,
            rise,
            penalty: penalty.as_nanos() as f32,
        }
    }

    /// Whether the estimate is taken as it was [`written`]: most are.
    #[inline]
    pub(crate) fn is_fresh(&self, word: u64, now: u32) -> bool {
        word != 0 && signed_age(word, now) < self.fresh
    }

    /// The estimate at this moment: what is known fades towards `median`, which stands for what is not known.
    pub(crate) fn read(&self, word: u64, now: u32, median: f32) -> f32 {
        let value = written(word);
        match word {
            0 => median,
            _ if self.is_fresh(word, now) => value,
            _ => value + (median - value) * lost(age(word, now) * self.halves),
        }
    }

    /// A call was answered after so many nanoseconds.
    #[inline(always)]
    pub(crate) fn observe(&self, word: &AtomicU64, nanos: i64, now: Nanos) {
        let (seen, nanos, now) = (word.load(Relaxed), nanos as f32, stamp(now));
        // as in `moved`, for what is most often: it is not above what is known, and that is not old
        let (value, age) = (written(seen), signed_age(seen, now));
        if nanos <= value && (age as u32) < self.half_life {
            if age == 0 {
                return;
            }
            let new = pack(value + (nanos - value) * parabola(age as f32 * self.halves), now);
            if word.compare_exchange(seen, new, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
        self.observe_any(word, nanos, now);
    }

    /// The same, whatever is known.
    #[inline(never)]
    pub(crate) fn observe_any(&self, word: &AtomicU64, nanos: f32, now: u32) {
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
        update(word, |seen| if seen != 0 && nanos <= written(seen) { None } else { self.moved(seen, nanos, now) });
    }

    /// What a sample makes of a word; nothing, where it comes so soon after another that it does not count.
    #[inline]
    pub(crate) fn moved(&self, seen: u64, nanos: f32, now: u32) -> Option<u64> {
        if seen == 0 {
            return Some(pack(nanos, now));
        }
        let value = written(seen);
        if nanos > value {
            return Some(pack(value + (nanos - value) * self.rise, now));
        }
        let age = signed_age(seen, now);
        (age > 0).then(|| pack(value + (nanos - value) * lost(age as f32 * self.halves), now))
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
        update(word, |seen| Some(pack(faded(seen, now) + 1.0, now)));
    }

    /// How many count at this moment. Where none does any more they are forgotten, so that nobody reads a clock for
    /// them: it changes nothing for who reads.
    #[cold]
    #[inline(never)]
    pub(crate) fn count_or_forget(word: &AtomicU64, seen: u64, now: u32) -> u32 {
        let count = count(seen, now);
        if count == 0 {
            let _ = word.compare_exchange(seen, 0, Relaxed, Relaxed);
        }
        count
    }

    fn faded(word: u64, now: u32) -> f32 {
        if word == 0 { 0.0 } else { written(word) * half_power(age(word, now) / units(FAULT_HALF_LIFE)) }
    }
}
