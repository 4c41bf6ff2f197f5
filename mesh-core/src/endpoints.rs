use crate::{Address, Endpoint, EndpointId, Nanos, Target, endpoint::Membership, time};
use arc_swap::ArcSwap;
use futures_core::Stream;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A change of what discovery knows. Streams of these are what discovery is to the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// All targets there are, in place of all there were.
    Set(Vec<Target>),
    /// Some are new or changed, some are gone.
    Change {
        /// New ones, and changed ones by their address.
        upsert: Vec<Target>,
        /// Those that are gone.
        remove: Vec<Address>,
    },
}

/// One state of a set of endpoints. Immutable; a request keeps the one it began with.
#[derive(Debug, Default)]
pub struct EndpointSet {
    version: u64,
    resolved: bool,
    endpoints: Vec<Arc<Endpoint>>,
}

impl EndpointSet {
    /// Grows with every change of the set. What discovery says again without a change is no new set.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether discovery has said anything yet.
    pub fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// All endpoints, also those that are not eligible at the moment, in the order discovery gave.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

/// How long the state of an endpoint is kept after it left: discovery flaps, endpoints need not forget.
const REMEMBERED: Duration = Duration::from_secs(60);
/// After a change, further ones are gathered for this long.
const COALESCED: Duration = Duration::from_millis(10);
/// So many updates are taken before others get their turn, and before what they say is published.
const AT_ONCE: usize = 256;

/// A set of endpoints that changes. Clones share it.
#[derive(Clone)]
pub struct Endpoints {
    set: Arc<ArcSwap<EndpointSet>>,
    observers: Arc<Mutex<Observers>>,
    /// By address, for a while also those that have left.
    known: Arc<Mutex<HashMap<Address, Known>>>,
}

/// Told of each set in turn; locked while a set is published.
#[derive(Default)]
struct Observers {
    subscribed: u64,
    list: Vec<(u64, Observer)>,
}

type Observer = Box<dyn FnMut(&Arc<EndpointSet>) + Send>;

impl Endpoints {
    /// The set that a stream of updates describes, and the driver that keeps it up to date: a future that somebody
    /// must run. Without its driver the last good set stays.
    pub fn new<S>(updates: S) -> (Self, EndpointsDriver<S>)
    where
        S: Stream<Item = Update>,
    {
        Self::unknown().driven_by(updates)
    }

    /// As [`Endpoints::new`], in place of `before`. Until the stream says something the set is the one that `before`
    /// is now. An endpoint at an address that was there, or has left no longer than a minute ago, stays the same one,
    /// with its number, counts and health.
    pub fn new_after<S>(updates: S, before: &Endpoints) -> (Self, EndpointsDriver<S>)
    where
        S: Stream<Item = Update>,
    {
        before.successor().driven_by(updates)
    }

    fn driven_by<S: Stream<Item = Update>>(self, updates: S) -> (Self, EndpointsDriver<S>) {
        let driver = EndpointsDriver {
            updates: Box::pin(updates),
            members: Members::default(),
            endpoints: self.clone(),
            coalescing: None,
            dirty: false,
            resolved: false,
        };
        (self, driver)
    }

    /// A set that never changes.
    pub fn fixed(targets: impl IntoIterator<Item = Target>) -> Self {
        Self::unknown().fixed_on(targets)
    }

    /// As [`Endpoints::fixed`], in place of `before`: an endpoint at an address that was there, or has left no longer
    /// than a minute ago, stays the same one, with its number, counts and health.
    pub fn fixed_after(targets: impl IntoIterator<Item = Target>, before: &Endpoints) -> Self {
        before.successor().fixed_on(targets)
    }

    fn fixed_on(self, targets: impl IntoIterator<Item = Target>) -> Self {
        let mut members = Members::default();
        members.apply(Update::Set(targets.into_iter().collect()));
        let version = self.set.load().version + 1;
        self.set.store(Arc::new(members.publish(version, &mut locked(&self.known))));
        self
    }

    fn unknown() -> Self {
        Self { set: Arc::default(), observers: Arc::default(), known: Arc::default() }
    }

    /// Another set that begins as this one is.
    fn successor(&self) -> Self {
        let known = locked(&self.known).clone();
        Self { set: Arc::new(ArcSwap::new(self.load())), observers: Arc::default(), known: Arc::new(Mutex::new(known)) }
    }

    /// The present set. For a place that asks per request, keep an `arc_swap::Cache` of [`Endpoints::source`].
    pub fn load(&self) -> Arc<EndpointSet> {
        self.set.load_full()
    }

    /// Where the present set is to be read.
    pub fn source(&self) -> &Arc<ArcSwap<EndpointSet>> {
        &self.set
    }

    /// Tells `observer` of the present set, at once, and then of each further one before [`Endpoints::load`] shows
    /// it, in the order of subscription: what a worker needs for a set is ready when the worker sees it. Until the
    /// subscription is dropped.
    ///
    /// It is called by whoever drives the set, so off the path of requests; it must not subscribe to the same
    /// endpoints or drop a subscription to them.
    pub fn subscribe(&self, mut observer: impl FnMut(&Arc<EndpointSet>) + Send + 'static) -> Subscription {
        let mut observers = locked(&self.observers);
        observer(&self.set.load_full());
        observers.subscribed += 1;
        let number = observers.subscribed;
        observers.list.push((number, Box::new(observer)));
        Subscription { observers: Arc::downgrade(&self.observers), number }
    }

    /// The first set that discovery gives, or the present one if it has said anything yet; `None` if it says nothing
    /// `within` this time. An empty set is an answer, too. Dropping the future leaves nothing behind.
    ///
    /// # Panics
    /// As [`time::sleep`], if there is something to wait for.
    pub async fn resolved(&self, within: Duration) -> Option<Arc<EndpointSet>> {
        let present = self.load();
        if present.is_resolved() {
            return Some(present);
        }
        // taken from what the observer is told: the set shows only after that
        let first = Arc::<Mutex<(Option<Arc<EndpointSet>>, Option<Waker>)>>::default();
        let told = first.clone();
        let _subscription = self.subscribe(move |set| {
            if set.is_resolved() {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.0.get_or_insert_with(|| set.clone());
                told.1.take().into_iter().for_each(Waker::wake);
            }
        });
        let mut limit = time::sleep(within);
        poll_fn(|cx| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(set) = first.0.take() {
                return Poll::Ready(Some(set));
            }
            first.1 = Some(cx.waker().clone());
            drop(first);
            Pin::new(&mut limit).poll(cx).map(|()| None)
        })
        .await
    }

    fn publish(&self, set: EndpointSet) {
        let set = Arc::new(set);
        let mut observers = locked(&self.observers);
        observers.list.iter_mut().for_each(|(_, observer)| observer(&set));
        self.set.store(set);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Made by [`Endpoints::subscribe`]; dropping it ends it.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    observers: Weak<Mutex<Observers>>,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(observers) = self.observers.upgrade() else { return };
        let mut observers = locked(&observers);
        let place = observers.list.iter().position(|(number, _)| *number == self.number);
        let gone = place.map(|place| observers.list.remove(place));
        // what it captured may be anything: not under the lock
        drop(observers);
        drop(gone);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.load(), f)
    }
}

/// What discovery has said of the members of a set.
#[derive(Default)]
struct Members {
    /// In the order discovery gave; found by address through `places`.
    order: Vec<Target>,
    places: HashMap<Address, usize>,
}

#[derive(Clone)]
struct Known {
    endpoint: Arc<Endpoint>,
    /// `None`: it has left.
    member: Option<Membership>,
    left: Option<Nanos>,
}

impl Members {
    /// Takes an update in; whether it changes anything.
    fn apply(&mut self, update: Update) -> bool {
        match update {
            Update::Set(targets) => {
                if targets == self.order {
                    return false;
                }
                self.order.clear();
                self.places.clear();
                for target in targets {
                    self.upsert(target);
                }
                true
            }
            Update::Change { upsert, remove } => {
                let gone: HashSet<Address> = remove.into_iter().collect();
                let mut changed = gone.iter().any(|address| self.places.contains_key(address));
                if changed {
                    self.order.retain(|target| !gone.contains(&target.address));
                    let places = self.order.iter().enumerate();
                    self.places = places.map(|(place, target)| (target.address.clone(), place)).collect();
                }
                for target in upsert {
                    changed |= self.upsert(target);
                }
                changed
            }
        }
    }

    fn upsert(&mut self, target: Target) -> bool {
        match self.places.get(&target.address) {
            Some(place) if self.order[*place] == target => return false,
            Some(place) => self.order[*place] = target,
            None => {
                self.places.insert(target.address.clone(), self.order.len());
                self.order.push(target);
            }
        }
        true
    }

    /// The set as it is now. An endpoint whose target is unchanged stays the same one, also after it was away.
    fn publish(&self, version: u64, all: &mut HashMap<Address, Known>) -> EndpointSet {
        let now = time::now();
        all.retain(|_, known| known.left.is_none_or(|left| now.since(left) < REMEMBERED));
        let endpoints: Vec<_> = self.order.iter().map(|target| enter(all, target)).collect();
        let present: HashSet<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id()).collect();
        for known in all.values_mut() {
            if !present.contains(&known.endpoint.id()) {
                known.left.get_or_insert(now);
                known.member = None;
            }
        }
        EndpointSet { version, resolved: true, endpoints }
    }
}

fn enter(known: &mut HashMap<Address, Known>, target: &Target) -> Arc<Endpoint> {
    match known.get_mut(&target.address) {
        Some(known) => {
            if known.endpoint.target() != target {
                known.endpoint = known.endpoint.retargeted(target.clone());
            }
            known.left = None;
            known.member.get_or_insert_with(|| known.endpoint.enter());
            known.endpoint.clone()
        }
        None => {
            let endpoint = Endpoint::new(target.clone());
            let known_as = Known { endpoint: endpoint.clone(), member: Some(endpoint.enter()), left: None };
            known.insert(target.address.clone(), known_as);
            endpoint
        }
    }
}

/// Keeps an [`Endpoints`] up to date for as long as it is polled; ends when the stream of updates does. Dropping it
/// leaves the last set in place.
pub struct EndpointsDriver<S> {
    updates: Pin<Box<S>>,
    members: Members,
    endpoints: Endpoints,
    coalescing: Option<time::Sleep>,
    dirty: bool,
    /// Whether there was any update.
    resolved: bool,
}

impl<S: Stream<Item = Update>> EndpointsDriver<S> {
    fn publish(&mut self) {
        let version = self.endpoints.set.load().version + 1;
        let set = self.members.publish(version, &mut locked(&self.endpoints.known));
        self.endpoints.publish(set);
        self.dirty = false;
    }

    /// Spawns it on the present tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(self) -> DriverHandle
    where
        S: Send + 'static,
    {
        DriverHandle(tokio::spawn(self).abort_handle())
    }
}

impl<S: Stream<Item = Update>> Future for EndpointsDriver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = &mut *self;
        let mut taken = 0;
        let ended = loop {
            if taken == AT_ONCE {
                cx.waker().wake_by_ref();
                break false;
            }
            taken += 1;
            match me.updates.as_mut().poll_next(cx) {
                Poll::Ready(Some(update)) => {
                    let changed = me.members.apply(update);
                    // that there are none is news as long as nothing is known
                    me.dirty |= changed || !me.resolved;
                    me.resolved = true;
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        // the first change at once, those that follow it closely together
        if me.dirty && (ended || me.coalescing.is_none()) {
            me.publish();
            me.coalescing = (!ended).then(|| time::sleep(COALESCED));
        }
        if ended {
            return Poll::Ready(());
        }
        while let Some(window) = &mut me.coalescing {
            if Pin::new(window).poll(cx).is_pending() {
                break;
            }
            me.coalescing = None;
            if me.dirty {
                me.publish();
                me.coalescing = Some(time::sleep(COALESCED));
            }
        }
        Poll::Pending
    }
}

impl<S> fmt::Debug for EndpointsDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointsDriver").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// A spawned driver; dropping the handle stops it.
#[derive(Debug)]
pub struct DriverHandle(tokio::task::AbortHandle);

impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
