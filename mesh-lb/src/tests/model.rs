//! Every interleaving of two threads, under loom: the same sources as the crate's, over loom's atomics.
//!
//! They are compiled a second time here rather than by `--cfg loom`, which would reach tokio and the rest of the tree;
//! so `cargo test` runs it, always.

// Twice on purpose; the models do not use all of it.
#[allow(clippy::duplicate_mod, dead_code)]
#[path = "../baseline.rs"]
mod baseline;
#[allow(clippy::duplicate_mod, dead_code)]
#[path = "../estimate.rs"]
mod estimate;
#[allow(clippy::duplicate_mod, dead_code)]
#[path = "../published.rs"]
mod published;

mod sync {
    pub(super) use loom::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    };
}

use self::{
    baseline::Baseline,
    estimate::{Rates, faults, written},
    published::Published,
    sync::{AtomicU64, Ordering::Relaxed},
};
use loom::{sync::Arc, thread};
use mesh_core::Nanos;
use std::time::Duration;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Runs both beside each other.
fn beside<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    one: impl FnOnce(&T) + Send + 'static,
    other: impl FnOnce(&T) + Send + 'static,
) {
    let (first, second) = (shared.clone(), shared.clone());
    let one = thread::spawn(move || one(&first));
    let other = thread::spawn(move || other(&second));
    one.join().unwrap();
    other.join().unwrap();
}

const MS: f32 = 1e6;

fn observe(rates: &Rates, word: &AtomicU64, nanos: f32, now: u32) {
    rates.observe(word, nanos as i64, Nanos::from_nanos(u64::from(now) << 20));
}

fn rates() -> Rates {
    Rates::new(Duration::from_secs(10), 0.5, Duration::from_secs(1))
}

/// Two calls that finish at once: both samples count, in either order, and a reader meanwhile sees a value with its own
/// stamp.
#[test]
fn no_sample_is_lost_to_one_other() {
    explore(|| {
        let word = Arc::new(AtomicU64::new(0));
        observe(&rates(), &word, 10.0 * MS, 1000);
        let sample = |nanos: f32, now| move |word: &AtomicU64| observe(&rates(), word, nanos, now);
        let reader = {
            let word = word.clone();
            thread::spawn(move || {
                let seen = word.load(Relaxed);
                let read = rates().read(seen, 2000, 10.0 * MS);
                assert!((10.0 * MS..=90.0 * MS).contains(&read));
                assert!([1000, 1001, 1002].contains(&(seen as u32)));
            })
        };
        beside(&word, sample(90.0 * MS, 1001), sample(50.0 * MS, 1002));
        reader.join().unwrap();
        let end = written(word.load(Relaxed)) / MS;
        // 10, 50, 50 (a sample of no age that is not above) or 10, 30, 60
        assert!([60.0, 50.0].iter().any(|possible| (end - possible).abs() < 0.1), "{end}");
    });
}

#[test]
fn no_failure_is_lost_and_none_that_counts_is_forgotten() {
    explore(|| {
        let word = Arc::new(AtomicU64::new(0));
        beside(&word, |word| faults::add(word, 1000), |word| faults::add(word, 1000));
        assert_eq!(faults::count(word.load(Relaxed), 1000), 2);
        // so long afterwards that one is forgotten, unless there is a new one
        let later = 1000 + 60 * 954;
        let forget = move |word: &AtomicU64| _ = faults::count_or_forget(word, word.load(Relaxed), later);
        beside(&word, forget, move |word| faults::add(word, later));
        assert_eq!(faults::count(word.load(Relaxed), later), 1);
    });
}

#[test]
fn one_of_two_looks_for_the_median() {
    explore(|| {
        let shared = Arc::new((Baseline::new(Duration::from_millis(30)), AtomicU64::new(0)));
        let pick = |(baseline, looked): &(Baseline, AtomicU64)| {
            let now = Nanos::from_nanos(5_000_000_000);
            if baseline.is_due(now) {
                baseline.refresh(now, |values| {
                    looked.fetch_add(1, Relaxed);
                    values[0] = 7.0;
                    1
                });
            }
        };
        beside(&shared, pick, pick);
        assert_eq!((shared.1.load(Relaxed), shared.0.median()), (1, 7.0));
    });
}

/// An endpoint is removed while others pick: whoever sees that a table is superseded gets a later one, and who comes
/// after the change sees it.
#[test]
fn a_table_is_not_superseded_before_there_is_a_later_one() {
    explore(|| {
        let table = Arc::new(Published::new(0_u64));
        let first = table.get();
        let look = |table: &Published<u64>| {
            let present = table.get();
            if present.is_superseded() {
                assert!(**table.get() > **present);
            }
        };
        let change = |table: &Published<u64>| {
            assert_eq!(**table.publish(1), 0);
            assert_eq!(**table.publish(2), 1);
        };
        beside(&table, look, change);
        let last = table.get();
        assert_eq!((**last, first.is_superseded(), last.is_superseded()), (2, true, false));
    });
}
