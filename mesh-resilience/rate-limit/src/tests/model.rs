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

#[test]
fn two_threads_share_a_burst_exactly() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 3))));
        let other = limiter.clone();
        let thread = thread::spawn(move || taken(&other, 1, NOW) + taken(&other, 1, NOW));
        let here = taken(&limiter, 1, NOW) + taken(&limiter, 1, NOW);
        assert_eq!(here + thread.join().unwrap(), 3);
        assert_eq!(limiter.available(at(NOW)), 0);
    });
}

#[test]
fn a_settlement_is_not_lost() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 5))));
        let other = limiter.clone();
        let thread = thread::spawn(move || other.settle(2, at(NOW)));
        let here = taken(&limiter, 2, NOW);
        thread.join().unwrap();
        assert_eq!(limiter.available(at(NOW)), 5 - 2 - here);
    });
}

#[test]
fn a_change_of_quota_keeps_every_admission() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 2))));
        let (second, third) = (limiter.clone(), limiter.clone());
        let change = thread::spawn(move || second.set_quota(Some(per_second(7, 4)), at(NOW)));
        let thread = thread::spawn(move || taken(&third, 1, NOW));
        let here = taken(&limiter, 2, NOW);
        change.join().unwrap();
        let all = here + thread.join().unwrap();
        assert!(all >= 2 || here == 0);
        assert_eq!(limiter.available(at(NOW)), 4 - all);
    });
}

#[test]
fn two_changes_never_show_a_quota_read_in_halves() {
    explore(|| {
        let limiter = Arc::new(Gcra::new(Some(per_second(10, 2))));
        let other = limiter.clone();
        let change = thread::spawn(move || {
            other.set_quota(Some(per_second(3_000_000, 5)), at(NOW));
            other.set_quota(Some(per_second(7, 3)), at(NOW));
        });
        // every one of the three would admit it at once
        assert_eq!(taken(&limiter, 2, NOW), 2);
        change.join().unwrap();
        assert_eq!(limiter.available(at(NOW)), 1);
    });
}
