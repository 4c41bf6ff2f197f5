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
    /// What a request earns.
    deposit: AtomicI64,
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

    /// The value of `used` at which the budget is full.
    fn full(&self, now: Nanos) -> i64 {
        self.earned(now).saturating_sub(self.cap)
    }
}

impl Budget {
    /// A budget with the reserve's first second in it; without terms one that nobody asks.
    pub(crate) fn new(terms: Option<&Terms>) -> Self {
        let (full, deposit) = terms.map_or((i64::MAX, 0), |terms| (terms.full(terms.origin), terms.deposit));
        Self { used: AtomicI64::new(0), full: AtomicI64::new(full), deposit: AtomicI64::new(deposit) }
    }

    /// A request was sent on. While the budget is full this is two loads.
    #[inline]
    pub(crate) fn deposit(&self) {
        if self.used.load(Relaxed) > self.full.load(Relaxed) {
            self.used.fetch_sub(self.deposit.load(Relaxed), Relaxed);
        }
    }

    /// Takes a retry, if there is one.
    pub(crate) fn withdraw(&self, terms: &Terms, now: Nanos) -> bool {
        let earned = terms.earned(now);
        let full = terms.full(now);
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
        earned - self.used.load(Relaxed).max(terms.full(now))
    }

    /// Goes on under other terms with what there is, as far as they let it be saved; a budget that was off begins anew.
    /// A retry that is decided at this moment counts under either.
    pub(crate) fn retune(&self, from: Option<&Terms>, to: Option<&Terms>, now: Nanos) {
        let Some(to) = to else {
            self.full.store(i64::MAX, Relaxed);
            return;
        };
        let begins = i64::from(to.reserve).saturating_mul(ONE);
        let balance = from.map_or(begins, |from| self.balance(from, now)).min(to.cap);
        self.used.store(to.earned(now) - balance, Relaxed);
        self.full.store(to.full(now), Relaxed);
        self.deposit.store(to.deposit, Relaxed);
    }
}
