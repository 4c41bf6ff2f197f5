//! Changes of the quota while it is in use.

use super::*;

const NOW: u64 = 50 * SECOND;

fn drain(limiter: &Gcra, now: u64) -> u32 {
    (0..100_000).take_while(|_| admitted(limiter, now)).count() as u32
}

#[test]
fn an_empty_bucket_stays_empty_and_pays_back_at_the_new_rate() {
    let limiter = Gcra::new(Some(per_second(10, 10)));
    assert_eq!(drain(&limiter, NOW), 10);
    limiter.set_quota(Some(per_second(1000, 10)), at(NOW));
    assert_eq!(drain(&limiter, NOW), 0);
    assert_eq!(wait(&limiter, 1, NOW), Duration::from_millis(1));
    limiter.set_quota(Some(per_second(1, 10)), at(NOW));
    assert_eq!(wait(&limiter, 1, NOW), Duration::from_secs(1));
    assert_eq!(drain(&limiter, NOW + 3 * SECOND), 3);
}

#[test]
fn a_larger_burst_gives_the_difference_and_a_smaller_one_waits_for_the_debt() {
    let limiter = Gcra::new(Some(per_second(10, 10)));
    assert_eq!(drain(&limiter, NOW), 10);
    limiter.set_quota(Some(per_second(10, 25)), at(NOW));
    assert_eq!(drain(&limiter, NOW), 15);
    limiter.set_quota(Some(per_second(10, 5)), at(NOW));
    // 25 cells of debt: 21 must go before one fits into five
    assert_eq!(wait(&limiter, 1, NOW), Duration::from_millis(2100));
    assert_eq!(limiter.available(at(NOW)), 0);
    assert_eq!(limiter.available(at(NOW + 10 * SECOND)), 5);
}

#[test]
fn back_and_forth_yields_nothing() {
    let limiter = Gcra::new(Some(per_second(7, 20)));
    let mut taken = drain(&limiter, NOW);
    for round in 0..100u64 {
        let rate = [1, 999_999_937, 3, 600_000_000, 10][round as usize % 5];
        limiter.set_quota(Some(per_second(rate, 20)), at(NOW));
        taken += drain(&limiter, NOW);
    }
    assert_eq!(taken, 20);
}

#[test]
fn a_full_bucket_stays_full() {
    let limiter = Gcra::new(Some(per_second(10, 10)));
    limiter.set_quota(Some(per_second(3, 40)), at(NOW));
    assert_eq!(limiter.available(at(NOW)), 40);
    assert_eq!(limiter.quota(), Some(per_second(3, 40)));
}

#[test]
fn off_and_on_again_is_no_refill() {
    let limiter = Gcra::new(Some(per_second(10, 10)));
    assert_eq!(drain(&limiter, NOW), 10);
    limiter.set_quota(None, at(NOW));
    assert_eq!(limiter.quota(), None);
    assert_eq!(drain(&limiter, NOW), 100_000);
    limiter.set_quota(Some(per_second(10, 10)), at(NOW + SECOND / 2));
    assert_eq!(drain(&limiter, NOW + SECOND / 2), 5, "half a second was paid back while it was off");
}

#[test]
fn first_quota_of_a_limiter_that_was_off_starts_full() {
    let limiter = Gcra::new(None);
    limiter.set_quota(Some(per_second(10, 10)), at(NOW));
    assert_eq!(drain(&limiter, NOW), 10);
}

/// A change between decision and store: the store must fail, and the cell be charged to the new quota.
#[test]
fn a_change_in_the_midst_of_a_decision_is_seen() {
    for changes in 1..4 {
        let limiter = Gcra::new(Some(per_second(10, 10)));
        let mut left = changes;
        let decision = limiter.check_by(
            1,
            || at(NOW),
            || {
                if left > 0 {
                    left -= 1;
                    limiter.set_quota(Some(per_second(1000, 4)), at(NOW));
                }
            },
        );
        assert!(matches!(decision, Decision::Admitted(room) if room.cells() == 3), "{decision:?}");
        assert_eq!(drain(&limiter, NOW), 3);
    }
}
