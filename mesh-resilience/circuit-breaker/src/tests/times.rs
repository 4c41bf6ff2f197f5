//! How long a breaker stays open.

use super::{call, core, end, ms, pass, rules};
use crate::{
    policy::{Class, Core, Rules, open_for},
    word::{MAX_GENERATION, Phase, Word, millis_of},
};
use mesh_core::Nanos;
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #[test]
    fn the_time_to_be_open_doubles_to_its_bound_with_jitter_to_both_sides(
        base in 1_u64..=300_000, trips in 1_u64..100, draw in 0.0..1.0_f64,
    ) {
        let nominal = (0..trips - 1).fold(base, |length, _| (length * 2).min(300_000));
        let actual = open_for(Duration::from_millis(base), trips, draw).as_secs_f64() * 1000.0;
        let expected = nominal as f64 * (0.8 + 0.4 * draw);
        prop_assert!((actual - expected).abs() < 0.001, "{actual} is not {expected}");
    }

    #[test]
    fn a_word_gives_back_what_it_is_made_of(phase in 0_usize..6, generation in 0..=MAX_GENERATION, millis in 0_u64..1 << 40) {
        const PHASES: [Phase; 6] =
            [Phase::Closed, Phase::Open, Phase::Trying, Phase::Full, Phase::ForcedOpen, Phase::Disabled];
        let word = Word::from_raw(Word::new(PHASES[phase], generation, millis).raw());
        prop_assert_eq!((word.phase(), word.generation(), word.millis()), (PHASES[phase], generation, millis));
        prop_assert_eq!(word.is_closed(), phase == 0);
    }
}

#[test]
fn the_jitter_is_drawn_anew_and_fills_its_bounds() {
    let lengths: Vec<f64> = (0..1000)
        .map(|_| {
            let core = core(rules(1, None));
            call(&core, Class::Failure, 1000).unwrap().open_for.unwrap().as_secs_f64()
        })
        .collect();
    assert!(lengths.iter().all(|length| (4.0..=6.0).contains(length)));
    // 1000 draws miss a tenth of the range with a probability of 10^-46
    assert!(lengths.iter().any(|length| *length < 4.2) && lengths.iter().any(|length| *length > 5.8));
}

/// Trips it again as soon as it may be tried; how long it stays open then.
fn trip_again(core: &Core<super::Seen>) -> f64 {
    let now = core.word().millis();
    call(core, Class::Failure, now).unwrap().open_for.unwrap().as_secs_f64()
}

fn assert_about(length: f64, nominal: f64) {
    assert!((nominal * 0.8..=nominal * 1.2).contains(&length), "{length} is not about {nominal}");
}

#[test]
fn trips_in_a_row_are_forgiven_one_by_one() {
    let core = core(rules(1, None));
    call(&core, Class::Failure, 1000);
    for nominal in [10.0, 20.0, 40.0] {
        assert_about(trip_again(&core), nominal);
    }
    // four in a row; closed for two times `open_for` and a half they count as two, and then there is one more
    let tried = core.word().millis();
    call(&core, Class::Success, tried);
    assert_about(call(&core, Class::Failure, tried + 12_500).unwrap().open_for.unwrap().as_secs_f64(), 20.0);
    // a long good time forgives all
    let tried = core.word().millis();
    call(&core, Class::Success, tried);
    assert_about(call(&core, Class::Failure, tried + 3_600_000).unwrap().open_for.unwrap().as_secs_f64(), 5.0);
}

#[test]
fn what_the_answer_asks_for_is_kept_to_within_bounds() {
    let opened = |hint: u64| {
        let core = core(rules(1, None));
        let pass = pass(&core, 1000);
        let told = core.record(pass, Class::Failure, Duration::from_secs(hint), || ms(1000)).unwrap();
        told.open_for.unwrap().as_secs_f64()
    };
    assert_about(opened(1), 5.0);
    assert_eq!(opened(60), 60.0);
    assert_eq!(opened(86_400), 300.0);
}

#[test]
fn a_breaker_that_nobody_called_for_two_months_is_tried_at_once() {
    let core = core(rules(1, None));
    call(&core, Class::Failure, 1000);
    let later = 60 * 86_400_000;
    let probe = pass(&core, later);
    assert!(probe.is_probe && end(&core, probe, Class::Success, later).is_some());
}

#[test]
fn a_clock_that_goes_back_means_that_no_time_has_passed() {
    let core = core(Rules { probes: 2, ..rules(1, None) });
    call(&core, Class::Failure, 100_000);
    assert!(core.admit(|| ms(1)).0.is_err());
    assert!(core.admit(|| Nanos::ZERO).0.is_err());
}

#[test]
fn what_is_to_end_never_ends_early() {
    assert_eq!(millis_of(Nanos::from_nanos(1)), 1);
    assert_eq!(millis_of(Nanos::from_nanos(1_000_000)), 1);
}

#[test]
fn a_breaker_is_small() {
    assert!(size_of::<crate::CircuitBreaker>() <= 1280, "{}", size_of::<crate::CircuitBreaker>());
}
