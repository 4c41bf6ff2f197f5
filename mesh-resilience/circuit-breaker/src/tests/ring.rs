//! The ring counts exactly what the last N outcomes are.

use crate::ring::{MAX_CALLS, Ring};
use proptest::prelude::*;
use std::{collections::VecDeque, sync::Arc, thread};

proptest! {
    #[test]
    fn an_exact_sliding_count(
        sizes in prop::collection::vec(1_u64..300, 1..4),
        outcomes in prop::collection::vec(any::<bool>(), 0..1500),
    ) {
        let ring = Ring::new(sizes[0]);
        let mut last = VecDeque::new();
        let part = outcomes.len() / sizes.len() + 1;
        for (size, outcomes) in sizes.iter().zip(outcomes.chunks(part)) {
            ring.set_size(*size);
            while last.len() as u64 > *size {
                last.pop_front();
            }
            for failed in outcomes {
                ring.push(*size, *failed);
                last.push_back(*failed);
                if last.len() as u64 > *size {
                    last.pop_front();
                }
                let failures = last.iter().filter(|failed| **failed).count() as u64;
                prop_assert_eq!(ring.totals(), (last.len() as u64, failures));
                prop_assert_eq!(ring.failed_bits(), failures);
            }
        }
        ring.reset();
        prop_assert_eq!((ring.totals(), ring.failed_bits()), ((0, 0), 0));
    }
}

#[test]
fn what_falls_out_is_subtracted_however_long_it_went_well() {
    let ring = Ring::new(100);
    for _ in 0..100_000 {
        ring.push(100, false);
    }
    for failures in 1..=100 {
        ring.push(100, true);
        assert_eq!(ring.totals(), (100, failures));
    }
    ring.push(100, true);
    assert_eq!(ring.totals(), (100, 100));
}

#[test]
fn the_largest_ring_has_room() {
    let ring = Ring::new(MAX_CALLS + 5);
    assert_eq!(ring.size(), MAX_CALLS);
    for _ in 0..=MAX_CALLS {
        ring.push(MAX_CALLS, true);
    }
    assert_eq!(ring.totals(), (MAX_CALLS, MAX_CALLS));
}

#[test]
fn the_count_does_not_drift_under_threads_and_resets() {
    let ring = Arc::new(Ring::new(97));
    let threads: Vec<_> = (0..3)
        .map(|seed| {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for step in 0..100_000 {
                    ring.push(97, random.bool());
                    if step % 5_000 == 0 {
                        ring.reset();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ring.totals().1, ring.failed_bits());
}
