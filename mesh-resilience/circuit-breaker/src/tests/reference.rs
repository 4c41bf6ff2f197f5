//! The core against a plain model of a breaker, step by step.

use super::{Seen, admit, core, ms, rules};
use crate::{
    State,
    policy::{Class, Core, Pass, Refused, Rules},
};
use std::{collections::VecDeque, time::Duration};

/// Lists and plain numbers. Times are whole milliseconds.
struct Model {
    rules: Rules,
    state: State,
    generation: u64,
    outcomes: VecDeque<bool>,
    pushed: u64,
    consecutive: u64,
    trips: u64,
    closed_at: u64,
    until: u64,
    probes: u64,
    successes: u64,
}

impl Model {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Closed,
            generation: 0,
            outcomes: VecDeque::new(),
            pushed: 0,
            consecutive: 0,
            trips: 0,
            closed_at: 0,
            until: 0,
            probes: 0,
            successes: 0,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }

    fn admit(&mut self, now: u64) -> Result<Option<Pass>, Option<u64>> {
        let is_trial = match self.state {
            State::Closed => false,
            State::Disabled => return Ok(None),
            State::ForcedOpen => return Err(None),
            State::Open if now < self.until => return Err(Some(self.until - now)),
            State::HalfOpen if now < self.until => {
                if self.probes >= self.rules.probes {
                    return Err(Some(self.until - now));
                }
                self.probes += 1;
                true
            }
            State::Open | State::HalfOpen => {
                self.enter(State::HalfOpen);
                self.until = now + self.rules.max_duration.as_millis() as u64;
                (self.probes, self.successes) = (1, 0);
                true
            }
        };
        Ok(Some(Pass { generation: self.generation, is_probe: is_trial }))
    }

    /// `opened`: until when the breaker under test says that it is open, if it has opened now.
    fn end(&mut self, pass: Pass, class: Class, hint: u64, now: u64, opened: Option<u64>) {
        if pass.generation != self.generation {
            return;
        }
        match (self.state, class) {
            (State::Closed, Class::Ignored) => {}
            (State::Closed, class) => {
                let failed = class == Class::Failure;
                self.consecutive = if failed { self.consecutive + 1 } else { 0 };
                if self.rules.calls > 0 {
                    self.outcomes.push_back(failed);
                    self.pushed += 1;
                    if self.outcomes.len() as u64 > self.rules.calls {
                        self.outcomes.pop_front();
                    }
                }
                let total = self.outcomes.len() as u64;
                let failures = self.outcomes.iter().filter(|failed| **failed).count() as u64;
                let in_a_row = failed && self.rules.consecutive > 0 && self.consecutive >= self.rules.consecutive;
                let of_many = self.rules.calls > 0
                    && total >= self.rules.min_calls
                    && failures * 1_000_000 >= self.rules.rate_ppm * total;
                // a success can complete the number from which the rate counts, and no more than that
                if in_a_row || (of_many && (failed || self.pushed == self.rules.min_calls)) {
                    let healthy = now.saturating_sub(self.closed_at) / self.rules.open_for.as_millis() as u64;
                    self.trips = self.trips.saturating_sub(healthy);
                    self.open(hint, now, opened);
                }
            }
            (_, class) => {
                self.probes -= 1;
                self.successes += u64::from(class == Class::Success);
                if class == Class::Failure {
                    self.open(hint, now, opened);
                } else if self.successes >= self.rules.successes {
                    self.close(now);
                }
            }
        }
    }

    fn close(&mut self, now: u64) {
        self.enter(State::Closed);
        self.outcomes.clear();
        (self.consecutive, self.pushed, self.closed_at) = (0, 0, now);
    }

    /// The jitter is drawn: that it lies within its bounds is all that can be foretold.
    fn open(&mut self, hint: u64, now: u64, opened: Option<u64>) {
        self.trips += 1;
        let base = self.rules.open_for.as_millis() as u64;
        let nominal = (0..self.trips - 1).fold(base, |length, _| (length * 2).min(300_000)).min(300_000);
        let hint = (hint * 1000).min(300_000);
        let (least, most) = ((nominal * 8 / 10).max(hint), (nominal * 12 / 10 + 1).max(hint));
        let until = opened.expect("the model opens, the breaker does not");
        assert!((now + least..=now + most).contains(&until), "{} is not in {least}..={most}", until - now);
        self.until = until;
        self.enter(State::Open);
    }

    fn force(&mut self, state: State, now: u64) {
        self.trips = 0;
        if state == State::Closed { self.close(now) } else { self.enter(state) }
    }

    fn set_rules(&mut self, rules: Rules) {
        if rules.calls != self.rules.calls {
            while self.outcomes.len() as u64 > rules.calls {
                self.outcomes.pop_front();
            }
            self.pushed = self.outcomes.len() as u64;
        }
        self.rules = rules;
    }
}

fn check(model: &Model, core: &Core<Seen>, step: u32) {
    let word = core.word();
    assert_eq!(word.phase().state(), model.state, "step {step}");
    assert_eq!(word.generation(), model.generation & crate::word::MAX_GENERATION, "step {step}");
    let failures = model.outcomes.iter().filter(|failed| **failed).count() as u64;
    let (total, failed, consecutive) = core.totals();
    assert_eq!((total, failed), (model.outcomes.len() as u64, failures), "step {step}");
    assert_eq!(consecutive, model.consecutive, "step {step}");
    if let State::Open | State::HalfOpen = model.state {
        assert_eq!(word.millis(), model.until, "step {step}");
    }
    let refuses = core.effects().last().refuses_until;
    let expected = match model.state {
        State::Open => Some(ms(model.until)),
        State::HalfOpen if model.probes >= model.rules.probes => Some(ms(model.until)),
        State::ForcedOpen => Some(mesh_core::Nanos::MAX),
        _ => None,
    };
    assert_eq!(refuses, expected, "step {step}");
}

fn some_rules(random: &mut fastrand::Rng) -> Rules {
    let window = random.bool().then(|| {
        let most = [4, 70, 200][random.usize(..3)];
        let calls = random.u64(1..=most);
        (calls, random.u64(1..=100), random.u64(1..=calls))
    });
    let consecutive = if window.is_none() || random.bool() { random.u64(1..6) } else { 0 };
    let probes = random.u64(1..4);
    Rules {
        probes,
        successes: random.u64(1..4),
        open_for: Duration::from_millis([20, 1000, 5000][random.usize(..3)]),
        max_duration: Duration::from_millis(random.u64(1..2000)),
        ..rules(consecutive, window)
    }
}

/// So many steps, in runs of two thousand over rules of their own.
fn run(steps: u32, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut states = [0_u32; 5];
    for _ in 0..steps / 2000 {
        let rules = some_rules(&mut random);
        let (core, mut model) = (core(rules), Model::new(rules));
        let failing = random.u8(..);
        let (mut open, mut now) = (Vec::new(), 1_000);
        for step in 0..2000 {
            match random.u32(..100) {
                0..40 => {
                    let reply = admit(&core, now).map_err(|Refused(wait)| wait.map(|wait| wait.as_millis() as u64));
                    assert_eq!(reply, model.admit(now), "step {step}");
                    open.extend(reply.ok().flatten());
                }
                40..88 if !open.is_empty() => {
                    let pass = open.swap_remove(random.usize(..open.len()));
                    let class = match random.u8(..) {
                        0..20 => Class::Ignored,
                        draw if draw < failing => Class::Failure,
                        _ => Class::Success,
                    };
                    let hint = if random.u8(..10) == 0 { random.u64(..400) } else { 0 };
                    let told = core.record(pass, class, Duration::from_secs(hint), || ms(now));
                    let until = core.word().millis();
                    let opened = told.is_some_and(|told| told.to == State::Open).then_some(until);
                    let before = model.generation;
                    model.end(pass, class, hint, now, opened);
                    assert_eq!(told.is_some(), model.generation != before, "step {step}");
                }
                88..98 => now += [1, 7, 300, 6_000, 400_000][random.usize(..5)],
                98 => {
                    let forced = [State::ForcedOpen, State::Disabled, State::Closed, State::Closed][random.usize(..4)];
                    let told = core.force(forced, ms(now));
                    assert_eq!(told.is_some(), model.state != forced);
                    model.force(forced, now);
                }
                99 if random.u8(..8) == 0 => {
                    let rules = some_rules(&mut random);
                    core.set_rules(rules);
                    model.set_rules(rules);
                }
                _ => {}
            }
            check(&model, &core, step);
            states[model.state as usize] += 1;
        }
    }
    assert!(states.iter().all(|visits| *visits > steps / 100), "a state is hardly ever visited: {states:?}");
}

#[test]
fn equal_to_the_model_after_each_of_a_million_steps() {
    run(1_000_000, 7);
}
