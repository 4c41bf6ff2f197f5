//! Any schedule of taking, giving back, waiting, giving up and retuning keeps the counts of a plain model.

use crate::permits::{Permits, Waiter};
use proptest::prelude::*;
use std::{collections::VecDeque, sync::Arc, task::Waker};

#[derive(Clone, Debug)]
enum Step {
    Take,
    GiveBack,
    Wait,
    GiveUp(usize),
    SetMax(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Take),
        4 => Just(Step::GiveBack),
        3 => Just(Step::Wait),
        2 => (0..8_usize).prop_map(Step::GiveUp),
        1 => (1..5_u32).prop_map(Step::SetMax),
    ]
}

/// How many may wait.
const QUEUE: u32 = 4;

proptest! {
    #[test]
    fn counts_are_those_of_a_plain_model(first in 1..5_u32, steps in proptest::collection::vec(step(), 1..200)) {
        let permits = Arc::new(Permits::new(first));
        let (mut max, mut taken) = (first, 0_u32);
        // the model: who waits, in order
        let mut waiting: VecDeque<Waiter> = VecDeque::new();
        for step in steps {
            match step {
                Step::Take => {
                    let free = waiting.is_empty() && taken < max;
                    prop_assert_eq!(permits.try_take(), free);
                    taken += u32::from(free);
                }
                Step::GiveBack if taken > 0 => {
                    permits.give_back();
                    taken -= 1;
                }
                Step::GiveBack => {}
                Step::Wait => match Permits::wait(&permits, QUEUE) {
                    Some(waiter) => waiting.push_back(waiter),
                    None => prop_assert!(waiting.len() as u32 == QUEUE),
                },
                Step::GiveUp(index) => drop(waiting.remove(index)),
                Step::SetMax(now) => {
                    permits.set_max(now);
                    max = now;
                }
            }
            // the permits that are free go to those who have waited longest
            while taken < max && !waiting.is_empty() {
                let mut served = waiting.pop_front().unwrap();
                prop_assert!(served.poll(Waker::noop()), "first come, first served");
                taken += 1;
            }
            prop_assert!(waiting.iter_mut().all(|waiter| !waiter.poll(Waker::noop())));
            prop_assert_eq!((permits.taken(), permits.waiting()), (taken, waiting.len() as u32));
        }
        drop(waiting);
        (0..taken).for_each(|_| permits.give_back());
        prop_assert_eq!((permits.taken(), permits.waiting()), (0, 0));
    }
}
