//! The budget keeps its bound exactly, and gives what the bound allows.

use crate::{
    BudgetSettings,
    budget::{Budget, Terms},
};
use mesh_core::{Nanos, units::Ratio};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const ORIGIN: u64 = 3600 * SECOND;

fn at(nanos: u64) -> Nanos {
    Nanos::from_nanos(ORIGIN + nanos)
}

fn terms(ppm: u32, reserve: u32, ttl: u64) -> Terms {
    let ratio = Ratio::from_ppm(ppm).unwrap();
    Terms::new(&BudgetSettings { ratio, reserve, ttl: Duration::from_secs(ttl) }, at(0))
}

/// `retries ≤ ratio · requests + reserve · (t + 1 s)`, in millionths.
fn bound(ppm: u32, reserve: u32, requests: u64, now: u64) -> u128 {
    u128::from(ppm) * u128::from(requests) + u128::from(reserve) * u128::from(now + SECOND) / 1_000
}

/// A million requests at random moments of which a random part fails, retried as long as there is a budget.
#[test]
fn a_million_random_outcomes_keep_the_bound() {
    let mut random = fastrand::Rng::with_seed(7);
    for (ppm, reserve) in [(200_000, 10), (200_000, 0), (1, 1), (333_333, 3), (0, 10), (1_000_000, 1000)] {
        let terms = terms(ppm, reserve, 10);
        let budget = Budget::new(Some(&terms));
        let (mut requests, mut retries, mut now) = (0_u64, 0_u64, 0_u64);
        let mut failing = 0.0;
        for step in 0..1_000_000 / 6 {
            if step % 1000 == 0 {
                failing = random.f64();
            }
            now += random.u64(..2_000_000);
            requests += 1;
            budget.deposit();
            while random.f64() < failing && budget.withdraw(&terms, at(now)) {
                retries += 1;
            }
            assert!(u128::from(retries) * 1_000_000 <= bound(ppm, reserve, requests, now));
        }
        assert!(retries > 0, "{ppm} {reserve}");
    }
}

/// While everything fails, all that is allowed is given.
#[test]
fn in_an_outage_the_whole_ratio_is_given_and_no_more() {
    let terms = terms(200_000, 0, 10);
    let budget = Budget::new(Some(&terms));
    let mut retries = 0;
    for _ in 0..100_000 {
        budget.deposit();
        retries += u32::from(budget.withdraw(&terms, at(0)));
    }
    assert_eq!(retries, 20_000);
}

#[test]
fn the_reserve_is_there_at_once_and_is_saved_up_to_its_time() {
    let terms = terms(200_000, 10, 10);
    let budget = Budget::new(Some(&terms));
    let take = |now: u64| (0..1000).take_while(|_| budget.withdraw(&terms, at(now))).count();
    assert_eq!(take(0), 10);
    assert_eq!(take(SECOND / 10 - 1), 0, "one nanosecond earlier");
    assert_eq!(take(SECOND / 10), 1);
    assert_eq!(take(3 * SECOND), 29);
    assert_eq!(take(1000 * SECOND), 100);
    assert_eq!(take(1000 * SECOND), 0);
}

#[test]
fn a_full_budget_takes_no_deposits() {
    let terms = terms(1_000_000, 1, 10);
    let budget = Budget::new(Some(&terms));
    for _ in 0..1000 {
        budget.deposit();
    }
    assert_eq!(budget.balance(&terms, at(0)), 10_000_000);
    let taken = (0..1000).take_while(|_| budget.withdraw(&terms, at(0))).count();
    assert_eq!(taken, 10);
}

#[test]
fn it_goes_on_under_other_terms() {
    let before = terms(200_000, 10, 10);
    let budget = Budget::new(Some(&before));
    for _ in 0..7 {
        assert!(budget.withdraw(&before, at(0)));
    }
    let after = terms(500_000, 100, 1);
    budget.retune(Some(&before), Some(&after), at(0));
    assert_eq!(budget.balance(&after, at(0)), 3_000_000, "neither refilled nor emptied");
    assert_eq!(budget.balance(&after, at(SECOND / 10)), 13_000_000);
    assert_eq!(budget.balance(&after, at(SECOND * 9)), 100_000_000);
    // off, nothing is earned; on again it begins anew
    budget.retune(Some(&after), None, at(SECOND * 9));
    budget.deposit();
    budget.retune(None, Some(&before), at(SECOND * 10));
    assert_eq!(budget.balance(&before, at(SECOND * 10)), 10_000_000);
}

#[derive(Clone, Debug)]
enum Step {
    Deposit,
    Withdraw,
    Wait(u64),
}

proptest! {
    /// Beside an obvious model: what is there is counted at each step, and what is beyond the cap is gone when somebody
    /// looks.
    #[test]
    fn as_a_plain_counter(
        ppm in 0..=1_000_000_u32,
        reserve in 0..100_u32,
        ttl in 0..20_u64,
        steps in prop::collection::vec(
            prop_oneof![Just(Step::Deposit), Just(Step::Withdraw), (0..SECOND * 30).prop_map(Step::Wait)], 0..300),
    ) {
        let terms = terms(ppm, reserve, ttl);
        let budget = Budget::new(Some(&terms));
        let cap = (i128::from(reserve) * i128::from(ttl) * 1_000_000).max(1_000_000);
        let (mut now, mut requests, mut retries) = (0, 0, 0_u64);
        let mut most = i128::from(reserve) * 1_000_000;
        for step in steps {
            match step {
                Step::Deposit => {
                    requests += 1;
                    most += i128::from(ppm);
                    budget.deposit();
                }
                Step::Wait(nanos) => {
                    let earned = |now: u64| i128::from(now + SECOND) * i128::from(reserve) / 1_000;
                    most += earned(now + nanos) - earned(now);
                    now += nanos;
                }
                Step::Withdraw => {
                    let before = budget.balance(&terms, at(now));
                    let taken = budget.withdraw(&terms, at(now));
                    prop_assert_eq!(taken, before >= 1_000_000);
                    most = most.min(cap) - i128::from(taken) * 1_000_000;
                    retries += u64::from(taken);
                }
            }
            let balance = i128::from(budget.balance(&terms, at(now)));
            prop_assert!(balance <= most.min(cap) && balance >= 0, "{} {}", balance, most);
            prop_assert!(u128::from(retries) * 1_000_000 <= bound(ppm, reserve, requests, now));
        }
    }
}
