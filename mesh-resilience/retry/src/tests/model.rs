//! Every interleaving of three threads, under loom: the same source as the crate's, over loom's atomics.
//!
//! It is compiled a second time here rather than by `--cfg loom`, which would reach tokio and the rest of the tree; so
//! `cargo test` runs it, always.

// Twice on purpose; the models do not use all of it.
#[allow(clippy::duplicate_mod, dead_code)]
#[path = "../budget.rs"]
mod budget;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicI64, Ordering::Relaxed};
}

use self::budget::{Budget, Terms};
use crate::BudgetSettings;
use loom::{sync::Arc, thread};
use mesh_core::{Nanos, units::Ratio};
use std::time::Duration;

const NOW: Nanos = Nanos::from_nanos(9_000_000_000);

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn terms(reserve: u32) -> Terms {
    Terms::new(&BudgetSettings { ratio: Ratio::ONE, reserve, ttl: Duration::from_secs(10) }, NOW)
}

/// One retry is there, two want it, a request earns another meanwhile.
#[test]
fn a_retry_is_given_once_and_a_deposit_is_not_lost() {
    explore(|| {
        let budget = Arc::new(Budget::new(Some(&terms(1))));
        let (first, second) = (budget.clone(), budget.clone());
        let first = thread::spawn(move || u32::from(first.withdraw(&terms(1), NOW)));
        let second = thread::spawn(move || u32::from(second.withdraw(&terms(1), NOW)));
        budget.deposit();
        let given = first.join().unwrap() + second.join().unwrap();
        assert!(given == 1 || given == 2, "{given}");
        assert_eq!(budget.balance(&terms(1), NOW), i64::from(2 - given) * 1_000_000);
    });
}

/// Two that retry and one that finds the budget full when it deposits: never more than the cap.
#[test]
fn the_cap_holds_while_others_deposit() {
    explore(|| {
        let budget = Arc::new(Budget::new(Some(&terms(1))));
        let later = NOW.plus(Duration::from_secs(100));
        let (first, second) = (budget.clone(), budget.clone());
        let first = thread::spawn(move || first.withdraw(&terms(1), later));
        let second = thread::spawn(move || second.deposit());
        budget.deposit();
        assert!(first.join().unwrap());
        second.join().unwrap();
        let balance = budget.balance(&terms(1), later);
        assert!((9_000_000..=10_000_000).contains(&balance), "{balance}");
    });
}
