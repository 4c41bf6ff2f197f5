//! Every interleaving of two or three threads, under loom: the same source as the crate's, over loom's atomics.
//!
//! It is compiled a second time here rather than by `--cfg loom`, which would reach tokio and the rest of the tree; so
//! `cargo test` runs it, always.

// Twice on purpose; the models do not use all of it, and what is public there is not reachable from here.
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
#[path = "../policy.rs"]
mod policy;
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
#[path = "../ring.rs"]
mod ring;

use crate::word;

mod sync {
    pub(super) use loom::sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    };
}

use self::{
    policy::{Class, Core, Effects, Pass, Refused, Rules, Shown},
    ring::Ring,
};
use super::{OPEN_FOR, OVER, ms};
use crate::State;
use loom::{sync::Arc, thread};
use std::time::Duration;

/// The last that was shown. Not a part of the model: it is written under the core's lock.
#[derive(Default)]
struct Last(std::sync::Mutex<Option<Shown>>);

impl Effects for Last {
    fn show(&self, shown: Shown) {
        *self.0.lock().unwrap() = Some(shown);
    }
}

type Subject = Core<Last>;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn rules(consecutive: u64) -> Rules {
    Rules {
        consecutive,
        calls: 0,
        rate_ppm: 0,
        min_calls: 0,
        open_for: OPEN_FOR,
        probes: 1,
        successes: 1,
        max_duration: OPEN_FOR,
    }
}

fn subject(rules: Rules) -> Arc<Subject> {
    Arc::new(Core::new(rules, Last::default()))
}

fn admit(core: &Subject, now: u64) -> (Result<Option<Pass>, Refused>, u32) {
    let (reply, told) = core.admit(|| ms(now));
    (reply, u32::from(told.is_some()))
}

fn pass(core: &Subject, now: u64) -> Pass {
    admit(core, now).0.unwrap().unwrap()
}

/// How many transitions it made.
fn end(core: &Subject, pass: Pass, class: Class, now: u64) -> u32 {
    u32::from(core.record(pass, class, Duration::ZERO, || ms(now)).is_some())
}

fn beside<A: 'static, B: 'static>(
    core: &Arc<Subject>,
    one: impl FnOnce(&Subject) -> A + 'static,
    other: impl FnOnce(&Subject) -> B + 'static,
) -> (A, B) {
    let (first, second) = (core.clone(), core.clone());
    let one = thread::spawn(move || one(&first));
    let other = thread::spawn(move || other(&second));
    (one.join().unwrap(), other.join().unwrap())
}

/// What is shown is what is.
fn settled(core: &Subject) -> State {
    let shown = core.effects().0.lock().unwrap().unwrap();
    let state = core.word().phase().state();
    assert_eq!(shown.state, state);
    match state {
        State::Closed => assert_eq!(shown.refuses_until, None),
        State::Open => assert_eq!(shown.refuses_until, Some(core.word().moment())),
        _ => {}
    }
    state
}

fn tripped(rules: Rules) -> Arc<Subject> {
    let core = subject(rules);
    for _ in 0..rules.consecutive {
        end(&core, pass(&core, 0), Class::Failure, 0);
    }
    assert_eq!(settled(&core), State::Open);
    core
}

#[test]
fn two_threads_trip_it_once() {
    explore(|| {
        let core = subject(rules(2));
        let (first, second, third) = (pass(&core, 0), pass(&core, 0), pass(&core, 0));
        let (one, other) = beside(
            &core,
            move |core| end(core, first, Class::Failure, 0) + end(core, third, Class::Failure, 0),
            move |core| end(core, second, Class::Failure, 0),
        );
        assert_eq!((one + other, core.word().generation(), settled(&core)), (1, 1, State::Open));
    });
}

#[test]
fn an_admission_beside_a_trip_belongs_to_the_one_state_or_is_refused() {
    explore(|| {
        let core = subject(rules(1));
        let failing = pass(&core, 0);
        let (told, (reply, _)) =
            beside(&core, move |core| end(core, failing, Class::Failure, 0), |core| admit(core, 0));
        assert_eq!((told, settled(&core)), (1, State::Open));
        match reply {
            Ok(Some(late)) => {
                assert_eq!(late, Pass { generation: 0, is_probe: false });
                assert_eq!(end(&core, late, Class::Failure, 0), 0);
            }
            Ok(None) => panic!("it is never disabled"),
            Err(Refused(wait)) => assert!(wait.is_some()),
        }
    });
}

#[test]
fn one_of_two_becomes_the_probe() {
    explore(|| {
        let core = tripped(rules(1));
        let (one, other) = beside(&core, |core| admit(core, OVER), |core| admit(core, OVER));
        assert_eq!(one.1 + other.1, 1, "one event");
        let probes: Vec<Pass> = [one.0, other.0].into_iter().filter_map(Result::ok).flatten().collect();
        assert_eq!(probes, [Pass { generation: 2, is_probe: true }]);
        assert_eq!(settled(&core), State::HalfOpen);
        assert_eq!(end(&core, probes[0], Class::Success, OVER), 1);
        assert_eq!(settled(&core), State::Closed);
    });
}

#[test]
fn two_probes_that_disagree_open_it() {
    explore(|| {
        let core = tripped(Rules { probes: 2, successes: 2, ..rules(1) });
        let (first, second) = (pass(&core, OVER), pass(&core, OVER));
        let (one, other) = beside(
            &core,
            move |core| end(core, first, Class::Success, OVER),
            move |core| end(core, second, Class::Failure, OVER),
        );
        assert_eq!((one + other, settled(&core)), (1, State::Open));
    });
}

#[test]
fn a_place_that_is_given_back_can_be_taken_and_is_taken_once() {
    explore(|| {
        let core = tripped(rules(1));
        let dropped = pass(&core, OVER);
        let (_, (reply, _)) =
            beside(&core, move |core| end(core, dropped, Class::Ignored, OVER), |core| admit(core, OVER));
        let full = reply.is_ok();
        assert_eq!(admit(&core, OVER).0.is_err(), full, "there is one place");
        assert_eq!(settled(&core), State::HalfOpen);
    });
}

#[test]
fn a_verdict_beside_an_operator_changes_nothing_after_him() {
    explore(|| {
        let core = subject(rules(1));
        let failing = pass(&core, 0);
        let (told, forced) = beside(
            &core,
            move |core| end(core, failing, Class::Failure, 0),
            |core| u32::from(core.force(State::Disabled, ms(0)).is_some()),
        );
        assert!(told <= 1 && forced == 1);
        assert_eq!(settled(&core), State::Disabled);
        assert_eq!(core.word().generation(), u64::from(1 + told));
    });
}

#[test]
fn a_failure_from_before_an_operator_closed_it_does_not_open_it() {
    explore(|| {
        let core = subject(rules(1));
        let failing = pass(&core, 0);
        let (told, _) = beside(
            &core,
            move |core| end(core, failing, Class::Failure, 0),
            |core| core.force(State::Closed, ms(0)).is_some(),
        );
        assert_eq!((settled(&core), core.word().generation()), (State::Closed, u64::from(1 + told)));
    });
}

#[test]
fn a_probe_that_was_given_up_does_not_end_the_trial_after_it() {
    explore(|| {
        let core = tripped(rules(1));
        let lost = pass(&core, OVER);
        let (told, (reply, _)) =
            beside(&core, move |core| end(core, lost, Class::Failure, OVER + 5000), |core| admit(core, OVER + 5000));
        assert_eq!(told == 1, reply.is_err(), "it was given up, or it has ended the trial");
        assert_eq!(settled(&core), if told == 1 { State::Open } else { State::HalfOpen });
    });
}

#[test]
fn the_failures_are_those_of_the_bits_after_any_pushes_and_a_reset() {
    explore(|| {
        let ring = Arc::new(Ring::new(2));
        ring.push(2, true);
        let (first, second) = (ring.clone(), ring.clone());
        let one = thread::spawn(move || {
            first.push(2, true);
            first.push(2, false);
        });
        let other = thread::spawn(move || second.reset());
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(ring.totals().1.max(ring.failed_bits()), ring.failed_bits());
        // a reset between the two steps of a push leaves nothing behind
        ring.reset();
        assert_eq!((ring.totals().1, ring.failed_bits()), (0, 0));
        ring.push(2, true);
        assert_eq!(ring.totals().1, 1);
    });
}
