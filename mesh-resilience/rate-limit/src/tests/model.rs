//! Every interleaving of two or three threads, under loom: the same source as the crate's, over loom's atomics.
//!
//! It is compiled a second time here rather than by `--cfg loom`, which would reach tokio and the rest of the tree; so
//! `cargo test` runs it, always.

// Twice on purpose; the models do not use all of it, and what is public there is not reachable from here.
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
#[path = "../policy.rs"]
mod policy;

use crate::quota;

mod sync {
    pub(super) use loom::{
        hint::spin_loop,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };
}

use self::policy::{Decision, Gcra};
use super::{SECOND, at, per_second};
use loom::{sync::Arc, thread};

const NOW: u64 = 9 * SECOND;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn taken(limiter: &Gcra, n: u32, now: u64) -> u32 {
    if matches!(limiter.check(n, at(now)), Decision::Admitted(_)) { n } else { 0 }
}

/// Runs both beside each other, neither on the thread that waits: loom explores those better.
fn beside<A: 'static, B: 'static>(
    limiter: &Arc<Gcra>,
    one: impl FnOnce(&Gcra) -> A + 'static,
    other: impl FnOnce(&Gcra) -> B + 'static,
) -> (A, B) {
    let (first, second) = (limiter.clone(), limiter.clone());
    let one = thread::spawn(move || one(&first));
    let other = thread::spawn(move || other(&second));
    (one.join().unwrap(), other.join().unwrap())
}

#[test]
fn two_threads_share_a_burst_exactly() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 3))));
        let twice = |limiter: &Gcra| taken(limiter, 1, NOW) + taken(limiter, 1, NOW);
        let (one, other) = beside(&limiter, twice, twice);
        assert_eq!(one + other, 3);
        assert_eq!(limiter.available(at(NOW)), 0);
    });
}

#[test]
fn a_settlement_is_not_lost() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 5))));
        let (taken, ()) = beside(&limiter, |limiter| taken(limiter, 2, NOW), |limiter| limiter.settle(2, at(NOW)));
        assert_eq!(taken, 2);
        assert_eq!(limiter.available(at(NOW)), 1);
    });
}

#[test]
fn a_change_of_quota_keeps_every_admission() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 2))));
        let ((), taken) = beside(
            &limiter,
            |limiter| limiter.set_quota(Some(per_second(7, 4)), at(NOW)),
            |limiter| taken(limiter, 1, NOW) + taken(limiter, 2, NOW),
        );
        // under the first quota alone the second request would not have fitted
        assert!(taken == 1 || taken == 3);
        assert_eq!(limiter.available(at(NOW)), 4 - taken);
    });
}

#[test]
fn two_changes_never_show_a_quota_read_in_halves() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 2))));
        let ((), taken) = beside(
            &limiter,
            |limiter| {
                limiter.set_quota(Some(per_second(3_000_000, 5)), at(NOW));
                limiter.set_quota(Some(per_second(7, 3)), at(NOW));
            },
            |limiter| taken(limiter, 2, NOW),
        );
        // each of the three would admit it at once
        assert_eq!(taken, 2);
        assert_eq!(limiter.available(at(NOW)), 1);
    });
}

/// A settlement writes on what it read: also that must be of one quota.
#[test]
fn a_settlement_between_two_changes_is_counted_in_one_quota() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 9))));
        let ((), ()) = beside(
            &limiter,
            |limiter| {
                limiter.set_quota(Some(per_second(3_000_000, 9)), at(NOW));
                limiter.set_quota(Some(per_second(7, 9)), at(NOW));
            },
            |limiter| limiter.settle(4, at(NOW)),
        );
        assert_eq!(limiter.available(at(NOW)), 5);
    });
}
