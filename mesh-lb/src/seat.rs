//! An endpoint in a table: what it costs to pick it, and what is learned from how that went.

use crate::{
    Load, Policy,
    baseline::Baseline,
    estimate::{Rates, faults, stamp},
};
use arc_swap::ArcSwap;
use mesh_core::{Code, End, Endpoint, EndpointSet, Head, HealthFlag, Hears, Nanos, Outcome, Side, Ticket, Watch, time};
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
    /// The set as it is now. Not the whole of `Endpoints`, which has the tables.
    set: Arc<ArcSwap<EndpointSet>>,
}

#[derive(Debug)]
enum Kind {
    Nothing,
    Requests,
    Latency(Rates, Baseline),
}

impl Lessons {
    pub(crate) fn new(policy: Policy, set: Arc<ArcSwap<EndpointSet>>) -> Self {
        let kind = match policy {
            Policy::Random | Policy::RoundRobin => Kind::Nothing,
            Policy::P2c { load: Load::LeastRequest } => Kind::Requests,
            Policy::P2c { load: Load::PeakEwma(ewma) } => Kind::Latency(ewma.rates(), Baseline::new(ewma.default_rtt)),
        };
        Self { kind, set }
    }

    /// What estimates of latency are read by, where they count.
    #[inline]
    pub(crate) fn latency(&self) -> Option<(&Rates, &Baseline)> {
        match &self.kind {
            Kind::Latency(rates, baseline) => Some((rates, baseline)),
            Kind::Nothing | Kind::Requests => None,
        }
    }
}

/// An endpoint in a table. As the watcher of a call it ends the count in flight and learns.
///
/// A ticket's first number is when the call began, where its latency is still to be learned; the second one is not zero
/// once its failure was.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) endpoint: Arc<Endpoint>,
    lessons: Arc<Lessons>,
    /// By which its cost is multiplied: one divided by its weight.
    lightness: f32,
    /// A small number that is this endpoint's for as long as it stays in the set.
    pub(crate) slot: u32,
}

impl Seat {
    pub(crate) fn new(endpoint: Arc<Endpoint>, slot: u32, lessons: Arc<Lessons>) -> Self {
        // where weight 0 is chosen at all, everybody's is
        let lightness = 1.0 / endpoint.weight().max(1) as f32;
        Self { endpoint, lessons, lightness, slot }
    }

    /// The cost of one more call by requests in flight.
    #[inline]
    pub(crate) fn cost_by_requests(&self) -> f32 {
        let word = self.endpoint.fault_word().load(Relaxed);
        let mut requests = self.endpoint.in_flight();
        if word != 0 {
            requests = requests.saturating_add(failures_of_late(word));
        }
        // signed, as that is what processors convert
        (i64::from(requests) + 1) as f32 * self.lightness
    }

    /// The same by the time they take.
    #[inline]
    pub(crate) fn cost_by_latency(&self, rates: &Rates, now: u32, median: f32) -> f32 {
        let latency = rates.read(self.endpoint.latency_word().load(Relaxed), now, median);
        latency * (i64::from(self.endpoint.in_flight()) + 1) as f32 * self.lightness
    }

    /// A call has ended of which something is to be learned: how long it took, or that it failed, or that failures were
    /// long ago.
    #[inline(never)]
    fn learn_from_end(&self, mut ticket: Ticket, end: &End<'_>) {
        let seen = Seen::of(end.outcome, end.side, end.code);
        match &self.lessons.kind {
            // after a head only a failure says more, and that once
            Kind::Latency(rates, baseline) if ticket.0 != 0 || (seen == Seen::Failure && ticket.1 == 0) => {
                self.learn_latency(rates, baseline, &mut ticket, seen, end.at().now());
            }
            Kind::Requests if seen == Seen::Failure => {
                faults::add(self.endpoint.fault_word(), stamp(end.at().now()));
            }
            Kind::Requests => faults::forget(self.endpoint.fault_word(), stamp(end.at().now())),
            Kind::Latency(..) | Kind::Nothing => {}
        }
    }

    /// A result was seen: its latency counts, once.
    #[inline]
    fn learn_latency(&self, rates: &Rates, baseline: &Baseline, ticket: &mut Ticket, seen: Seen, now: Nanos) {
        let began = std::mem::take(&mut ticket.0);
        let nanos = now.as_nanos().saturating_sub(began) as f32;
        let (word, now) = (self.endpoint.latency_word(), stamp(now));
        match seen {
            Seen::Success => rates.observe(word, nanos, now),
            Seen::Failure => {
                ticket.1 = 1;
                let nanos = if began == 0 { 0.0 } else { nanos };
                rates.observe_failure(word, nanos, now, baseline.median());
            }
            Seen::Unfinished => rates.observe_at_least(word, nanos, now),
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

/// In a function of its own: the clock is read only where something has failed.
#[cold]
#[inline(never)]
fn failures_of_late(word: u64) -> u32 {
    faults::count(word, stamp(time::now()))
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
        if ticket.0 != 0
            && let Kind::Latency(rates, baseline) = &self.lessons.kind
        {
            self.learn_latency(rates, baseline, ticket, seen, time::now());
        }
    }

    #[inline]
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.endpoint.on_end(ticket, end);
        let well = end.outcome == Outcome::Success && end.code != EXHAUSTED;
        if ticket.0 != 0 || !well || self.endpoint.fault_word().load(Relaxed) != 0 {
            self.learn_from_end(ticket, end);
        }
    }
}

/// How long the endpoint asks to be left alone: `retry-after` in seconds (a date would need a clock on the wall), or
/// gRPC's `grpc-retry-pushback-ms`.
fn pushback(head: &dyn Head) -> Option<Duration> {
    let number = |name| std::str::from_utf8(head.get(name)?).ok()?.trim().parse::<u64>().ok().filter(|n| *n != 0);
    let seconds = number("retry-after").map(Duration::from_secs);
    seconds.or_else(|| number("grpc-retry-pushback-ms").map(Duration::from_millis))
}
