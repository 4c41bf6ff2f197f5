//! A set of endpoints as it is picked from.

use crate::{
    Policy,
    alias::even_two,
    baseline::{Baseline, LOOKED_AT},
    estimate::{stamp, written},
    panic::Panic,
    policy::{Choice, Draw, Pairs, Single},
    seat::{Lessons, Place, Seat},
};
use arc_swap::ArcSwap;
use fastrand::Rng;
use mesh_core::{Endpoint, EndpointId, EndpointSet, Nanos, Ticket, time};
use std::{collections::HashMap, sync::Arc};

/// How often a policy is asked again when what it chose will not do, before the others are gone through.
const DRAWS: usize = 4;

/// A set of endpoints, and what the policy comes to for their weights. Immutable and shared; built once for each
/// change of the set, off the path of requests.
#[derive(Debug)]
pub(crate) struct Table {
    places: Box<[Place]>,
    choice: Choice,
    /// What the choice most often is, in a word each: two of equal weight, by requests.
    even_requests: bool,
    /// By latency.
    even_latency: bool,
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
    /// That of the seat.
    pub(crate) slot: u32,
    /// When, where the policy wants to know how long it takes.
    at: Nanos,
}

impl<'a> Picked<'a> {
    #[inline]
    fn at(place: &'a Place, at: Nanos) -> Self {
        Self { seat: &place.seat, slot: place.slot, at }
    }

    #[inline]
    fn untimed(place: &'a Place) -> Self {
        Self::at(place, Nanos::ZERO)
    }

    /// What gave this ticket.
    pub(crate) fn again(seat: &'a Arc<Seat>, ticket: Ticket) -> Self {
        Self { seat, slot: seat.slot, at: Nanos::from_nanos(ticket.0) }
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
        self.places.len()
    }

    #[cfg(test)]
    pub(crate) fn seat(&self, index: usize) -> &Arc<Seat> {
        &self.places[index].seat
    }

    pub(crate) fn slots(&self) -> &[Option<EndpointId>] {
        &self.slots
    }

    /// As [`pick`](Self::pick) with nothing to avoid, where that is simplest: by requests or latency of any two, against
    /// neither of which anything speaks. `None`: it is not, and `pick` is to be asked, with the same random numbers.
    #[inline(always)]
    pub(crate) fn pick_simply(&self, random: &mut Rng) -> Option<Picked<'_>> {
        if self.even_requests {
            let (first, second) = self.two(random);
            if !(first.is_clear() & second.is_clear() & first.is_faultless() & second.is_faultless()) {
                return None;
            }
            return Some(Picked::untimed(if first.requests() <= second.requests() { first } else { second }));
        }
        if !self.even_latency {
            return None;
        }
        let lessons = &*self.lessons;
        let at = time::now();
        if lessons.baseline.is_due(at) {
            return None;
        }
        let (first, second) = self.two(random);
        if !(first.is_clear() & second.is_clear()) {
            return None;
        }
        let now = stamp(at);
        let (one, other) = (first.latency_word(), second.latency_word());
        let better = if lessons.rates.is_fresh(one, now) && lessons.rates.is_fresh(other, now) {
            if written(one) * first.calls() <= written(other) * second.calls() { first } else { second }
        } else {
            self.shorter_wait(first, second, now)
        };
        Some(Picked::at(better, at))
    }

    /// The one of two from which an answer is sooner to be expected, where one was not asked of late.
    #[inline(never)]
    fn shorter_wait<'a>(&self, first: &'a Place, second: &'a Place, now: u32) -> &'a Place {
        if first.wait(&self.lessons, now) <= second.wait(&self.lessons, now) { first } else { second }
    }

    /// Two different places, any of all; there are two.
    #[inline(always)]
    fn two(&self, random: &mut Rng) -> (&Place, &Place) {
        let (first, second) = even_two(random.u64(..), self.places.len());
        (&self.places[first], &self.places[second])
    }

    /// Picks an endpoint that is eligible: one that is not to be avoided while there is such a one, else any.
    pub(crate) fn pick(
        &self,
        mut draw: impl FnMut(Draw) -> u64,
        avoid: impl Fn(&Endpoint) -> bool,
    ) -> Option<Picked<'_>> {
        let fits = |place: &Place| place.is_eligible() && !avoid(&place.seat.endpoint);
        match &self.choice {
            Choice::Requests(pairs) => {
                self.better(pairs, || draw(Draw::Random), fits, Place::cost_by_requests).map(Picked::untimed)
            }
            Choice::Latency(pairs) => {
                let at = time::now();
                if self.lessons.baseline.is_due(at) {
                    self.refresh(at, &self.lessons.baseline);
                }
                let cost = |place: &Place| place.cost_by_latency(&self.lessons, stamp(at));
                self.better(pairs, || draw(Draw::Random), fits, cost).map(|place| Picked::at(place, at))
            }
            Choice::One(single, from) => {
                let chosen = single.choose(draw(*from));
                let place = &self.places[chosen];
                if fits(place) {
                    return Some(Picked::untimed(place));
                }
                self.find(single, chosen, || draw(*from), fits).map(Picked::untimed)
            }
            Choice::None => None,
        }
    }

    /// The one of two that costs less, the first if they cost the same.
    #[inline]
    fn better(
        &self,
        pairs: &Pairs,
        mut draw: impl FnMut() -> u64,
        fits: impl Fn(&Place) -> bool,
        cost: impl Fn(&Place) -> f32,
    ) -> Option<&Place> {
        let (one, other) = pairs.choose(self.places.len(), &mut draw);
        let (first, second) = (&self.places[one], &self.places[other]);
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
        fits: impl Fn(&Place) -> bool,
        cost: impl Fn(&Place) -> f32,
    ) -> Option<&Place> {
        self.look_at_health(false);
        let mut found: Option<&Place> = None;
        for _ in 0..DRAWS {
            for place in [&self.places[one], &self.places[other]] {
                match found {
                    _ if !fits(place) => {}
                    None => found = Some(place),
                    Some(first) if std::ptr::eq(first, place) => {}
                    Some(first) => return Some(if cost(first) <= cost(place) { first } else { place }),
                }
            }
            (one, other) = pairs.choose(self.places.len(), &mut draw);
        }
        let found = found.or_else(|| self.scan(one, &fits)).or_else(|| self.scan(one, Place::is_eligible));
        found.or_else(|| if self.look_at_health(true) { self.scan(one, Place::is_eligible) } else { None })
    }

    /// As the policy chooses, from the second draw on.
    #[cold]
    #[inline(never)]
    fn find(
        &self,
        single: &Single,
        first: usize,
        mut draw: impl FnMut() -> u64,
        fits: impl Fn(&Place) -> bool,
    ) -> Option<&Place> {
        self.look_at_health(false);
        if fits(&self.places[first]) {
            return Some(&self.places[first]);
        }
        let mut chosen = first;
        for _ in 1..DRAWS {
            chosen = single.choose(draw());
            if fits(&self.places[chosen]) {
                return Some(&self.places[chosen]);
            }
        }
        let found = self.scan(chosen, &fits).or_else(|| {
            let mut drawn = (0..DRAWS).map(|_| &self.places[single.choose(draw())]);
            drawn.find(|place| place.is_eligible()).or_else(|| self.scan(chosen, Place::is_eligible))
        });
        found.or_else(|| if self.look_at_health(true) { self.scan(chosen, Place::is_eligible) } else { None })
    }

    /// Something that was drawn does not fit, or, where `none`, nothing does: perhaps too few are healthy. Whether all
    /// are spared now.
    fn look_at_health(&self, none: bool) -> bool {
        let seats = self.places.iter().map(|place| &place.seat);
        let counts = |seat: &&Arc<Seat>| !self.weighted || seat.endpoint.weight() != 0;
        self.panic.look(time::now(), none, seats.filter(counts))
    }

    /// All in turn, from behind the last one that was chosen.
    #[cold]
    fn scan(&self, last: usize, fits: impl Fn(&Place) -> bool) -> Option<&Place> {
        let (before, behind) = self.places.split_at(last + 1);
        let counts = |place: &&Place| !self.weighted || place.seat.endpoint.weight() != 0;
        behind.iter().chain(before).filter(counts).find(|place| fits(place))
    }

    /// Looks at what is known of endpoints: at all, or at as many as there is room for.
    #[cold]
    #[inline(never)]
    fn refresh(&self, now: Nanos, baseline: &Baseline) {
        baseline.refresh(now, |values| {
            let mut count = 0;
            let mut see = |place: &Place| {
                let word = place.latency_word();
                if word != 0 {
                    values[count] = written(word);
                    count += 1;
                }
            };
            if self.places.len() <= LOOKED_AT {
                self.places.iter().for_each(see);
            } else {
                (0..LOOKED_AT).for_each(|_| see(&self.places[fastrand::usize(..self.places.len())]));
            }
            count
        });
    }
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
        let choice = Choice::new(self.policy, &weights);
        let mut slots = vec![None; self.slots.len() + self.free.len()];
        self.slots.iter().for_each(|(id, slot)| slots[*slot as usize] = Some(*id));
        let place =
            |endpoint: &Arc<Endpoint>| Place::new(endpoint.clone(), self.slots[&endpoint.id()], self.lessons.clone());
        Table {
            version: self.version,
            resolved: self.set.is_resolved(),
            places: endpoints.iter().map(place).collect(),
            lessons: self.lessons.clone(),
            panic: self.panic.clone(),
            even_requests: matches!(choice, Choice::Requests(Pairs::Even)),
            even_latency: matches!(choice, Choice::Latency(Pairs::Even)),
            choice,
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
