//! Late verdicts, probes, and two threads at once.

use super::{OVER, Seen, admit, call, core, end, ms, pass, rules, state};
use crate::{
    State,
    policy::{Class, Core, Refused, Rules},
};
use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

fn tripped(rules: Rules) -> Core<Seen> {
    let core = core(rules);
    for _ in 0..rules.consecutive {
        call(&core, Class::Failure, 0);
    }
    assert_eq!(state(&core), State::Open);
    core
}

#[test]
fn late_verdicts_neither_close_nor_open_anything() {
    let core = core(rules(2, None));
    let early: Vec<_> = (0..6).map(|_| pass(&core, 0)).collect();
    assert!(end(&core, early[0], Class::Failure, 0).is_none());
    assert_eq!(end(&core, early[1], Class::Failure, 0).unwrap().to, State::Open);
    assert!(end(&core, early[2], Class::Success, 1).is_none());
    let probe = pass(&core, OVER);
    assert!(probe.is_probe && state(&core) == State::HalfOpen);
    assert!(end(&core, early[3], Class::Failure, OVER).is_none());
    assert!(end(&core, early[4], Class::Success, OVER).is_none());
    assert_eq!(state(&core), State::HalfOpen);
    assert_eq!(end(&core, probe, Class::Success, OVER).unwrap().to, State::Closed);
    assert!(end(&core, early[5], Class::Failure, OVER).is_none());
    assert_eq!(core.totals().2, 0);
}

#[test]
fn a_success_completes_the_number_from_which_the_rate_counts() {
    let core = core(rules(0, Some((10, 50, 4))));
    for class in [Class::Failure, Class::Failure, Class::Success] {
        assert!(call(&core, class, 0).is_none());
    }
    assert_eq!(call(&core, Class::Success, 0).unwrap().to, State::Open);
}

#[test]
fn dropped_probes_give_their_places_back() {
    let core = tripped(Rules { probes: 3, successes: 3, ..rules(1, None) });
    let mut probes: Vec<_> = (0..3).map(|_| pass(&core, OVER)).collect();
    for _ in 0..100 {
        assert!(matches!(admit(&core, OVER), Err(Refused(Some(wait))) if !wait.is_zero()));
        assert_eq!(core.effects().last().refuses_until, Some(ms(OVER + 5000)));
        end(&core, probes.pop().unwrap(), Class::Ignored, OVER);
        assert_eq!(core.effects().last().refuses_until, None);
        probes.push(pass(&core, OVER));
    }
    for probe in probes {
        assert_eq!(state(&core), State::HalfOpen);
        end(&core, probe, Class::Success, OVER);
    }
    assert_eq!(state(&core), State::Closed);
}

#[test]
fn probes_that_never_end_are_given_up() {
    let core = tripped(rules(1, None));
    let lost = pass(&core, OVER);
    assert!(admit(&core, OVER + 4999).is_err());
    let probe = pass(&core, OVER + 5000);
    assert!(end(&core, lost, Class::Failure, OVER + 5001).is_none(), "it is of a trial that is over");
    assert!(admit(&core, OVER + 5001).is_err());
    assert_eq!(end(&core, probe, Class::Success, OVER + 5002).unwrap().to, State::Closed);
}

#[test]
fn forced_states_hold_until_they_are_taken_back() {
    let core = core(rules(1, None));
    let before = pass(&core, 0);
    assert_eq!(core.force(State::ForcedOpen, ms(1)).unwrap().to, State::ForcedOpen);
    assert_eq!(admit(&core, 1 << 39), Err(Refused(None)));
    assert!(core.force(State::ForcedOpen, ms(1)).is_none(), "nothing has changed");
    core.force(State::Disabled, ms(2));
    assert_eq!(admit(&core, 2), Ok(None));
    assert!(end(&core, before, Class::Failure, 3).is_none());
    assert_eq!(core.force(State::Closed, ms(4)).unwrap().to, State::Closed);
    assert_eq!(call(&core, Class::Failure, 4).unwrap().to, State::Open);
}

#[test]
fn two_threads_that_trip_it_together_are_one_event_and_one_generation() {
    for _ in 0..500 {
        let core = Arc::new(core(Rules { open_for: Duration::from_secs(100), ..rules(4, Some((4, 100, 4))) }));
        let start = Arc::new(Barrier::new(2));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (core, start) = (core.clone(), start.clone());
                thread::spawn(move || {
                    let passes: Vec<_> = (0..8).map(|_| pass(&core, 0)).collect();
                    start.wait();
                    passes.into_iter().filter_map(|pass| end(&core, pass, Class::Failure, 0)).count()
                })
            })
            .collect();
        let events: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!((events, core.word().generation(), state(&core)), (1, 1, State::Open));
        assert_eq!(core.effects().0.lock().unwrap().len(), 2);
    }
}

#[test]
fn a_change_of_rules_keeps_state_and_counts() {
    let core = core(rules(3, Some((10, 100, 10))));
    for _ in 0..2 {
        call(&core, Class::Failure, 0);
    }
    core.set_rules(rules(3, Some((4, 100, 4))));
    assert_eq!(core.totals(), (2, 2, 2));
    assert_eq!(call(&core, Class::Failure, 0).unwrap().to, State::Open);
    let until = core.word().millis();
    core.set_rules(Rules { open_for: Duration::from_secs(1), probes: 2, successes: 2, ..rules(3, None) });
    assert_eq!((state(&core), core.word().millis()), (State::Open, until));
    let (first, second) = (pass(&core, until), pass(&core, until));
    assert!(admit(&core, until).is_err());
    core.set_rules(Rules { probes: 3, successes: 2, ..rules(3, None) });
    let third = pass(&core, until);
    core.set_rules(Rules { probes: 1, successes: 2, ..rules(3, None) });
    assert!(admit(&core, until).is_err());
    end(&core, third, Class::Ignored, until);
    assert!(admit(&core, until).is_err(), "two are still under way");
    end(&core, first, Class::Success, until);
    assert_eq!(end(&core, second, Class::Success, until).unwrap().to, State::Closed);
}
