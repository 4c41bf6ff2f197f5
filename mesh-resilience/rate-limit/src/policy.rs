//! The decision core: GCRA in one atomic word. No tower, no tokio, no I/O; `now` comes in, a decision comes out.
//!
//! The generic cell rate algorithm (ITU-T I.371) keeps one number, the *theoretical arrival time* `TAT`: the moment at
//! which the bucket will be full again. A request of `n` cells at `t` computes `new = max(TAT, t) + n·T` with the
//! emission interval `T`, is admitted iff `new − t ≤ B·T`, and then stores `new` by compare-and-swap. That is a token
//! bucket of size `B`, refilled at `1/T`, without a refill.
//!
//! # Why it is exact
//! Time is counted in the units of [`Scale`], of which both a nanosecond and a cell are whole numbers, so nothing is
//! rounded. Whole nanoseconds, the usual choice, run 67 % fast at 600 million per second; a fixed fraction of a
//! nanosecond only moves the error to higher rates.
//!
//! # Why a late thread admits nothing extra
//! A thread may be stopped between its reading of the clock and its compare-and-swap, for as long as the scheduler
//! likes. A stored `TAT` never passes `reading + B·T`, and is never below the one before plus `n·T`; so in any window of
//! readings of length `L` at most `B + L/T` cells are admitted, in whatever order the threads come to store. A reading
//! behind the stored state counts as "no time has passed".
//!
//! # Why the quota can change under load
//! The word carries, in its low bits, the number of the quota that its value is counted in; that quota lies in one of
//! two slots, chosen by the number's parity. Whoever changes the quota fills the other slot and then moves value and
//! number in one compare-and-swap, so no admission is lost or counted twice. A reader that was overtaken finds another
//! number and starts again. The number is short: a reader that sleeps through 32 changes *and* finds the very same
//! value would act on the quota it began with, once.

use super::{
    quota::{MAX_DEBT, Quota, Scale},
    sync::{AtomicU64, Mutex, Ordering, spin_loop},
};
use mesh_core::Nanos;
use std::{sync::PoisonError, time::Duration};

const GENERATION_BITS: u32 = 5;
const GENERATION: u64 = (1 << GENERATION_BITS) - 1;
const MAX_VALUE: u64 = u64::MAX >> GENERATION_BITS;
/// A compare-and-swap that has failed so often meets a crowd.
const CROWD: u32 = 8;

/// What a limiter decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The cells are taken; what is left.
    Admitted(Room),
    /// Nothing was taken and nothing was written.
    Denied {
        /// How long until the same request would be admitted, if no other came first. Exact to the nanosecond.
        wait: Duration,
    },
    /// More cells than the burst: no wait would help.
    NeverFits,
}

/// What is left in the bucket after an admission. It costs a division, done when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    units: u64,
    cell: u64,
}

impl Room {
    /// What a limiter that is off has.
    pub const UNLIMITED: Room = Room { units: u64::MAX, cell: 1 };

    /// Whole cells that would be admitted now; [`u32::MAX`] where nothing is limited.
    pub fn cells(self) -> u32 {
        u32::try_from(self.units / self.cell).unwrap_or(u32::MAX)
    }
}

/// A token bucket in one atomic word, shared by reference between threads. See the crate's front page for what it
/// costs.
#[derive(Debug)]
pub struct Gcra {
    word: Padded,
    slots: [Slot; 2],
    /// The quota last set, and whether it is in force. Whoever holds the lock may fill a slot.
    setting: Mutex<Setting>,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    quota: Option<Quota>,
    on: bool,
}

/// Written at every admission: on a cache line (and its prefetched neighbour) of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

impl Gcra {
    /// A limiter that starts full. `None`: off, everything is admitted.
    pub fn new(quota: Option<Quota>) -> Self {
        let view = View { on: quota.is_some(), epoch: 0, scale: quota.map_or(Scale::IDLE, |q| q.scale()) };
        Self {
            word: Padded(AtomicU64::new(0)),
            slots: [Slot::new(view), Slot::new(view)],
            setting: Mutex::new(Setting { quota, on: quota.is_some() }),
        }
    }

    /// Takes `n` cells at `now`, or says when they could be had. `n` = 0 is a peek: it is admitted and takes nothing.
    ///
    /// Lock-free: a failed compare-and-swap means that another thread was admitted. (Now and then one call takes a lock
    /// to move the epoch of the units: after 4.5 years at rates that divide a second, days at most others, never
    /// sooner than 8 seconds.)
    #[inline]
    pub fn check(&self, n: u32, now: Nanos) -> Decision {
        self.check_by(n, || now, || ())
    }

    /// `now` is asked only where a quota is in force. `before_swap` runs between the decision and its compare-and-swap,
    /// where a thread may lose its core.
    #[inline]
    pub(crate) fn check_by(&self, n: u32, now: impl Fn() -> Nanos, mut before_swap: impl FnMut()) -> Decision {
        let mut failures = 0;
        let mut word = self.word.0.load(Ordering::Acquire);
        loop {
            let Some(view) = self.slot(word).read_if_on() else { return Decision::Admitted(Room::UNLIMITED) };
            let now = now();
            let Some(present) = view.units(now) else {
                word = self.rebase(now);
                continue;
            };
            let cost = u64::from(n).saturating_mul(view.scale.cell);
            // how far the bucket is from full
            let debt = (word >> GENERATION_BITS).saturating_sub(present);
            let owed = debt.saturating_add(cost);
            if owed > view.scale.limit || n == 0 {
                match self.decide_unwritten(word, n, present, now) {
                    Ok(decision) => return decision,
                    Err(seen) => word = seen,
                }
                continue;
            }
            before_swap();
            match self.swap(word, present.wrapping_add(owed)) {
                Ok(()) => return Decision::Admitted(Room { units: view.scale.limit - owed, cell: view.scale.cell }),
                Err(seen) => word = seen,
            }
            failures += 1;
            if failures >= CROWD {
                spin_loop();
            }
        }
    }

    /// What takes nothing. As nothing is written, it has still to be seen that the quota was not read half before and
    /// half after a change: else the word to begin again with.
    #[inline(never)]
    fn decide_unwritten(&self, word: u64, n: u32, present: u64, now: Nanos) -> Result<Decision, u64> {
        let view = self.slot(word).read();
        let Scale { cell, limit, .. } = view.scale;
        let debt = (word >> GENERATION_BITS).saturating_sub(present);
        let cost = u64::from(n).saturating_mul(cell);
        let decision = if cost > limit {
            Decision::NeverFits
        } else if n == 0 {
            Decision::Admitted(Room { units: limit.saturating_sub(debt), cell })
        } else {
            let excess = (debt + cost).saturating_sub(limit);
            Decision::Denied { wait: view.until(present.saturating_add(excess), now) }
        };
        let seen = self.word.0.load(Ordering::Acquire);
        if (seen ^ word) & GENERATION == 0 { Ok(decision) } else { Err(seen) }
    }

    /// Corrects an earlier admission whose true cost is known only now: `difference` = actual − admitted cells.
    ///
    /// Positive: taken unconditionally, so the bucket may go below empty and later requests wait for it to come back.
    /// Negative: given back, never beyond full.
    pub fn settle(&self, difference: i64, now: Nanos) {
        let mut word = self.word.0.load(Ordering::Acquire);
        loop {
            let Some(view) = self.slot(word).read_if_on() else { return };
            let Some(present) = view.units(now) else {
                word = self.rebase(now);
                continue;
            };
            let amount = difference.unsigned_abs().saturating_mul(view.scale.cell).min(MAX_DEBT);
            let debt = (word >> GENERATION_BITS).saturating_sub(present);
            let debt = if difference < 0 { debt.saturating_sub(amount) } else { debt + amount };
            match self.swap(word, present.wrapping_add(debt.min(MAX_DEBT))) {
                Ok(()) => return,
                Err(other) => word = other,
            }
        }
    }

    /// Whole cells that would be admitted at `now`; [`u32::MAX`] when off.
    pub fn available(&self, now: Nanos) -> u32 {
        match self.check(0, now) {
            Decision::Admitted(room) => room.cells(),
            Decision::Denied { .. } | Decision::NeverFits => 0,
        }
    }

    /// The quota in force; `None` when off.
    pub fn quota(&self) -> Option<Quota> {
        let setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        setting.quota.filter(|_| setting.on)
    }

    /// Puts another quota in force, or none, without refilling: **the debt is kept in cells.** What was admitted and
    /// not yet paid back is charged against the new burst and paid back at the new rate.
    ///
    /// So a larger burst gives the difference at once; a smaller one may be exceeded by the debt, and then nothing is
    /// admitted until that has shrunk; and no sequence of changes yields more at one moment than the largest burst
    /// among them. Off, the debt goes on being paid at the last rate.
    pub fn set_quota(&self, quota: Option<Quota>, now: Nanos) {
        let mut setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.slot(self.word.0.load(Ordering::Acquire)).read();
        let scale = quota.map_or(old.scale, |quota| quota.scale());
        *setting = Setting { quota: quota.or(setting.quota), on: quota.is_some() };
        self.install(&old, scale, quota.is_some(), now);
    }

    /// Moves the epoch up to `now` where that is beyond the horizon; the word after that.
    #[cold]
    fn rebase(&self, now: Nanos) -> u64 {
        let _filling = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let word = self.word.0.load(Ordering::Acquire);
        let old = self.slot(word).read();
        if old.units(now).is_some() {
            return word;
        }
        self.install(&old, old.scale, old.on, now)
    }

    /// With the lock held: fills the slot not in use and moves to it.
    fn install(&self, old: &View, scale: Scale, on: bool, now: Nanos) -> u64 {
        // Behind `now`, for threads that read the clock a while ago.
        let epoch = now.as_nanos().saturating_sub(scale.horizon / 4);
        let new = View { on, epoch, scale };
        let mut word = self.word.0.load(Ordering::Acquire);
        let generation = (word + 1) & GENERATION;
        self.slot(generation).fill(new);
        loop {
            let debt = u128::from(word >> GENERATION_BITS).saturating_sub(old.far_units(now));
            let debt = (debt * u128::from(scale.cell)).div_ceil(u128::from(old.scale.cell));
            let value = new.far_units(now) + debt.min(u128::from(MAX_DEBT));
            let next = (value as u64) << GENERATION_BITS | generation;
            match self.word.0.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return next,
                Err(other) => word = other,
            }
        }
    }

    #[inline]
    fn slot(&self, word: u64) -> &Slot {
        &self.slots[(word & 1) as usize]
    }

    /// Stores another value if the word is still the one read. (If it is not, the value may be nonsense: it was made
    /// of two quotas.)
    #[inline]
    fn swap(&self, word: u64, value: u64) -> Result<(), u64> {
        let next = value.min(MAX_VALUE) << GENERATION_BITS | word & GENERATION;
        self.word.0.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

/// A quota as the hot path reads it.
#[derive(Clone, Copy, Debug)]
struct View {
    on: bool,
    /// Nanoseconds of the clock at which the units of the word begin.
    epoch: u64,
    scale: Scale,
}

impl View {
    /// `now` in units since the epoch, zero before it; `None` beyond the horizon.
    #[inline]
    fn units(&self, now: Nanos) -> Option<u64> {
        let elapsed = now.as_nanos().saturating_sub(self.epoch);
        // wrapping: the view of a reader that was overtaken may mix two quotas
        (elapsed <= self.scale.horizon).then(|| elapsed.wrapping_mul(self.scale.count) >> self.scale.shift)
    }

    /// The same at any distance.
    fn far_units(&self, now: Nanos) -> u128 {
        let elapsed = now.as_nanos().saturating_sub(self.epoch);
        (u128::from(elapsed) * u128::from(self.scale.count)) >> self.scale.shift
    }

    /// From `now` to the first nanosecond that reads as `units` or more.
    fn until(&self, units: u64, now: Nanos) -> Duration {
        let (count, shift) = (self.scale.count, self.scale.shift);
        let elapsed = match shift {
            0 => units.div_ceil(count),
            _ => u64::try_from((u128::from(units) << shift).div_ceil(u128::from(count))).unwrap_or(u64::MAX),
        };
        Duration::from_nanos(self.epoch.saturating_add(elapsed).saturating_sub(now.as_nanos()))
    }
}

/// A [`View`] in atomics. Loads acquire and stores release: who reads a value of a later filling will also see that
/// the word has moved on.
#[derive(Debug)]
struct Slot {
    epoch: AtomicU64,
    horizon: AtomicU64,
    /// `count` in the low half, above it `shift`, and `on` in bit 63.
    clock: AtomicU64,
    cell: AtomicU64,
    limit: AtomicU64,
}

const ON: u64 = 1 << 63;

impl Slot {
    fn new(view: View) -> Self {
        let slot = Self {
            epoch: AtomicU64::new(0),
            horizon: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            cell: AtomicU64::new(0),
            limit: AtomicU64::new(0),
        };
        slot.fill(view);
        slot
    }

    fn fill(&self, view: View) {
        let Scale { count, shift, cell, limit, horizon } = view.scale;
        let on = if view.on { ON } else { 0 };
        self.epoch.store(view.epoch, Ordering::Release);
        self.horizon.store(horizon, Ordering::Release);
        self.clock.store(count | u64::from(shift) << 32 | on, Ordering::Release);
        self.cell.store(cell, Ordering::Release);
        self.limit.store(limit, Ordering::Release);
    }

    fn read(&self) -> View {
        self.read_with(self.clock.load(Ordering::Acquire))
    }

    #[inline]
    fn read_if_on(&self) -> Option<View> {
        let clock = self.clock.load(Ordering::Acquire);
        (clock & ON != 0).then(|| self.read_with(clock))
    }

    #[inline]
    fn read_with(&self, clock: u64) -> View {
        View {
            on: clock & ON != 0,
            epoch: self.epoch.load(Ordering::Acquire),
            scale: Scale {
                count: clock & u64::from(u32::MAX),
                shift: (clock >> 32) as u32 & 63,
                cell: self.cell.load(Ordering::Acquire),
                limit: self.limit.load(Ordering::Acquire),
                horizon: self.horizon.load(Ordering::Acquire),
            },
        }
    }
}
