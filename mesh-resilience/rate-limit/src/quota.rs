//! A quota, and the units in which the limiter counts it exactly.

use mesh_core::units::Rate;
use std::{fmt, num::NonZeroU32};

/// How much is admitted: `rate` in the long run, and up to `burst` at once.
///
/// In every window of length `L` at most `burst + rate · L` cells (requests, unless weighed otherwise) are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    rate: Rate,
    burst: NonZeroU32,
}

impl Quota {
    /// A quota whose burst is what the rate gives in one second, rounded up, so at least 1: `100/s` and `6000/m` allow
    /// 100 at once, `5/d` allows 1.
    ///
    /// So a rate alone means what it says of any second at rest. Others choose otherwise: Envoy's local limit has no
    /// default (`max_tokens` must be given), nginx's `limit_req` allows one at a time (`burst=0`), `governor` a whole
    /// period's count.
    pub fn new(rate: Rate) -> Self {
        let cells = u128::from(rate.count().get()) * 1_000_000_000;
        let burst = cells.div_ceil(u128::from(nanos(rate)));
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Self { rate, burst }
    }

    /// The same rate with this burst.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// The rate in the long run.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// How many at once, after a time of rest.
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    pub(crate) fn scale(&self) -> Scale {
        Scale::of(self.rate.count().get(), nanos(self.rate), self.burst.get())
    }
}

impl From<Rate> for Quota {
    fn from(rate: Rate) -> Self {
        Self::new(rate)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (burst {})", self.rate, self.burst)
    }
}

/// A rate's period: never zero, and it fits, by `Rate`'s own invariant.
fn nanos(rate: Rate) -> u64 {
    u64::try_from(rate.per().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The longest whole bucket, in units (57 bits): with the moment itself it fits the 59 bits of a value.
const MAX_LIMIT: u64 = 1 << 57;
/// The largest debt that a settlement can leave, in units: twice the longest bucket.
pub(crate) const MAX_DEBT: u64 = 1 << 58;
/// The finest unit: this many to a nanosecond. A rate that would need a finer one is rounded down by less than 10⁻⁷.
const MAX_COUNT: u64 = 1 << 24;

/// Time in units of which a nanosecond and a cell are whole numbers: 100 cells in 7 ns are counted in hundredths of a
/// nanosecond, where a cell is 7. So neither the emission interval nor the clock is ever rounded, at any rate whose
/// reduced fraction has at most [`MAX_COUNT`] cells (every whole number up to 16 million per second, and the round
/// ones above).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Units in a nanosecond (divided by 2^`shift`).
    pub(crate) count: u64,
    /// Zero unless the whole bucket would take more than 4.5 years · `count` to fill: then units are coarser.
    pub(crate) shift: u32,
    /// Units in a cell: the emission interval.
    pub(crate) cell: u64,
    /// Units in the whole bucket.
    pub(crate) limit: u64,
    /// Nanoseconds after which the epoch must move for the value to fit.
    pub(crate) horizon: u64,
}

impl Scale {
    /// Of a limiter that never had a quota.
    pub(crate) const IDLE: Scale = Scale { count: 1, shift: 0, cell: 1, limit: 1, horizon: MAX_LIMIT };

    /// For `count` cells in `period` nanoseconds, none of them zero.
    pub(crate) fn of(count: u64, period: u64, burst: u32) -> Self {
        let common = gcd(count, period);
        let (mut count, mut cell) = (count / common, period / common);
        if count > MAX_COUNT {
            // Fits: the quotient is below `cell`. Rounded up, so the rate errs downwards.
            let scaled = (u128::from(cell) * u128::from(MAX_COUNT)).div_ceil(u128::from(count));
            (count, cell) = (MAX_COUNT, scaled as u64);
        }
        let burst = u64::from(burst);
        let excess = (u128::from(burst) * u128::from(cell)).div_ceil(u128::from(MAX_LIMIT));
        let shift = excess.next_power_of_two().trailing_zeros();
        let cell = cell.div_ceil(1 << shift);
        // With a shift the whole bucket may pass the bound by what rounding up adds to each cell: below 2^32.
        let limit = burst * cell;
        let horizon = u64::try_from(u128::from(MAX_LIMIT) << shift).unwrap_or(u64::MAX).min(1 << 63) / count;
        Self { count, shift, cell, limit, horizon }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
