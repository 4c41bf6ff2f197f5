//! The arithmetic of estimates.

use crate::{
    PeakEwma,
    baseline::{Baseline, LOOKED_AT},
    estimate::{Rates, faults, half_power, lost, stamp, written},
};
use mesh_core::{Nanos, units::Ratio};
use proptest::prelude::*;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

fn rates() -> Rates {
    PeakEwma::default().rates()
}

const MS: f32 = 1e6;

fn observe(rates: &Rates, word: &AtomicU64, nanos: f32, now: u32) {
    rates.observe(word, nanos as i64, Nanos::from_nanos(u64::from(now) << 20));
}

/// A second in units of a word.
const SECOND: u32 = 954;

proptest! {
    /// The goal is 3 %.
    #[test]
    fn a_power_of_two_is_within_a_third_of_a_percent(halves in 0_f32..63.9) {
        let exact = (-f64::from(halves)).exp2();
        let off = (f64::from(half_power(halves)) / exact - 1.0).abs();
        prop_assert!(off < 0.0033, "2^-{halves} is off by {off}");
    }

    /// Also what is left of one, which is what a sample is weighed by.
    #[test]
    fn the_weight_of_a_sample_is_within_four_percent(halves in 1e-4_f32..63.9) {
        let exact = 1.0 - (-f64::from(halves)).exp2();
        let off = (f64::from(lost(halves)) / exact - 1.0).abs();
        prop_assert!(off < 0.04, "1 - 2^-{halves} is off by {off}");
    }

    #[test]
    fn it_never_rises(one in 0_f32..100.0, other in 0_f32..100.0) {
        let (less, more) = if one < other { (one, other) } else { (other, one) };
        // a rounding apart
        prop_assert!(half_power(more) <= half_power(less) * (1.0 + 1e-6));
        prop_assert!((0.0..=1.0).contains(&half_power(one)));
    }

    /// Reading lies between what was written and the median; so does what a sample leaves, between the two.
    #[test]
    fn estimates_stay_between(
        samples in prop::collection::vec((0_u64..100_000_000_000, 0_u32..2_000_000), 1..50),
        median in 0_f32..1e11,
        rise in 0_u32..=1_000_000,
    ) {
        let rates = PeakEwma::default().with_rise(Ratio::from_ppm(rise).unwrap()).rates();
        let word = AtomicU64::new(0);
        let mut now = u32::MAX - 1_000_000;
        prop_assert_eq!(rates.read(0, now, median), median);
        for (nanos, pause) in samples {
            now = now.wrapping_add(pause);
            let (before, nanos) = (word.load(Relaxed), nanos as f32);
            observe(&rates, &word, nanos, now);
            let after = written(word.load(Relaxed));
            prop_assert!(after.is_finite() && after >= 0.0);
            if before != 0 {
                let (low, high) = (written(before).min(nanos), written(before).max(nanos));
                let rounding = high * 1e-6 + 1.0;
                prop_assert!(low - rounding <= after && after <= high + rounding, "{low} {after} {high}");
            }
            let read = rates.read(word.load(Relaxed), now.wrapping_add(pause), median);
            let (low, high) = (after.min(median), after.max(median));
            let rounding = high * 1e-6 + 1.0;
            prop_assert!(low - rounding <= read && read <= high + rounding, "{low} {read} {high}");
        }
    }

    /// A longer sample never leaves a smaller estimate.
    #[test]
    fn estimates_rise_with_samples(before in 1_f32..1e11, one in 0_f32..1e11, other in 0_f32..1e11, age in 0_u32..100_000) {
        let rates = rates();
        let word = AtomicU64::new(0);
        observe(&rates, &word, before, 7);
        let word = word.load(Relaxed);
        let after = |nanos| written(rates.moved(word, nanos, 7 + age).unwrap_or(word));
        prop_assert!(after(one.min(other)) <= after(one.max(other)) + before * 1e-6 + 1.0);
    }
}

/// Against the formula in double precision, over a thousand samples.
#[test]
fn it_is_the_moving_average_of_the_formula() {
    let (rates, word) = (rates(), AtomicU64::new(0));
    let mut random = fastrand::Rng::with_seed(11);
    let (mut exact, mut last, mut now) = (0.0_f64, 0_u32, 1000_u32);
    for sample in 0..1000 {
        now += random.u32(0..3000);
        let nanos = 1e6 + 99e6 * random.f64();
        observe(&rates, &word, nanos as f32, now);
        let weight = 1.0 - (-f64::from(now - last) * f64::from(1 << 20) / 10e9).exp();
        exact = match exact {
            _ if sample == 0 => nanos,
            e if nanos > e => e + (nanos - e) * 0.5,
            e => e + (nanos - e) * weight,
        };
        last = now;
        let off = (f64::from(written(word.load(Relaxed))) / exact - 1.0).abs();
        assert!(off < 0.03, "sample {sample}: off by {off}");
    }
}

#[test]
fn one_outlier_does_not_exile_and_fades() {
    let (rates, word) = (rates(), AtomicU64::new(0));
    let mut now = 1000;
    (0..100).for_each(|_| observe(&rates, &word, 10.0 * MS, now));
    observe(&rates, &word, 1000.0 * MS, now);
    assert_eq!(written(word.load(Relaxed)), 505.0 * MS);
    for _ in 0..10 * 100 {
        now += SECOND / 100;
        observe(&rates, &word, 10.0 * MS, now);
    }
    let after = written(word.load(Relaxed));
    assert!((180.0 * MS..210.0 * MS).contains(&after), "{after} after 10 s: 10 ms and 495/e");
    // unasked it fades to the median by reading alone
    let read = rates.read(word.load(Relaxed), now + 100 * SECOND, 20.0 * MS);
    assert!((read / (20.0 * MS) - 1.0).abs() < 0.001, "{read}");
}

#[test]
fn failures_are_slow_and_drops_a_lower_bound() {
    let (rates, word) = (rates(), AtomicU64::new(0));
    observe(&rates, &word, 10.0 * MS, 1);
    rates.observe_at_least(&word, 5.0 * MS, 2 * SECOND);
    assert_eq!(written(word.load(Relaxed)), 10.0 * MS, "it says nothing");
    rates.observe_at_least(&word, 30.0 * MS, 2 * SECOND);
    assert_eq!(written(word.load(Relaxed)), 20.0 * MS);
    rates.observe_failure(&word, 1.0, 2 * SECOND, 10.0 * MS);
    assert_eq!(written(word.load(Relaxed)), 510.0 * MS, "half way to the penalty");
    // with everything failing the median is what failures made of it, and that has an end
    let mut median = 1000.0 * MS;
    for second in 3..1000 {
        rates.observe_failure(&word, 1.0, second * SECOND, median);
        median = written(word.load(Relaxed));
    }
    assert!(median <= 60_000.0 * MS, "{median}");
}

#[test]
fn a_clock_that_is_behind_changes_no_more_than_one_that_stands() {
    let (rates, word) = (rates(), AtomicU64::new(0));
    observe(&rates, &word, 10.0 * MS, 1000);
    let before = word.load(Relaxed);
    observe(&rates, &word, 1.0 * MS, 990);
    assert_eq!(word.load(Relaxed), before);
    assert_eq!(rates.read(before, 5, 1.0), 10.0 * MS);
    assert_eq!(stamp(Nanos::from_nanos(u64::MAX)), u32::MAX);
}

#[test]
fn faults_count_as_calls_and_fade() {
    let (word, now) = (AtomicU64::new(0), 5000);
    let count = |later| faults::count(word.load(Relaxed), now + later);
    (0..4).for_each(|_| faults::add(&word, now));
    assert_eq!([count(0), count(10 * SECOND), count(20 * SECOND), count(31 * SECOND)], [4, 2, 1, 0]);
    let look = |later| faults::count_or_forget(&word, word.load(Relaxed), now + later);
    assert_eq!((look(20 * SECOND), count(0)), (1, 4), "it still counts");
    assert_eq!(look(31 * SECOND), 0);
    assert_eq!(word.load(Relaxed), 0);
}

#[test]
fn the_median_is_looked_for_once_a_second_and_until_there_is_one() {
    let baseline = Baseline::new(Duration::from_millis(30));
    let at = |millis: u64| Nanos::from_nanos(3_600_000_000_000 + millis * 1_000_000);
    let look = |millis, found: &[f32]| {
        let mut looked = false;
        if baseline.is_due(at(millis)) {
            baseline.refresh(at(millis), |values| {
                looked = true;
                values[..found.len()].copy_from_slice(found);
                found.len()
            });
        }
        (looked, baseline.median())
    };
    assert_eq!(look(0, &[]), (true, 30.0 * MS));
    assert_eq!(look(0, &[1.0]), (false, 30.0 * MS));
    assert_eq!(look(1, &[5.0, 1.0, 9.0, 2.0]), (true, 2.0));
    assert_eq!(look(1000, &[7.0]), (false, 2.0));
    assert_eq!(look(1001, &[7.0; LOOKED_AT]), (true, 7.0));
    // everything was forgotten: what was known stays
    assert_eq!(look(2001, &[]), (true, 7.0));
}
