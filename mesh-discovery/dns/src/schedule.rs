//! When to ask again, and what to say: a function of what the last round came to, and the time.

use crate::{DnsSettings, resolve::Outcome};
use mesh_core::{Nanos, Target};
use mesh_discovery::Backoff;
use std::time::Duration;

/// An answer that there is nothing is good for so long where it does not say how long,
const MISSING_FOR: Duration = Duration::from_secs(5);
/// and at the most for so long: somebody waits for the name to appear.
const MISSING_AT_MOST: Duration = Duration::from_secs(30);
/// The longest TTL there is: 2³¹ − 1 seconds (RFC 2181).
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);

/// What is known, and how it was learned.
#[derive(Debug)]
pub(crate) struct Schedule {
    min_ttl: Duration,
    max_ttl: Duration,
    grace: Duration,
    backoff: Backoff,
    random: fastrand::Rng,
    state: State,
    failing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was ever answered.
    Unknown,
    /// There are endpoints.
    Found,
    /// There were endpoints; since then the answer is that there are none. Those that were stay.
    Fading { since: Nanos },
    /// There are none.
    Missing,
}

/// What follows from a round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// All endpoints there are now.
    pub(crate) say: Option<Vec<Target>>,
    /// The next round begins after this time.
    pub(crate) wait: Duration,
    /// What has changed.
    pub(crate) event: Option<Event>,
}

/// A change that is logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Servers do not answer, or not all. What was known stays.
    Failing(String),
    /// They do again.
    Recovered,
    /// There are none; those that were stay for the grace.
    Fading,
    /// There are none, and none are used any more.
    Missing,
}

impl Schedule {
    pub(crate) fn new(settings: &DnsSettings) -> Self {
        Self {
            min_ttl: settings.min_ttl.min(LONGEST),
            max_ttl: settings.max_ttl.max(settings.min_ttl).min(LONGEST),
            grace: settings.grace,
            backoff: Backoff::default(),
            random: fastrand::Rng::new(),
            state: State::Unknown,
            failing: false,
        }
    }

    pub(crate) fn take(&mut self, outcome: Outcome, now: Nanos) -> Next {
        match outcome {
            Outcome::Found { targets, ttl, failure } => {
                self.state = State::Found;
                let mut wait = self.after(ttl.clamp(self.min_ttl, self.max_ttl));
                let event = self.note(failure);
                if self.failing {
                    wait = wait.min(self.backoff.next_wait());
                }
                Next { say: Some(targets), wait, event }
            }
            Outcome::Missing { ttl } => {
                let recovered = self.note(None);
                let ttl = ttl.unwrap_or(MISSING_FOR);
                let mut wait = self.after(ttl.clamp(self.min_ttl, self.max_ttl.min(MISSING_AT_MOST).max(self.min_ttl)));
                let since = match self.state {
                    State::Missing => return Next { say: None, wait, event: recovered },
                    State::Unknown => None,
                    State::Found => Some(now),
                    State::Fading { since } => Some(since),
                };
                let left = since.map(|since| self.grace.saturating_sub(now.since(since)));
                match (since, left) {
                    (Some(since), Some(left)) if left > Duration::ZERO => {
                        let event = if self.state == State::Found { Some(Event::Fading) } else { recovered };
                        self.state = State::Fading { since };
                        wait = wait.min(left);
                        Next { say: None, wait, event }
                    }
                    _ => {
                        self.state = State::Missing;
                        Next { say: Some(Vec::new()), wait, event: Some(Event::Missing) }
                    }
                }
            }
            Outcome::Failed(failure) => {
                let event = self.note(Some(failure));
                Next { say: None, wait: self.backoff.next_wait(), event }
            }
        }
    }

    /// A little later than `ttl`, never earlier: a cache between here and there would give what it has left. The
    /// tenth that is random keeps those who began together from asking together.
    fn after(&mut self, ttl: Duration) -> Duration {
        ttl.mul_f64(1.0 + 0.1 * self.random.f64())
    }

    /// Notes whether servers fail; an event where that has changed.
    fn note(&mut self, failure: Option<String>) -> Option<Event> {
        let before = std::mem::replace(&mut self.failing, failure.is_some());
        match failure {
            Some(failure) if !before => Some(Event::Failing(failure)),
            Some(_) => None,
            None => {
                self.backoff.reset();
                before.then_some(Event::Recovered)
            }
        }
    }
}
