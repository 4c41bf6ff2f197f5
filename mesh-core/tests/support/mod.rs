//! Gates and services that several tests use.
#![allow(dead_code, reason = "each test uses a part")]

use mesh_core::{At, End, Gate, Head, Hears, Kind, Outcome, Rejection, Ticket, Watch};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What was told, in order.
#[derive(Clone, Default)]
pub(crate) struct Tale(Arc<Mutex<Vec<String>>>);

impl Tale {
    pub(crate) fn tell(&self, line: impl Into<String>) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line.into());
    }

    /// What was told since the last look.
    pub(crate) fn look(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// A gate that tells under this name.
    pub(crate) fn gate(&self, name: &'static str) -> Teller {
        Teller { name, tale: self.clone(), hears: Hears::HeadAndEnd, hold: None, panics: false }
    }
}

/// Tells what it hears, and checks that it gets its own ticket back.
pub(crate) struct Teller {
    name: &'static str,
    tale: Tale,
    hears: Hears,
    hold: Option<Duration>,
    panics: bool,
}

impl Teller {
    pub(crate) fn hearing(self, hears: Hears) -> Self {
        Self { hears, ..self }
    }

    pub(crate) fn holding(self, hold: Duration) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// It panics at heads and at ends.
    pub(crate) fn panicking(self) -> Self {
        Self { panics: true, ..self }
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.name.len() as u64, u64::MAX - u64::from(self.name.as_bytes()[0]))
    }
}

impl Watch for Teller {
    fn hears(&self) -> Hears {
        self.hears
    }

    fn longest_hold(&self) -> Option<Duration> {
        self.hold
    }

    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        self.tale.tell(format!("{} head", self.name));
        head.set("x-last", self.name.as_bytes());
        assert!(!self.panics, "at the head, as it was told");
        assert_eq!(*ticket, self.ticket());
        ticket.0 += 100;
    }

    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.tale.tell(format!("{} {}", self.name, end.outcome.as_str()));
        assert!(!self.panics, "at the end, as it was told");
        assert_eq!((ticket.0 % 100, ticket.1), (self.ticket().0, self.ticket().1));
    }
}

impl<R> Gate<R> for Teller {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        self.tale.tell(format!("{} admits", self.name));
        Ok(Some(self.ticket()))
    }
}

/// A breaker without a clock: it opens after so many failures and stays open.
pub(crate) struct Breaker {
    left: AtomicU32,
}

impl Breaker {
    pub(crate) fn new(failures: u32) -> Self {
        Self { left: failures.into() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.left.load(Relaxed) == 0
    }
}

impl Watch for Breaker {
    fn on_end(&self, _: Ticket, end: &End<'_>) {
        if end.outcome.is_failure() {
            let _ = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        }
    }
}

impl<R> Gate<R> for Breaker {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        if self.is_open() { Err(Rejection::new(Kind::CircuitOpen)) } else { Ok(Some(Ticket::default())) }
    }
}

/// At most so many calls at once, to the end of the body.
pub(crate) struct AtOnce {
    max: AtomicU32,
    now: AtomicU32,
}

impl AtOnce {
    pub(crate) fn new(max: u32) -> Self {
        Self { max: max.into(), now: 0.into() }
    }

    pub(crate) fn now(&self) -> u32 {
        self.now.load(Relaxed)
    }

    pub(crate) fn set_max(&self, max: u32) {
        self.max.store(max, Relaxed);
    }
}

impl Watch for AtOnce {
    fn on_end(&self, _: Ticket, _: &End<'_>) {
        self.now.fetch_sub(1, Relaxed);
    }
}

impl<R> Gate<R> for AtOnce {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        let max = self.max.load(Relaxed);
        match self.now.fetch_update(Relaxed, Relaxed, |now| (now < max).then_some(now + 1)) {
            Ok(_) => Ok(Some(Ticket::default())),
            Err(_) => Err(Rejection::new(Kind::Saturated)),
        }
    }
}

pub(crate) fn outcomes(expected: &[(&str, Outcome)]) -> Vec<String> {
    expected.iter().map(|(name, outcome)| format!("{name} {}", outcome.as_str())).collect()
}
