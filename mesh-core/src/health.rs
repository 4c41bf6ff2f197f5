//! Reasons to leave an endpoint alone.

use crate::{Nanos, time};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// A reason to leave an endpoint alone. Each has one writer; the endpoint is eligible while none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HealthFlag {
    /// Its circuit breaker is open.
    CircuitOpen = 1,
    /// It stood out as bad among its peers.
    Ejected = 1 << 1,
    /// An active check failed.
    CheckFailed = 1 << 2,
    /// It has left the set and finishes what it has.
    Draining = 1 << 3,
    /// It asked to be left alone for a while.
    Pushback = 1 << 4,
}

impl HealthFlag {
    /// All of them.
    pub const ALL: [HealthFlag; 5] = [
        HealthFlag::CircuitOpen,
        HealthFlag::Ejected,
        HealthFlag::CheckFailed,
        HealthFlag::Draining,
        HealthFlag::Pushback,
    ];

    /// The name that `/clusters` and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthFlag::CircuitOpen => "circuit_open",
            HealthFlag::Ejected => "ejected",
            HealthFlag::CheckFailed => "check_failed",
            HealthFlag::Draining => "draining",
            HealthFlag::Pushback => "pushback",
        }
    }
}

/// The health of an endpoint: written by breakers, ejection and checks, read by balancers.
///
/// A reason may have an end, so that nobody needs a timer to take it back: an open breaker says until when, and the
/// first request after that is its trial.
///
/// Where reasons speak against too many of a set, leaving those alone would only break the rest: then a balancer
/// [spares](Self::spare_until) them all for a while.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Health {
    flags: AtomicU32,
    /// When each reason ends, in nanoseconds; of those that are set.
    ends: [AtomicU64; HealthFlag::ALL.len()],
    /// Until when reasons are passed over.
    spared: AtomicU64,
}

impl Health {
    /// Whether it may be picked at this moment: nothing speaks against it, or it is spared. One load; where there is a
    /// reason, a reading of the clock.
    #[inline]
    pub fn is_eligible(&self) -> bool {
        self.is_clear() || self.is_spared() || self.is_healthy()
    }

    /// Whether there is no reason, not even one that is over: one load, which is all that a pick needs as a rule.
    #[inline]
    pub fn is_clear(&self) -> bool {
        self.flags.load(Relaxed) == 0
    }

    /// Whether nothing speaks against it at this moment.
    #[cold]
    #[inline(never)]
    pub fn is_healthy(&self) -> bool {
        let (flags, now) = (self.flags.load(Acquire), time::now().as_nanos());
        HealthFlag::ALL.into_iter().all(|flag| flags & flag as u32 == 0 || self.end(flag).load(Relaxed) <= now)
    }

    /// Passes over whatever speaks against it, until this moment: it may be picked, and its breaker lets calls through.
    /// For balancers, and all of a set together.
    pub fn spare_until(&self, until: Nanos) {
        self.spared.fetch_max(until.as_nanos(), Relaxed);
    }

    /// Whether what speaks against it is passed over at this moment.
    #[cold]
    pub fn is_spared(&self) -> bool {
        let until = self.spared.load(Relaxed);
        until != 0 && until > time::now().as_nanos()
    }

    /// Whether this reason holds at this moment.
    pub fn has(&self, flag: HealthFlag) -> bool {
        self.flags.load(Acquire) & flag as u32 != 0 && self.end(flag).load(Relaxed) > time::now().as_nanos()
    }

    /// Sets a reason until it is taken back, or takes it back; whether it was not set, or was.
    pub fn set(&self, flag: HealthFlag, on: bool) -> bool {
        if on { self.set_until(flag, Nanos::from_nanos(u64::MAX)) } else { self.mark(flag, false) }
    }

    /// Sets a reason until this moment; it may be moved. Whether it was not set before: one that is over counts as
    /// set until it is taken back.
    pub fn set_until(&self, flag: HealthFlag, until: Nanos) -> bool {
        self.end(flag).store(until.as_nanos(), Relaxed);
        self.mark(flag, true)
    }

    /// When this reason ends; `None` where it does not hold, or has no end.
    pub fn until(&self, flag: HealthFlag) -> Option<Nanos> {
        let end = self.end(flag).load(Relaxed);
        (self.has(flag) && end != u64::MAX).then_some(Nanos::from_nanos(end))
    }

    /// The reasons that hold at this moment.
    pub fn reasons(&self) -> impl Iterator<Item = HealthFlag> {
        HealthFlag::ALL.into_iter().filter(|flag| self.has(*flag))
    }

    fn mark(&self, flag: HealthFlag, on: bool) -> bool {
        let bit = flag as u32;
        let before = if on { self.flags.fetch_or(bit, AcqRel) } else { self.flags.fetch_and(!bit, AcqRel) };
        (before & bit != 0) != on
    }

    fn end(&self, flag: HealthFlag) -> &AtomicU64 {
        &self.ends[(flag as u32).trailing_zeros() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_the_absence_of_reasons() {
        let health = Health::default();
        assert!(health.is_eligible());
        assert!(health.set(HealthFlag::Ejected, true) && !health.set(HealthFlag::Ejected, true));
        health.set(HealthFlag::CircuitOpen, true);
        assert_eq!(health.reasons().collect::<Vec<_>>(), [HealthFlag::CircuitOpen, HealthFlag::Ejected]);
        health.set(HealthFlag::Ejected, false);
        assert!(!health.is_eligible());
        assert!(health.set(HealthFlag::CircuitOpen, false) && health.is_eligible());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_spared_may_be_picked_for_a_while() {
        let health = Health::default();
        health.set(HealthFlag::CircuitOpen, true);
        health.spare_until(time::now().plus(std::time::Duration::from_secs(1)));
        assert!(health.is_eligible() && health.is_spared() && !health.is_healthy());
        assert!(health.has(HealthFlag::CircuitOpen), "the reason is still told");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(!health.is_eligible() && !health.is_spared());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_with_an_end_is_over_by_itself() {
        let health = Health::default();
        let soon = time::now().plus(std::time::Duration::from_secs(5));
        assert!(health.set_until(HealthFlag::CircuitOpen, soon));
        assert!(!health.is_eligible() && health.has(HealthFlag::CircuitOpen));
        assert_eq!(health.until(HealthFlag::CircuitOpen), Some(soon));
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        assert!(health.is_eligible() && health.reasons().next().is_none());
        assert_eq!(health.until(HealthFlag::CircuitOpen), None);
        health.set(HealthFlag::CheckFailed, true);
        assert!(!health.is_eligible() && health.until(HealthFlag::CheckFailed).is_none());
    }
}
