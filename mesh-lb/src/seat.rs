//! An endpoint in a table: what it costs to pick it, and what is learned from how that went.

use crate::{
    Load, PeakEwma, Policy,
    baseline::Baseline,
    estimate::{Rates, faults, stamp},
};
use arc_swap::ArcSwap;
use mesh_core::{
    At, Code, End, Endpoint, EndpointSet, EndpointState, Head, HealthFlag, Hears, Nanos, Outcome, Side, Ticket, Watch,
    time,
};
use std::{
    sync::{
        Arc,
        atomic::{
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    time::Duration,
};

/// The longest time an endpoint is left alone because it asked for it.
const LONGEST_PUSHBACK: Duration = Duration::from_secs(300);

/// gRPC's *resource exhausted*: no failure by default, but as quick as one.
const EXHAUSTED: Code = Code::Grpc(8);

/// What a policy learns of endpoints; one for all tables of a policy.
#[derive(Debug)]
pub(crate) struct Lessons {
    kind: Kind,
    /// What latencies are read by, where they count.
    pub(crate) rates: Rates,
    pub(crate) baseline: Baseline,
    /// The set as it is now. Not the whole of `Endpoints`, which has the tables.
    set: Arc<ArcSwap<EndpointSet>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Requests,
    Latency,
}

impl Lessons {
    pub(crate) fn new(policy: Policy, set: Arc<ArcSwap<EndpointSet>>) -> Self {
        let (kind, ewma) = match policy {
            Policy::Random | Policy::RoundRobin => (Kind::Nothing, PeakEwma::DEFAULT),
            Policy::P2c { load: Load::LeastRequest } => (Kind::Requests, PeakEwma::DEFAULT),
            Policy::P2c { load: Load::PeakEwma(ewma) } => (Kind::Latency, ewma),
        };
        Self { kind, rates: ewma.rates(), baseline: Baseline::new(ewma.default_rtt), set }
    }
}

/// An endpoint in a table: what is read of one that was drawn is here and in its state. Its seat is touched only if it
/// is picked.
#[derive(Debug)]
pub(crate) struct Place {
    state: Arc<EndpointState>,
    pub(crate) seat: Arc<Seat>,
    /// By which its cost is multiplied: one divided by its weight.
    lightness: f32,
    /// That of the seat.
    pub(crate) slot: u32,
}

impl Place {
    pub(crate) fn new(endpoint: Arc<Endpoint>, slot: u32, lessons: Arc<Lessons>) -> Self {
        let state = endpoint.state().clone();
        // where weight 0 is chosen at all, everybody's is
        let lightness = 1.0 / endpoint.weight().max(1) as f32;
        let seat = Arc::new(Seat { endpoint, state: state.clone(), lessons, slot });
        Self { state, seat, lightness, slot }
    }

    /// Whether nothing speaks against it at this moment.
    #[inline]
    pub(crate) fn is_eligible(&self) -> bool {
        self.state.health().is_eligible()
    }

    /// Whether nothing ever did, as far as is remembered.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.state.health().is_clear()
    }

    /// Whether it has no failures of late.
    #[inline]
    pub(crate) fn is_faultless(&self) -> bool {
        self.state.fault_word().load(Relaxed) == 0
    }

    /// How long an answer takes, as far as is known; zero if nothing is.
    #[inline]
    pub(crate) fn latency_word(&self) -> u64 {
        self.state.latency_word().load(Relaxed)
    }

    /// Requests in flight: the cost of one without failures, where weights are equal.
    #[inline]
    pub(crate) fn requests(&self) -> u32 {
        self.state.in_flight()
    }

    /// The cost of one more call by requests in flight.
    #[inline]
    pub(crate) fn cost_by_requests(&self) -> f32 {
        let word = self.state.fault_word();
        let (seen, mut requests) = (word.load(Relaxed), self.requests());
        if seen != 0 {
            requests = requests.saturating_add(faults::count_or_forget(word, seen, stamp(time::now())));
        }
        // signed, as that is what processors convert
        (i64::from(requests) + 1) as f32 * self.lightness
    }

    /// The same by the time they take, where weights are equal.
    #[inline]
    pub(crate) fn wait(&self, lessons: &Lessons, now: u32) -> f32 {
        lessons.rates.read(self.latency_word(), now, lessons.baseline.median()) * self.calls()
    }

    /// Calls in flight and one more. Signed, as that is what processors convert.
    #[inline]
    pub(crate) fn calls(&self) -> f32 {
        (i64::from(self.requests()) + 1) as f32
    }

    /// The cost of one more call by the time they take.
    #[inline]
    pub(crate) fn cost_by_latency(&self, lessons: &Lessons, now: u32) -> f32 {
        self.wait(lessons, now) * self.lightness
    }
}

/// The watcher of calls to an endpoint: ends the count in flight and learns.
///
/// A ticket's first number is when the call began, where its latency is still to be learned; the second one is not zero
/// once its failure was.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Of the endpoint: nothing else of it is read at an end.
    state: Arc<EndpointState>,
    lessons: Arc<Lessons>,
    /// A small number that is this endpoint's for as long as it stays in the set.
    pub(crate) slot: u32,
}

impl Seat {
    /// Counts a pick.
    #[inline]
    pub(crate) fn pick(&self) {
        self.state.pick();
    }

    /// A call was not answered well.
    #[cold]
    #[inline(never)]
    fn learn_from_end(&self, mut ticket: Ticket, seen: Seen, at: At) {
        match self.lessons.kind {
            // after a head only a failure says more, and that once
            Kind::Latency if ticket.0 != 0 || (seen == Seen::Failure && ticket.1 == 0) => {
                self.learn_latency(&mut ticket, seen, at.now());
            }
            Kind::Requests if seen == Seen::Failure => faults::add(self.state.fault_word(), stamp(at.now())),
            Kind::Latency | Kind::Requests | Kind::Nothing => {}
        }
    }

    /// A result was seen: its latency counts, once.
    #[inline]
    fn learn_latency(&self, ticket: &mut Ticket, seen: Seen, now: Nanos) {
        let (rates, word) = (&self.lessons.rates, self.state.latency_word());
        let began = std::mem::take(&mut ticket.0);
        let nanos = nanos_since(began, now);
        match seen {
            Seen::Success => rates.observe(word, nanos, now),
            Seen::Failure => {
                ticket.1 = 1;
                let nanos = if began == 0 { 0.0 } else { nanos as f32 };
                rates.observe_failure(word, nanos, stamp(now), self.lessons.baseline.median());
            }
            Seen::Unfinished => rates.observe_at_least(word, nanos as f32, stamp(now)),
        }
    }

    /// Takes the endpoint out of what is eligible for a while, unless it is the last one.
    #[cold]
    fn leave_alone(&self, pushback: Duration) {
        let health = self.endpoint.health();
        health.set_until(HealthFlag::Pushback, time::now().plus(pushback.min(LONGEST_PUSHBACK)));
        // sequentially consistent: of two that leave at once, each sets its flag before it looks at the other's, so
        // they may both stay but never both go
        fence(SeqCst);
        let is_other = |other: &Arc<Endpoint>| {
            other.id() != self.endpoint.id() && other.weight() != 0 && other.health().is_healthy()
        };
        if !self.lessons.set.load().endpoints().iter().any(is_other) {
            health.set(HealthFlag::Pushback, false);
        }
    }
}

/// What a result says of the endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Success,
    Failure,
    /// It was not waited for.
    Unfinished,
}

impl Seen {
    /// Failures are those of the endpoint, what its own layers refuse, and gRPC's *resource exhausted*: whatever may
    /// come quickly without being of use.
    #[inline]
    fn of(outcome: Outcome, side: Side, code: Code) -> Self {
        match outcome {
            Outcome::Success if code != EXHAUSTED => Seen::Success,
            Outcome::Cancelled => Seen::Unfinished,
            _ if side == Side::Downstream => Seen::Unfinished,
            _ => Seen::Failure,
        }
    }
}

impl Watch for Seat {
    fn hears(&self) -> Hears {
        Hears::HeadAndEnd
    }

    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        let (outcome, code) = head.outcome_and_code();
        let seen = Seen::of(outcome.unwrap_or(Outcome::Success), head.side(), code);
        if seen == Seen::Failure
            && let Some(pushback) = pushback(head)
        {
            self.leave_alone(pushback);
        }
        if ticket.0 != 0 {
            self.learn_latency(ticket, seen, time::now());
        }
    }

    #[inline(always)]
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.state.end(end);
        let well = end.outcome == Outcome::Success && end.code != EXHAUSTED;
        // all by value, so that what is at hand stays in registers
        if !well {
            self.learn_from_end(ticket, Seen::of(end.outcome, end.side, end.code), end.at().clone());
        } else if ticket.0 != 0 {
            let now = end.at().now();
            self.lessons.rates.observe(self.state.latency_word(), nanos_since(ticket.0, now), now);
        }
    }
}

/// Signed, as that is what processors convert; below zero by some nanoseconds where the clocks of two threads differ.
#[inline]
fn nanos_since(began: u64, now: Nanos) -> i64 {
    now.as_nanos().wrapping_sub(began) as i64
}

/// How long the endpoint asks to be left alone: `retry-after` in seconds (a date would need a clock on the wall), or
/// gRPC's `grpc-retry-pushback-ms`.
fn pushback(head: &dyn Head) -> Option<Duration> {
    let number = |name| std::str::from_utf8(head.get(name)?).ok()?.trim().parse::<u64>().ok().filter(|n| *n != 0);
    let seconds = number("retry-after").map(Duration::from_secs);
    seconds.or_else(|| number("grpc-retry-pushback-ms").map(Duration::from_millis))
}
