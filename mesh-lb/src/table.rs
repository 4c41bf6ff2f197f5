//! A set of endpoints as it is picked from.

use crate::{
    Policy,
    baseline::{Baseline, LOOKED_AT},
    estimate::{stamp, written},
    panic::Panic,
    policy::{Choice, Draw, Pairs, Single},
    seat::{Lessons, Seat},
};
use arc_swap::ArcSwap;
use mesh_core::{Endpoint, EndpointId, EndpointSet, Nanos, Ticket, time};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// How often a policy is asked again when what it chose will not do, before the others are gone through.
const DRAWS: usize = 4;

/// A set of endpoints, and what the policy comes to for their weights. Immutable and shared; built once for each
/// change of the set, off the path of requests.
#[derive(Debug)]
pub(crate) struct Table {
    seats: Box<[Arc<Seat>]>,
    /// `None`: there is nothing to choose from.
    choice: Option<Choice>,
    lessons: Arc<Lessons>,
    panic: Arc<Panic>,
    version: u64,
    resolved: bool,
    /// Whether weight 0 means never; not so where all weights are 0.
    weighted: bool,
    /// Who has which slot.
    slots: Box<[Option<EndpointId>]>,
}

/// An endpoint that was picked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picked<'a> {
    pub(crate) seat: &'a Arc<Seat>,
    /// When, where the policy wants to know how long it takes.
    at: Nanos,
}

impl<'a> Picked<'a> {
    /// What gave this ticket.
    pub(crate) fn again(seat: &'a Arc<Seat>, ticket: Ticket) -> Self {
        Self { seat, at: Nanos::from_nanos(ticket.0) }
    }

    /// What its [`Seat`] is to hear again.
    #[inline]
    pub(crate) fn ticket(self) -> Ticket {
        Ticket(self.at.as_nanos(), 0)
    }
}

impl Table {
    /// Grows with every change of the set or the policy.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether discovery has said anything yet.
    pub(crate) fn is_resolved(&self) -> bool {
        self.resolved
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    #[cfg(test)]
    pub(crate) fn seat(&self, index: usize) -> &Arc<Seat> {
        &self.seats[index]
    }

    pub(crate) fn slots(&self) -> &[Option<EndpointId>] {
        &self.slots
    }

    /// Picks an endpoint that is eligible: one that is not to be avoided while there is such a one, else any.
    #[inline(always)]
    pub(crate) fn pick(
        &self,
        mut draw: impl FnMut(Draw) -> u64,
        avoid: impl Fn(&Endpoint) -> bool,
    ) -> Option<Picked<'_>> {
        let fits = |seat: &Seat| seat.endpoint.health().is_eligible() && !avoid(&seat.endpoint);
        let untimed = |seat| Picked { seat, at: Nanos::ZERO };
        match self.choice.as_ref()? {
            Choice::Better(pairs) => {
                let draw = || draw(Draw::Random);
                match self.lessons.latency() {
                    None => self.better(pairs, draw, fits, Seat::cost_by_requests).map(untimed),
                    Some((rates, baseline)) => {
                        let at = time::now();
                        if baseline.is_due(at) {
                            self.refresh(at, baseline);
                        }
                        let (now, median) = (stamp(at), baseline.median());
                        let cost = |seat: &Seat| seat.cost_by_latency(rates, now, median);
                        self.better(pairs, draw, fits, cost).map(|seat| Picked { seat, at })
                    }
                }
            }
            Choice::One(single, from) => {
                let chosen = single.choose(draw(*from));
                let seat = &self.seats[chosen];
                if fits(seat) {
                    return Some(untimed(seat));
                }
                self.find(single, chosen, || draw(*from), fits).map(untimed)
            }
        }
    }

    /// The one of two that costs less, the first if they cost the same.
    #[inline(always)]
    fn better(
        &self,
        pairs: &Pairs,
        mut draw: impl FnMut() -> u64,
        fits: impl Fn(&Seat) -> bool,
        cost: impl Fn(&Seat) -> f32,
    ) -> Option<&Arc<Seat>> {
        let (one, other) = pairs.choose(&mut draw);
        let (first, second) = (&self.seats[one], &self.seats[other]);
        if fits(first) && fits(second) {
            return Some(if cost(first) <= cost(second) { first } else { second });
        }
        self.better_of_some((one, other), pairs, draw, fits, cost)
    }

    /// The same where not all endpoints fit: of the first two that do.
    #[cold]
    #[inline(never)]
    fn better_of_some(
        &self,
        (mut one, mut other): (usize, usize),
        pairs: &Pairs,
        mut draw: impl FnMut() -> u64,
        fits: impl Fn(&Seat) -> bool,
        cost: impl Fn(&Seat) -> f32,
    ) -> Option<&Arc<Seat>> {
        self.look_at_health(false);
        let mut found: Option<&Arc<Seat>> = None;
        for _ in 0..DRAWS {
            for seat in [&self.seats[one], &self.seats[other]] {
                match found {
                    _ if !fits(seat) => {}
                    None => found = Some(seat),
                    Some(first) if Arc::ptr_eq(first, seat) => {}
                    Some(first) => return Some(if cost(first) <= cost(seat) { first } else { seat }),
                }
            }
            (one, other) = pairs.choose(&mut draw);
        }
        let found = found.or_else(|| self.scan(one, &fits)).or_else(|| self.scan(one, is_eligible));
        found.or_else(|| if self.look_at_health(true) { self.scan(one, is_eligible) } else { None })
    }

    /// As the policy chooses, from the second draw on.
    #[cold]
    #[inline(never)]
    fn find(
        &self,
        single: &Single,
        first: usize,
        mut draw: impl FnMut() -> u64,
        fits: impl Fn(&Seat) -> bool,
    ) -> Option<&Arc<Seat>> {
        self.look_at_health(false);
        if fits(&self.seats[first]) {
            return Some(&self.seats[first]);
        }
        let mut chosen = first;
        for _ in 1..DRAWS {
            chosen = single.choose(draw());
            if fits(&self.seats[chosen]) {
                return Some(&self.seats[chosen]);
            }
        }
        let found = self.scan(chosen, &fits).or_else(|| {
            let mut drawn = (0..DRAWS).map(|_| &self.seats[single.choose(draw())]);
            drawn.find(|seat| is_eligible(seat)).or_else(|| self.scan(chosen, is_eligible))
        });
        found.or_else(|| if self.look_at_health(true) { self.scan(chosen, is_eligible) } else { None })
    }

    /// Something that was drawn does not fit, or, where `none`, nothing does: perhaps too few are healthy. Whether all
    /// are spared now.
    fn look_at_health(&self, none: bool) -> bool {
        let counts = |seat: &&Arc<Seat>| !self.weighted || seat.endpoint.weight() != 0;
        self.panic.look(time::now(), none, self.seats.iter().filter(counts))
    }

    /// All in turn, from behind the last one that was chosen.
    #[cold]
    fn scan(&self, last: usize, fits: impl Fn(&Seat) -> bool) -> Option<&Arc<Seat>> {
        let (before, behind) = self.seats.split_at(last + 1);
        behind.iter().chain(before).find(|seat| (!self.weighted || seat.endpoint.weight() != 0) && fits(seat))
    }

    /// Looks at what is known of endpoints: at all, or at as many as there is room for.
    #[cold]
    #[inline(never)]
    fn refresh(&self, now: Nanos, baseline: &Baseline) {
        baseline.refresh(now, |values| {
            let mut count = 0;
            let mut see = |seat: &Seat| {
                let word = seat.endpoint.latency_word().load(Relaxed);
                if word != 0 {
                    values[count] = written(word);
                    count += 1;
                }
            };
            if self.seats.len() <= LOOKED_AT {
                self.seats.iter().for_each(|seat| see(seat));
            } else {
                (0..LOOKED_AT).for_each(|_| see(&self.seats[fastrand::usize(..self.seats.len())]));
            }
            count
        });
    }
}

fn is_eligible(seat: &Seat) -> bool {
    seat.endpoint.health().is_eligible()
}

/// Makes one table after the other.
#[derive(Debug)]
pub(crate) struct TableBuilder {
    policy: Policy,
    source: Arc<ArcSwap<EndpointSet>>,
    lessons: Arc<Lessons>,
    panic: Arc<Panic>,
    set: Arc<EndpointSet>,
    version: u64,
    slots: HashMap<EndpointId, u32>,
    free: Vec<u32>,
}

impl TableBuilder {
    /// `source` is where the set is to be read, at any time.
    pub(crate) fn new(policy: Policy, source: Arc<ArcSwap<EndpointSet>>) -> Self {
        let lessons = Arc::new(Lessons::new(policy, source.clone()));
        let (panic, slots) = (Arc::new(Panic::new()), HashMap::new());
        Self { policy, source, lessons, panic, set: Arc::default(), version: 0, slots, free: Vec::new() }
    }

    pub(crate) fn panic(&self) -> &Panic {
        &self.panic
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) -> Table {
        if policy != self.policy {
            self.policy = policy;
            self.lessons = Arc::new(Lessons::new(policy, self.source.clone()));
        }
        self.build()
    }

    pub(crate) fn set_endpoints(&mut self, set: Arc<EndpointSet>) -> Table {
        self.set = set;
        self.build()
    }

    pub(crate) fn build(&mut self) -> Table {
        self.version += 1;
        self.assign_slots();
        let endpoints = self.set.endpoints();
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight()).collect();
        let mut slots = vec![None; self.slots.len() + self.free.len()];
        self.slots.iter().for_each(|(id, slot)| slots[*slot as usize] = Some(*id));
        let seat = |endpoint: &Arc<Endpoint>| {
            Arc::new(Seat::new(endpoint.clone(), self.slots[&endpoint.id()], self.lessons.clone()))
        };
        Table {
            version: self.version,
            resolved: self.set.is_resolved(),
            seats: endpoints.iter().map(seat).collect(),
            lessons: self.lessons.clone(),
            panic: self.panic.clone(),
            choice: (!weights.is_empty()).then(|| Choice::new(self.policy, &weights)),
            weighted: weights.iter().any(|weight| *weight != 0),
            slots: slots.into(),
        }
    }

    /// Those that stay keep their slot, those that come take the slots of those that left.
    fn assign_slots(&mut self) {
        let mut before = std::mem::take(&mut self.slots);
        let mut without = Vec::new();
        for endpoint in self.set.endpoints() {
            match before.remove(&endpoint.id()) {
                Some(slot) => _ = self.slots.insert(endpoint.id(), slot),
                None => without.push(endpoint.id()),
            }
        }
        self.free.extend(before.into_values());
        for id in without {
            let next = (self.slots.len() + self.free.len()) as u32;
            let slot = self.free.pop().unwrap_or(next);
            self.slots.insert(id, slot);
        }
    }
}
