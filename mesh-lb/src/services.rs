//! The services of the endpoints: made once, cloned for each clone of the balancer.

use crate::{layer::locked, seat::Seat, table::Table};
use mesh_core::{Endpoint, EndpointId};
use std::sync::{Arc, Mutex};

/// The service of an endpoint.
struct Made<S> {
    endpoint: EndpointId,
    /// Which making it is from, so that a broken one is given up once.
    making: u64,
    service: S,
}

type Make<S> = Box<dyn Fn(&Arc<Endpoint>) -> S + Send + Sync>;

/// By slot of the table.
type Slots<S> = Vec<Option<Made<S>>>;

/// What clones of a balancer share: the first instance of each endpoint's service. Locked when a clone meets an
/// endpoint for the first time, and once for each change of the set.
pub(crate) struct Originals<S> {
    make: Make<S>,
    kept: Mutex<Kept<S>>,
}

struct Kept<S> {
    slots: Slots<S>,
    /// The version of the table that `slots` was last looked through for.
    swept: u64,
    makings: u64,
}

impl<S> Originals<S> {
    pub(crate) fn new(make: impl Fn(&Arc<Endpoint>) -> S + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), kept: Mutex::new(Kept { slots: Vec::new(), swept: 0, makings: 0 }) }
    }
}

/// The services of one clone of a balancer. An instance is made or cloned at the first call to its endpoint, and kept
/// until the endpoint leaves.
pub(crate) struct Services<S> {
    slots: Slots<S>,
}

impl<S> Services<S> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// The service of the endpoint that has this slot in the table that was last swept by, if it was called before.
    #[inline]
    pub(crate) fn known(&mut self, slot: u32) -> Option<&mut S> {
        // since that sweep no slot is another endpoint's
        match self.slots.get_mut(slot as usize) {
            Some(Some(made)) => Some(&mut made.service),
            _ => None,
        }
    }

    /// The same, made if it was not.
    pub(crate) fn get(&mut self, table: &Table, seat: &Seat, originals: &Originals<S>) -> &mut S
    where
        S: Clone,
    {
        let slot = seat.slot as usize;
        if self.known(seat.slot).is_none() {
            self.fetch(table, seat, originals);
        }
        match &mut self.slots[slot] {
            Some(made) => &mut made.service,
            None => unreachable!("just fetched"),
        }
    }

    #[cold]
    fn fetch(&mut self, table: &Table, seat: &Seat, originals: &Originals<S>)
    where
        S: Clone,
    {
        let (endpoint, slot) = (&seat.endpoint, seat.slot as usize);
        // the lock is let go before the service is made
        let kept = locked(&originals.kept).clone_of(endpoint.id(), slot);
        let made = kept.unwrap_or_else(|| {
            // made outside of the lock: it may take its time, panic, or call a balancer
            let service = (originals.make)(endpoint);
            let (made, unused) = locked(&originals.kept).add(endpoint.id(), slot, table.version(), service);
            drop(unused);
            made
        });
        if self.slots.len() <= slot {
            self.slots.resize_with(table.slots().len().max(slot + 1), || None);
        }
        self.slots[slot] = Some(made);
    }

    /// Gives the service of an endpoint up, as it has failed for good: the next call makes a new one.
    #[cold]
    pub(crate) fn discard(&mut self, seat: &Seat, originals: &Originals<S>) {
        let slot = seat.slot as usize;
        let Some(broken) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        let original = locked(&originals.kept)
            .slots
            .get_mut(slot)
            .and_then(|kept| kept.take_if(|kept| kept.endpoint == broken.endpoint && kept.making == broken.making));
        drop((broken, original));
    }

    /// Drops the services of endpoints that have left.
    pub(crate) fn sweep(&mut self, table: &Table, originals: &Originals<S>) {
        let gone = departed(&mut self.slots, table);
        let mut kept = locked(&originals.kept);
        let gone_originals = if kept.swept < table.version() {
            kept.swept = table.version();
            departed(&mut kept.slots, table)
        } else {
            Vec::new()
        };
        drop(kept);
        drop((gone, gone_originals));
    }
}

impl<S: Clone> Kept<S> {
    fn clone_of(&self, endpoint: EndpointId, slot: usize) -> Option<Made<S>> {
        let made = self.slots.get(slot)?.as_ref().filter(|made| made.endpoint == endpoint)?;
        Some(Made { endpoint, making: made.making, service: made.service.clone() })
    }

    /// Keeps a service and gives a clone of it, unless somebody else was faster; also what is not needed any more.
    fn add(&mut self, endpoint: EndpointId, slot: usize, version: u64, service: S) -> (Made<S>, Option<S>) {
        if let Some(made) = self.clone_of(endpoint, slot) {
            return (made, Some(service));
        }
        if version < self.swept {
            // the set has changed meanwhile, the slot may be another's: the caller has it for the call at hand
            return (Made { endpoint, making: 0, service }, None);
        }
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.makings += 1;
        let made = Made { endpoint, making: self.makings, service: service.clone() };
        let before = self.slots[slot].replace(Made { endpoint, making: self.makings, service });
        (made, before.map(|before| before.service))
    }
}

/// Takes out those whose endpoint is not in the set any more.
fn departed<S>(slots: &mut Slots<S>, table: &Table) -> Vec<Made<S>> {
    let stays = |slot: usize, made: &Made<S>| table.slots().get(slot) == Some(&Some(made.endpoint));
    let slots = slots.iter_mut().enumerate();
    slots.filter_map(|(slot, made)| made.take_if(|made| !stays(slot, made))).collect()
}
