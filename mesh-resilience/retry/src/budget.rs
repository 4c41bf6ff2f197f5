//! The decision core of the budget: how many retries there may be for the requests there are. Integer arithmetic on
//! moments that come in.
//!
//! A retry costs one, a request that was sent on earns [`BudgetSettings::ratio`], each second earns
//! [`BudgetSettings::reserve`]. So over any time `t` since the budget was made
//!
//! ```text
//! retries ≤ ratio · requests + reserve · (t + 1 s)
//! ```
//!
//! exactly: counts are whole millionths, and nothing is rounded up. (Finagle's and linkerd's ratio bucket, whose tokens
//! expire by a ring of counters; here what is saved is capped instead, so that a request that succeeds writes nothing
//! while the budget is full.)

use super::sync::{AtomicI64, Relaxed};
use crate::settings::BudgetSettings;
use mesh_core::Nanos;

/// One retry, in the unit of all counts.
const ONE: i64 = 1_000_000;

/// What has been used of a budget, to be shared.
///
/// The balance at a moment is what the reserve has earned by then less `used`: a clock is only read by those who want to
/// retry.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Retries less deposits, and less what was beyond the cap.
    used: AtomicI64,
    /// The value of `used` at which the budget was full when somebody last looked: no deposit is made below it.
    full: AtomicI64,
}

/// The settings in the units of the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What a request earns.
    deposit: i64,
    /// What a second earns, in retries.
    reserve: u32,
    /// The most that is saved.
    cap: i64,
    /// When the budget began.
    origin: Nanos,
}

impl Terms {
    pub(crate) fn new(settings: &BudgetSettings, origin: Nanos) -> Self {
        // a reserve of one retry a second is a thousand units in a millisecond
        let saved = u128::from(settings.reserve).saturating_mul(settings.ttl.as_millis()).saturating_mul(1_000);
        Self {
            deposit: settings.ratio.ppm().into(),
            reserve: settings.reserve,
            cap: i64::try_from(saved).unwrap_or(i64::MAX).clamp(ONE, i64::MAX / 4),
            origin,
        }
    }

    /// What the reserve has earned by `now`, and the second that it begins with.
    fn earned(&self, now: Nanos) -> i64 {
        let nanos = now.since(self.origin).as_nanos() + 1_000_000_000;
        // a reserve of one retry a second is one unit in 1,000 ns
        let units = nanos * u128::from(self.reserve) / 1_000;
        i64::try_from(units).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
    }
}

impl Budget {
    /// A budget with the reserve's first second in it.
    pub(crate) fn new() -> Self {
        Self { used: AtomicI64::new(0), full: AtomicI64::new(i64::MIN) }
    }

    /// A request was sent on. While the budget is full this is two loads.
    #[inline]
    pub(crate) fn deposit(&self, terms: &Terms) {
        let used = self.used.load(Relaxed);
        let full = self.full.load(Relaxed);
        // before anybody has looked, it is full where the first second leaves it so
        let full = if full == i64::MIN { i64::from(terms.reserve).saturating_mul(ONE) - terms.cap } else { full };
        if used > full {
            self.used.fetch_sub(terms.deposit, Relaxed);
        }
    }

    /// Takes a retry, if there is one.
    pub(crate) fn withdraw(&self, terms: &Terms, now: Nanos) -> bool {
        let earned = terms.earned(now);
        let full = earned.saturating_sub(terms.cap);
        self.full.fetch_max(full, Relaxed);
        self.used
            .fetch_update(Relaxed, Relaxed, |used| {
                let used = used.max(full);
                (earned - used >= ONE).then_some(used + ONE)
            })
            .is_ok()
    }

    /// What there is, in millionths of a retry.
    pub(crate) fn balance(&self, terms: &Terms, now: Nanos) -> i64 {
        let earned = terms.earned(now);
        earned - self.used.load(Relaxed).max(earned.saturating_sub(terms.cap))
    }

    /// Goes on under other terms with what there is, as far as they let it be saved. A retry that is decided at this
    /// moment counts under either.
    pub(crate) fn retune(&self, from: &Terms, to: &Terms, now: Nanos) {
        let balance = self.balance(from, now).min(to.cap);
        let earned = to.earned(now);
        self.used.store(earned - balance, Relaxed);
        self.full.store(earned.saturating_sub(to.cap), Relaxed);
    }
}
