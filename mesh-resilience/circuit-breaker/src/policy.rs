//! The decision core: which calls are admitted, and what their ends change. Plain data; `now` comes in.
//!
//! ```text
//!            k failures in a row, or too large a part of the last N
//!   CLOSED ─────────────────────────────────────────────────────────► OPEN ◄─┐
//!     ▲                                                     first call │      │ a probe fails
//!     │                                        after its time has come ▼      │
//!     └──────────────────────────────────────────────────────────── HALF_OPEN ┘
//!                           enough probes succeed
//!   and from each to FORCED_OPEN, DISABLED and CLOSED when an operator says so
//! ```
//!
//! An admission is one acquire load of the [`Word`]; a success on a closed breaker writes one counter, or nothing where
//! only failures in a row count. All else happens under a lock, in [`Core::step`]: transitions, and the probes of a
//! half-open breaker. What others see of the breaker ([`Effects`]) is written there too, so it cannot be overtaken.
//!
//! Each change of state begins a generation. A call carries the one it was admitted in, and its end counts only while
//! that lasts: a late answer from before the trip neither closes nor opens anything.

use super::{
    ring::Ring,
    sync::{AtomicU64, Mutex, Ordering},
    word::{Phase, State, Word, millis_of},
};
use mesh_core::Nanos;
use std::{sync::PoisonError, time::Duration};

/// The longest that a breaker stays open by itself, before jitter.
pub(crate) const MAX_OPEN: Duration = Duration::from_secs(300);

/// What a call's end says of the thing called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Success,
    Failure,
    /// Nothing.
    Ignored,
}

/// The settings, as the core reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Failures in a row that open; 0: any number is well.
    pub(crate) consecutive: u64,
    /// Outcomes that are kept; 0: none.
    pub(crate) calls: u64,
    /// Parts per million of failures among them that open, and from how many outcomes on.
    pub(crate) rate_ppm: u64,
    pub(crate) min_calls: u64,
    pub(crate) open_for: Duration,
    pub(crate) probes: u64,
    pub(crate) successes: u64,
    pub(crate) max_duration: Duration,
}

/// A call that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) generation: u64,
    pub(crate) is_probe: bool,
}

/// A call that was refused: how long until it is worth coming back, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) Option<Duration>);

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Its number, by which transitions that are heard out of order are put in order: each is one more than the one
    /// before, from 1. It wraps at two million.
    pub generation: u32,
    /// When.
    pub at: Nanos,
    /// Of a breaker that opened by itself: how long it stays open.
    pub open_for: Option<Duration>,
}

/// What others see of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) state: State,
    /// Whether every call is refused: until this moment, [`Nanos::MAX`] where nobody knows.
    pub(crate) refuses_until: Option<Nanos>,
}

/// Shows it. Called under the lock, in the order of the changes.
pub(crate) trait Effects: Send + Sync {
    fn show(&self, shown: Shown);
}

/// What becomes of a call, and whether it has changed the state.
pub(crate) type Admission = (Result<Option<Pass>, Refused>, Option<Transition>);

#[derive(Clone, Copy)]
enum Event {
    /// A call wants to be admitted.
    Admit,
    /// What was counted is too much.
    Trip { hint: Duration },
    /// A probe has ended.
    Probed { class: Class, hint: Duration },
    /// An operator says so.
    Force(State),
}

/// What became of an event.
#[derive(Clone, Copy)]
struct Step {
    reply: Result<Option<Pass>, Refused>,
    transition: Option<Transition>,
}

/// What only changes under the lock.
struct Slow {
    rules: Rules,
    /// Trips in a row.
    trips: u64,
    /// Probes under way, and those that succeeded.
    probes: u64,
    successes: u64,
}

pub(crate) struct Core<E> {
    word: AtomicU64,
    consecutive_limit: AtomicU64,
    rate_ppm: AtomicU64,
    min_calls: AtomicU64,
    ring: Ring,
    /// Failures in a row.
    consecutive: AtomicU64,
    slow: Mutex<Slow>,
    effects: E,
}

impl<E: Effects> Core<E> {
    pub(crate) fn new(rules: Rules, effects: E) -> Self {
        effects.show(shown(Word::new(Phase::Closed, 0, 0)));
        Self {
            word: AtomicU64::new(Word::new(Phase::Closed, 0, 0).raw()),
            consecutive_limit: AtomicU64::new(rules.consecutive),
            rate_ppm: AtomicU64::new(rules.rate_ppm),
            min_calls: AtomicU64::new(rules.min_calls),
            ring: Ring::new(rules.calls),
            consecutive: AtomicU64::new(0),
            slow: Mutex::new(Slow { rules, trips: 0, probes: 0, successes: 0 }),
            effects,
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word::from_raw(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn effects(&self) -> &E {
        &self.effects
    }

    /// Outcomes that are kept, and the failures among them; then failures in a row.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let (total, failed) = self.ring.totals();
        (total, failed, self.consecutive.load(Ordering::Relaxed))
    }

    /// Asks for a call. `Ok(None)`: its end is not of interest. The clock is read where the breaker is not closed.
    pub(crate) fn admit(&self, now: impl FnOnce() -> Nanos) -> Admission {
        match self.admit_closed() {
            Some(pass) => (Ok(Some(pass)), None),
            None => self.admit_not_closed(now),
        }
    }

    /// The straight way in: a closed breaker.
    #[inline]
    pub(crate) fn admit_closed(&self) -> Option<Pass> {
        let word = self.word();
        word.is_closed().then(|| Pass { generation: word.generation(), is_probe: false })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn admit_not_closed(&self, now: impl FnOnce() -> Nanos) -> Admission {
        let word = self.word();
        match word.phase() {
            Phase::Disabled => return (Ok(None), None),
            Phase::ForcedOpen => return (Err(Refused(None)), None),
            _ => {}
        }
        let now = now();
        if let Phase::Open | Phase::Full = word.phase()
            && now < word.moment()
        {
            return (Err(Refused(Some(word.moment().since(now)))), None);
        }
        let Step { reply, transition } = self.step(None, Event::Admit, now);
        (reply, transition)
    }

    /// Hears how an admitted call ended. `hint`: how long the thing called asked to be left alone.
    pub(crate) fn record(
        &self,
        pass: Pass,
        class: Class,
        hint: Duration,
        now: impl FnOnce() -> Nanos,
    ) -> Option<Transition> {
        if self.word().generation() != pass.generation {
            return None;
        }
        if pass.is_probe {
            return self.step(Some(pass.generation), Event::Probed { class, hint }, now()).transition;
        }
        let counts = match class {
            Class::Ignored => false,
            Class::Success => self.count_success(),
            Class::Failure => self.count_failure(),
        };
        if counts { self.trip(pass.generation, hint, now) } else { None }
    }

    /// The straight way out: of a call that was admitted in this generation, and succeeds, while the breaker is closed
    /// still. `None`: it is another. Else whether there is a reason to look if it is too much.
    #[inline]
    pub(crate) fn succeed_closed(&self, generation: u64) -> Option<bool> {
        // phase and generation at once: those of the closed state are the generation alone
        if self.word().phase_and_generation() != generation {
            return None;
        }
        Some(self.count_success())
    }

    /// Whether it completes the number of calls from which the rate counts: it cannot raise that, but it can do this.
    #[inline]
    fn count_success(&self) -> bool {
        // a plain store: of a failure beside it nobody can say whether it came before or after
        if self.consecutive.load(Ordering::Relaxed) != 0 {
            self.consecutive.store(0, Ordering::Relaxed);
        }
        let size = self.ring.size();
        size != 0 && self.ring.push(size, false) == self.min_calls.load(Ordering::Relaxed)
    }

    fn count_failure(&self) -> bool {
        self.consecutive.fetch_add(1, Ordering::Relaxed);
        let size = self.ring.size();
        if size != 0 {
            self.ring.push(size, true);
        }
        true
    }

    /// Opens a closed breaker if what it has counted is too much.
    #[cold]
    pub(crate) fn trip(&self, generation: u64, hint: Duration, now: impl FnOnce() -> Nanos) -> Option<Transition> {
        if !self.is_too_much(0) {
            return None;
        }
        self.step(Some(generation), Event::Trip { hint }, now()).transition
    }

    /// Whether the end of this call could change the state, if it is a failure: then more is to be known of it.
    #[inline]
    pub(crate) fn is_decisive(&self, pass: Pass) -> bool {
        pass.is_probe || self.is_too_much(1)
    }

    /// Whether so many failures more would open a closed breaker.
    #[inline]
    fn is_too_much(&self, more: u64) -> bool {
        let limit = self.consecutive_limit.load(Ordering::Relaxed);
        if limit != 0 && self.consecutive.load(Ordering::Relaxed) + more >= limit {
            return true;
        }
        let size = self.ring.size();
        if size == 0 {
            return false;
        }
        let (total, failed) = self.ring.totals();
        let total = (total + more).min(size);
        total >= self.min_calls.load(Ordering::Relaxed)
            && (failed + more) * 1_000_000 >= self.rate_ppm.load(Ordering::Relaxed) * total
    }

    /// Puts the breaker into a state, whichever it is in: closed, forced open or disabled. The trips are forgotten.
    pub(crate) fn force(&self, state: State, now: Nanos) -> Option<Transition> {
        self.step(None, Event::Force(state), now).transition
    }

    /// Puts other settings in force. State, trips and what has been counted stay; of a smaller ring the latest
    /// outcomes. A breaker that is open stays so for as long as it was told.
    pub(crate) fn set_rules(&self, rules: Rules) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.rules = rules;
        self.consecutive_limit.store(rules.consecutive, Ordering::Relaxed);
        self.rate_ppm.store(rules.rate_ppm, Ordering::Relaxed);
        self.min_calls.store(rules.min_calls, Ordering::Relaxed);
        self.ring.set_size(rules.calls);
        let word = self.word();
        if word.phase().state() == State::HalfOpen {
            self.put(trying(&slow), word.generation(), word.millis());
        }
    }

    /// The transitions, all of them. `seen`: the generation that the event is of; in another it comes to nothing.
    fn step(&self, seen: Option<u64>, event: Event, now: Nanos) -> Step {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        let word = self.word();
        let state = word.phase().state();
        let over = now >= word.moment();
        let refused = Err(Refused(Some(word.moment().since(now))));
        let mut step = Step { reply: Ok(None), transition: None };
        if seen.is_some_and(|generation| generation != word.generation()) {
            return step;
        }
        match (event, state) {
            (Event::Admit, State::Closed) => {
                step.reply = Ok(Some(Pass { generation: word.generation(), is_probe: false }));
            }
            (Event::Admit, State::Disabled) => {}
            (Event::Admit, State::ForcedOpen) => step.reply = Err(Refused(None)),
            (Event::Admit, State::Open) if !over => step.reply = refused,
            (Event::Admit, State::HalfOpen) if !over => {
                if slow.probes >= slow.rules.probes {
                    step.reply = refused;
                } else {
                    slow.probes += 1;
                    step.reply = Ok(Some(Pass { generation: word.generation(), is_probe: true }));
                    self.put(trying(&slow), word.generation(), word.millis());
                }
            }
            // the trial begins; or begins anew, since probes of the last one have not ended
            (Event::Admit, State::Open | State::HalfOpen) => {
                (slow.probes, slow.successes) = (1, 0);
                let until = millis_of(now.plus(slow.rules.max_duration));
                let next = self.enter(word, trying(&slow), until);
                step.reply = Ok(Some(Pass { generation: next.generation(), is_probe: true }));
                step.transition = (state != State::HalfOpen).then(|| transition(word, next, now, None));
            }

            (Event::Trip { hint }, State::Closed) => {
                // one trip is forgiven for each `open_for` that went well
                let well = millis_of(now).saturating_sub(word.millis()) / slow.rules.open_millis();
                slow.trips = slow.trips.saturating_sub(well);
                step.transition = Some(self.open(&mut slow, word, hint, now));
            }
            // ended by somebody else in the same generation: cannot be
            (Event::Trip { .. }, _) => {}

            (Event::Probed { class, hint }, State::HalfOpen) => {
                slow.probes = slow.probes.saturating_sub(1);
                slow.successes += u64::from(class == Class::Success);
                if class == Class::Failure {
                    step.transition = Some(self.open(&mut slow, word, hint, now));
                } else if slow.successes >= slow.rules.successes {
                    let next = self.close(word, now);
                    step.transition = Some(transition(word, next, now, None));
                } else {
                    self.put(trying(&slow), word.generation(), word.millis());
                }
            }
            (Event::Probed { .. }, _) => {}

            (Event::Force(to), _) => {
                slow.trips = 0;
                let next = match to {
                    State::ForcedOpen => self.enter(word, Phase::ForcedOpen, 0),
                    State::Disabled => self.enter(word, Phase::Disabled, 0),
                    _ => self.close(word, now),
                };
                let to = next.phase().state();
                step.transition = (to != state).then(|| transition(word, next, now, None));
            }
        }
        step
    }

    fn open(&self, slow: &mut Slow, word: Word, hint: Duration, now: Nanos) -> Transition {
        slow.trips += 1;
        let open_for = open_for(slow.rules.open_for, slow.trips, fastrand::f64()).max(hint.min(MAX_OPEN));
        let next = self.enter(word, Phase::Open, millis_of(now.plus(open_for)));
        transition(word, next, now, Some(open_for))
    }

    fn close(&self, word: Word, now: Nanos) -> Word {
        self.consecutive.store(0, Ordering::Relaxed);
        self.ring.reset();
        self.enter(word, Phase::Closed, millis_of(now))
    }

    /// Begins a generation.
    fn enter(&self, word: Word, phase: Phase, millis: u64) -> Word {
        self.put(phase, word.generation() + 1, millis)
    }

    fn put(&self, phase: Phase, generation: u64, millis: u64) -> Word {
        let word = Word::new(phase, generation, millis);
        self.word.store(word.raw(), Ordering::Release);
        self.effects.show(shown(word));
        word
    }
}

impl Rules {
    fn open_millis(&self) -> u64 {
        (self.open_for.as_millis() as u64).max(1)
    }
}

fn trying(slow: &Slow) -> Phase {
    if slow.probes < slow.rules.probes { Phase::Trying } else { Phase::Full }
}

fn transition(word: Word, next: Word, at: Nanos, open_for: Option<Duration>) -> Transition {
    let (from, to) = (word.phase().state(), next.phase().state());
    Transition { from, to, generation: next.generation() as u32, at, open_for }
}

fn shown(word: Word) -> Shown {
    let refuses_until = match word.phase() {
        Phase::Closed | Phase::Trying | Phase::Disabled => None,
        Phase::Open | Phase::Full => Some(word.moment()),
        Phase::ForcedOpen => Some(Nanos::MAX),
    };
    Shown { state: word.phase().state(), refuses_until }
}

/// `min(base · 2^(trips − 1), 300 s)`, times a draw from 0.8 to 1.2: breakers of a fleet do not try together.
pub(crate) fn open_for(base: Duration, trips: u64, draw: f64) -> Duration {
    let doublings = u32::try_from(trips.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
    base.saturating_mul(1 << doublings).min(MAX_OPEN).mul_f64(0.8 + 0.4 * draw)
}
