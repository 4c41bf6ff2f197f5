//! The rate that is kept, from one in a day to one in a nanosecond.

use super::*;
use crate::quota::Scale;

/// Admissions of a caller that always asks at the end of its wait, against the time that took.
fn rate_error(quota: Quota, admissions: u64) -> f64 {
    let limiter = Gcra::new(Some(quota));
    let start = 86_400 * SECOND;
    let mut now = start;
    for _ in 0..quota.burst().get() {
        assert!(admitted(&limiter, now));
    }
    for _ in 0..admissions {
        now += wait(&limiter, 1, now).as_nanos() as u64;
        assert!(admitted(&limiter, now));
    }
    let ideal = admissions as f64 * quota.rate().per().as_nanos() as f64 / quota.rate().count().get() as f64;
    ((now - start) as f64 - ideal) / ideal
}

#[test]
fn the_rate_is_kept_within_a_millionth() {
    let day = Duration::from_secs(86_400);
    for quota in [
        quota(1, day, 10),
        quota(7, day, 10),
        quota(1, Duration::from_secs(1), 10),
        per_second(3, 10),
        per_second(999_983, 10),
        per_second(30_000_000, 10),
        per_second(300_000_000, 10),
        per_second(600_000_000, 10),
        per_second(333_333_333, 10),
        per_second(999_999_937, 10),
        per_second(1_000_000_000, 10),
    ] {
        // The last admission falls on a whole nanosecond, which shows in so short a run.
        let error = rate_error(quota, 200_000);
        let nanosecond = quota.rate().count().get() as f64 / quota.rate().per().as_nanos() as f64 / 200_000.0;
        assert!((-1e-12..=1e-6 + nanosecond).contains(&error), "{quota}: {error:e}");
    }
}

/// What simulation cannot reach in a test's time, the units show: a cell in nanoseconds against the emission interval.
#[test]
fn the_emission_interval_is_never_short_and_a_millionth_long_at_most() {
    let day = 86_400 * SECOND;
    let rates = [(1, day), (1, 365 * day), (7, day), (1_000_000, 3600 * SECOND)].into_iter().chain(
        [1, 3, 7, 999_983, 15_999_989, 30_000_000, 67_108_859, 333_333_333, 600_000_000, 999_999_937, SECOND]
            .map(|count| (count, SECOND)),
    );
    for (count, period) in rates {
        for burst in [1, 1000, 1_000_000, u32::MAX] {
            let scale = Scale::of(count, period, burst);
            // cell · 2^shift / scale.count against period / count, in integers
            let cell = (u128::from(scale.cell) << scale.shift) * u128::from(count);
            let ideal = u128::from(period) * u128::from(scale.count);
            assert!(cell >= ideal, "{count} in {period} ns runs fast");
            assert!((cell - ideal) * 1_000_000 <= ideal, "{count} in {period} ns, burst {burst}: {scale:?}");
            assert_eq!(scale.limit, u64::from(burst) * scale.cell);
            assert!(scale.limit <= (1 << 57) + (1 << 32) && scale.horizon >= 8 * SECOND, "{scale:?}");
            assert!(scale.horizon.checked_mul(scale.count).is_some());
        }
    }
}

#[test]
fn the_epoch_moves_without_a_trace() {
    // The finest units have the shortest horizon.
    let quota = per_second(999_999_937, 1000);
    let horizon = quota.scale().horizon;
    let limiter = Gcra::new(Some(quota));
    let (mut now, mut times) = (SECOND, Vec::new());
    for round in 0..2000u64 {
        // now and then far beyond the horizon, else a part of it, else next to nothing
        now += match round % 20 {
            0 => 3 * horizon,
            1..10 => horizon / 3,
            _ => 100,
        };
        for _ in 0..400 {
            if admitted(&limiter, now) {
                times.push(now);
            }
        }
    }
    audit(&times, quota);
    // full again after every pause, and 99 to 100 in every 100 ns
    assert!(times.len() > 2000 * 90 && limiter.available(at(now + horizon)) == 1000);
}

#[test]
fn an_enormous_bucket_is_counted_in_coarser_units() {
    let quota = quota(1, Duration::from_secs(86_400), 4_000_000_000);
    let limiter = Gcra::new(Some(quota));
    assert!(matches!(limiter.check(3_999_999_999, at(SECOND)), Decision::Admitted(room) if room.cells() == 1));
    assert!(admitted(&limiter, SECOND));
    let day = wait(&limiter, 1, SECOND).as_nanos() as f64 / (86_400.0 * SECOND as f64);
    assert!((1.0..1.000_001).contains(&day), "{day}");
}
