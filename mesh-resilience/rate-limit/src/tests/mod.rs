//! The decision core against slower, obvious models of itself, and under threads.

mod model;
mod precision;
mod reference;
mod retune;
mod threads;

use crate::{Decision, Gcra, Quota};
use mesh_core::{Nanos, units::Rate};
use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

const SECOND: u64 = 1_000_000_000;

fn quota(count: u64, per: Duration, burst: u32) -> Quota {
    let rate = Rate::new(NonZeroU64::new(count).unwrap(), per).unwrap();
    Quota::new(rate).with_burst(NonZeroU32::new(burst).unwrap())
}

fn per_second(count: u64, burst: u32) -> Quota {
    quota(count, Duration::from_secs(1), burst)
}

fn at(nanos: u64) -> Nanos {
    Nanos::from_nanos(nanos)
}

fn admitted(limiter: &Gcra, now: u64) -> bool {
    matches!(limiter.check(1, at(now)), Decision::Admitted(_))
}

fn wait(limiter: &Gcra, n: u32, now: u64) -> Duration {
    match limiter.check(n, at(now)) {
        Decision::Denied { wait } => wait,
        other => panic!("expected a denial, got {other:?}"),
    }
}

/// In every window between two admissions of `times` (in order), at most `burst + rate · length`: exact, over all
/// windows at once.
fn audit(times: &[u64], quota: Quota) {
    let count = i128::from(quota.rate().count().get());
    let period = quota.rate().per().as_nanos() as i128;
    let slack = (i128::from(quota.burst().get()) - 1) * period;
    let mut lowest = i128::MAX;
    for (i, &time) in times.iter().enumerate() {
        // admitted ≤ B + L/T between i and j  ⇔  level(j) − level(i) ≤ (B − 1)·period
        let level = i as i128 * period - i128::from(time) * count;
        lowest = lowest.min(level);
        assert!(level - lowest <= slack, "more than {quota} before admission {i} at {time} ns");
    }
}

#[test]
#[should_panic(expected = "before admission 3")]
fn the_audit_sees_one_too_many() {
    audit(&[5, 5, 5, SECOND / 10 + 4], per_second(10, 3));
}

#[test]
fn starts_full_and_refills_by_the_nanosecond() {
    let limiter = Gcra::new(Some(per_second(10, 3)));
    let start = 5 * SECOND + 1;
    assert_eq!(limiter.available(at(start)), 3);
    for left in (0..3).rev() {
        match limiter.check(1, at(start)) {
            Decision::Admitted(room) => assert_eq!(room.cells(), left),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(wait(&limiter, 1, start), Duration::from_millis(100));
    assert_eq!(wait(&limiter, 3, start), Duration::from_millis(300));
    assert_eq!(wait(&limiter, 1, start + 99_999_999), Duration::from_nanos(1));
    assert!(admitted(&limiter, start + 100_000_000));
    assert!(!admitted(&limiter, start + 100_000_000));
}

#[test]
fn more_than_the_burst_never_fits_and_nothing_is_a_peek() {
    let limiter = Gcra::new(Some(per_second(10, 3)));
    assert_eq!(limiter.check(4, at(SECOND)), Decision::NeverFits);
    assert_eq!(limiter.check(u32::MAX, at(SECOND)), Decision::NeverFits);
    for _ in 0..10 {
        assert!(matches!(limiter.check(0, at(SECOND)), Decision::Admitted(room) if room.cells() == 3));
    }
    assert!(matches!(limiter.check(3, at(SECOND)), Decision::Admitted(room) if room.cells() == 0));
    assert!(matches!(limiter.check(0, at(SECOND)), Decision::Admitted(room) if room.cells() == 0));
}

#[test]
fn a_clock_that_goes_back_means_that_no_time_has_passed() {
    let limiter = Gcra::new(Some(per_second(10, 3)));
    let start = 100 * SECOND;
    assert!(admitted(&limiter, start));
    assert!(admitted(&limiter, start - 1));
    assert_eq!(wait(&limiter, 2, start - 50 * SECOND), Duration::from_millis(100) + Duration::from_secs(50));
    assert!(!admitted(&limiter, start - 90 * SECOND));
    assert!(!admitted(&limiter, 0));
    assert!(admitted(&limiter, start));
    assert!(!admitted(&limiter, start));
}

#[test]
fn a_machine_that_slept_finds_the_burst_and_no_more() {
    let limiter = Gcra::new(Some(per_second(1_000, 5)));
    for jump in [3600 * SECOND, 365 * 86_400 * SECOND, 20 * 365 * 86_400 * SECOND, u64::MAX] {
        let taken = (0..100).filter(|_| admitted(&limiter, jump)).count();
        assert_eq!(taken, 5, "after {jump} ns");
    }
}

#[test]
fn off_admits_everything() {
    let limiter = Gcra::new(None);
    assert_eq!(limiter.quota(), None);
    assert!((0..1000).all(|_| admitted(&limiter, 1)));
    assert_eq!(limiter.check(u32::MAX, at(1)), Decision::Admitted(crate::Room::UNLIMITED));
    assert_eq!(limiter.available(at(1)), u32::MAX);
}

#[test]
fn settling_takes_and_gives_back() {
    let limiter = Gcra::new(Some(per_second(10, 10)));
    let now = SECOND;
    limiter.check(4, at(now));
    limiter.settle(-3, at(now));
    assert_eq!(limiter.available(at(now)), 9);
    limiter.settle(-100, at(now));
    assert_eq!(limiter.available(at(now)), 10, "never beyond full");
    limiter.settle(15, at(now));
    assert_eq!(limiter.available(at(now)), 0);
    assert_eq!(wait(&limiter, 1, now), Duration::from_millis(600), "five below empty");
    limiter.settle(i64::MAX, at(now));
    assert!(!admitted(&limiter, now + 100_000 * SECOND));
    limiter.settle(i64::MIN, at(now));
    assert_eq!(limiter.available(at(now)), 10);
}

#[test]
fn the_default_burst_is_a_second_of_the_rate() {
    let burst = |count, per| Quota::new(Rate::new(NonZeroU64::new(count).unwrap(), per).unwrap()).burst().get();
    assert_eq!(burst(100, Duration::from_secs(1)), 100);
    assert_eq!(burst(6001, Duration::from_secs(60)), 101);
    assert_eq!(burst(5, Duration::from_secs(86_400)), 1);
    assert_eq!(burst(1, Duration::from_millis(1)), 1000);
    assert_eq!(burst(u64::MAX, Duration::from_nanos(1)), u32::MAX);
}

#[test]
fn a_limiter_is_small() {
    assert!(size_of::<Gcra>() <= 384, "{}", size_of::<Gcra>());
}
