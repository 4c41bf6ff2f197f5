//! The decision core against slower, obvious models of itself, and under threads.

mod classes;
mod generations;
mod model;
mod reference;
mod ring;
mod times;

use crate::{
    State,
    policy::{Class, Core, Effects, Pass, Refused, Rules, Shown, Transition},
};
use mesh_core::Nanos;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a breaker has shown, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Shown>>>);

impl Seen {
    fn last(&self) -> Shown {
        *self.0.lock().unwrap().last().unwrap()
    }
}

impl Effects for Seen {
    fn show(&self, shown: Shown) {
        self.0.lock().unwrap().push(shown);
    }
}

const OPEN_FOR: Duration = Duration::from_secs(5);
/// Beyond the longest jitter of a first trip.
const OVER: u64 = 6_001;

fn rules(consecutive: u64, window: Option<(u64, u64, u64)>) -> Rules {
    let (calls, percent, min_calls) = window.unwrap_or_default();
    Rules {
        consecutive,
        calls,
        rate_ppm: percent * 10_000,
        min_calls,
        open_for: OPEN_FOR,
        probes: 1,
        successes: 1,
        max_duration: OPEN_FOR,
    }
}

fn core(rules: Rules) -> Core<Seen> {
    Core::new(rules, Seen::default())
}

fn ms(millis: u64) -> Nanos {
    Nanos::from_nanos(millis * 1_000_000)
}

fn state(core: &Core<Seen>) -> State {
    core.word().phase().state()
}

fn admit(core: &Core<Seen>, now: u64) -> Result<Option<Pass>, Refused> {
    core.admit(|| ms(now)).0
}

fn pass(core: &Core<Seen>, now: u64) -> Pass {
    admit(core, now).unwrap().unwrap()
}

fn end(core: &Core<Seen>, pass: Pass, class: Class, now: u64) -> Option<Transition> {
    core.record(pass, class, Duration::ZERO, || ms(now))
}

/// One call from begin to end.
fn call(core: &Core<Seen>, class: Class, now: u64) -> Option<Transition> {
    let pass = pass(core, now);
    end(core, pass, class, now)
}
