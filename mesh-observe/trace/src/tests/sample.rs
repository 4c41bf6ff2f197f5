use crate::{
    Parent,
    sample::{Rule, Threshold},
};
use mesh_core::units::Ratio;
use proptest::prelude::*;

fn ratio(ppm: u32) -> Ratio {
    Ratio::from_ppm(ppm).unwrap()
}

#[test]
fn thresholds() {
    assert_eq!(Threshold::of(Ratio::ONE).get(), 0);
    assert_eq!(Threshold::of(Ratio::ZERO).get(), 1 << 56);
    assert_eq!(Threshold::of(ratio(500_000)).get(), 1 << 55);
    // the examples of OpenTelemetry's specification: 1 % is `fd70a3d70a3d71`, 25 % is `c`
    assert_eq!(Threshold::of(ratio(10_000)).get(), 0xfd_70a3_d70a_3d71);
    assert_eq!(Threshold::of(ratio(250_000)).get(), 0xc0_0000_0000_0000);
}

/// Within five standard deviations of what was asked, with a fixed seed.
#[test]
fn as_many_as_asked() {
    let mut random = fastrand::Rng::with_seed(7);
    for ppm in [0, 100, 10_000, 500_000, 999_999, 1_000_000] {
        let threshold = Threshold::of(ratio(ppm));
        let draws = 1_000_000;
        let passed = (0..draws).filter(|_| threshold.passes(random.u64(..))).count() as f64;
        let share = f64::from(ppm) / 1e6;
        let deviation = (f64::from(draws) * share * (1.0 - share)).sqrt();
        let expected = f64::from(draws) * share;
        assert!((passed - expected).abs() <= 5.0 * deviation, "{ppm} ppm: {passed} for {expected}");
    }
}

#[test]
fn a_rule_changes_part_by_part() {
    let rule = Rule::new(ratio(10_000), Parent::Follow);
    let state = || {
        let ruling = rule.read();
        (ruling.is_off(), ruling.follows(), ruling.threshold())
    };
    assert_eq!(state(), (false, true, Threshold::of(ratio(10_000))));
    rule.set_enabled(false);
    rule.set_parent(Parent::Ignore);
    assert_eq!(state(), (true, false, Threshold::of(ratio(10_000))));
    rule.set_sample(Ratio::ZERO);
    rule.set_enabled(true);
    assert_eq!(state(), (false, false, Threshold::of(Ratio::ZERO)));
    assert!(rule.read().threshold().is_never());
    rule.set_parent(Parent::Follow);
    rule.set_sample(Ratio::ONE);
    assert_eq!(state(), (false, true, Threshold::of(Ratio::ONE)));
}

proptest! {
    /// Whoever samples more records all that one does who samples less.
    #[test]
    fn decisions_are_nested(less in 0..=1_000_000_u32, more in 0..=1_000_000_u32, randomness: u64) {
        let (less, more) = (less.min(more), less.max(more));
        if Threshold::of(ratio(less)).passes(randomness) {
            prop_assert!(Threshold::of(ratio(more)).passes(randomness));
        }
    }
}
