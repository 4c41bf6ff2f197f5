//! A set of endpoints as it is picked from.

use crate::{
    Policy,
    policy::{Choice, Draw},
};
use mesh_core::{Endpoint, EndpointId, EndpointSet};
use std::{collections::HashMap, sync::Arc};

/// How often a policy is asked again when what it chose will not do, before the others are gone through.
const DRAWS: usize = 4;

/// A set of endpoints, and what the policy comes to for their weights. Immutable and shared; built once for each
/// change of the set, off the path of requests.
#[derive(Debug)]
pub(crate) struct Table {
    version: u64,
    resolved: bool,
    entries: Box<[Entry]>,
    /// `None`: there is nothing to choose from.
    choice: Option<Choice>,
    /// Whether weight 0 means never; not so where all weights are 0.
    weighted: bool,
    /// Who has which slot.
    slots: Box<[Option<EndpointId>]>,
}

#[derive(Debug)]
struct Entry {
    endpoint: Arc<Endpoint>,
    slot: u32,
}

impl Table {
    /// Grows with every change of the set or the policy.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether discovery has said anything yet.
    pub(crate) fn is_resolved(&self) -> bool {
        self.resolved
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        &self.entries[index].endpoint
    }

    /// A small number that is this endpoint's for as long as it stays in the set.
    pub(crate) fn slot(&self, index: usize) -> usize {
        self.entries[index].slot as usize
    }

    pub(crate) fn slots(&self) -> &[Option<EndpointId>] {
        &self.slots
    }

    /// What a pick needs.
    #[inline]
    pub(crate) fn draws(&self) -> Draw {
        self.choice.as_ref().map_or(Draw::Random, Choice::draws)
    }

    /// Picks an endpoint that is eligible: one that is not to be avoided while there is such a one, else any.
    #[inline]
    pub(crate) fn pick(
        &self,
        mut draw: impl FnMut() -> u64,
        avoid: impl Fn(usize, &Endpoint) -> bool,
    ) -> Option<usize> {
        let choice = self.choice.as_ref()?;
        self.find(choice, &mut draw, |index, endpoint| endpoint.health().is_eligible() && !avoid(index, endpoint))
            .or_else(|| self.find(choice, &mut draw, |_, endpoint| endpoint.health().is_eligible()))
    }

    #[inline]
    fn find(
        &self,
        choice: &Choice,
        draw: &mut impl FnMut() -> u64,
        fits: impl Fn(usize, &Endpoint) -> bool,
    ) -> Option<usize> {
        let mut chosen = 0;
        for _ in 0..DRAWS {
            chosen = choice.choose(draw());
            if fits(chosen, &self.entries[chosen].endpoint) {
                return Some(chosen);
            }
        }
        self.scan(chosen, fits)
    }

    /// All in turn, from behind the last one that was chosen.
    #[cold]
    fn scan(&self, last: usize, fits: impl Fn(usize, &Endpoint) -> bool) -> Option<usize> {
        let behind = last + 1..self.entries.len();
        behind.chain(0..=last).find(|index| {
            let endpoint = &self.entries[*index].endpoint;
            (!self.weighted || endpoint.weight() != 0) && fits(*index, endpoint)
        })
    }
}

/// Makes one table after the other.
#[derive(Debug)]
pub(crate) struct TableBuilder {
    policy: Policy,
    set: Arc<EndpointSet>,
    version: u64,
    slots: HashMap<EndpointId, u32>,
    free: Vec<u32>,
}

impl TableBuilder {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, set: Arc::default(), version: 0, slots: HashMap::new(), free: Vec::new() }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) -> Table {
        self.policy = policy;
        self.build()
    }

    pub(crate) fn set_endpoints(&mut self, set: Arc<EndpointSet>) -> Table {
        self.set = set;
        self.build()
    }

    fn build(&mut self) -> Table {
        self.version += 1;
        self.assign_slots();
        let endpoints = self.set.endpoints();
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight()).collect();
        let mut slots = vec![None; self.slots.len() + self.free.len()];
        self.slots.iter().for_each(|(id, slot)| slots[*slot as usize] = Some(*id));
        let entry = |endpoint: &Arc<Endpoint>| Entry { endpoint: endpoint.clone(), slot: self.slots[&endpoint.id()] };
        Table {
            version: self.version,
            resolved: self.set.is_resolved(),
            entries: endpoints.iter().map(entry).collect(),
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
