//! The service that picks an endpoint for each call.

use crate::{
    BalanceFuture, BalanceLayer, NoEndpoint, Policy,
    future::Called,
    layer::Shared,
    policy::Draw,
    published::Edition,
    seat::Seat,
    services::{Originals, Services},
    table::{Picked, Table},
};
use mesh_core::{
    Address, Endpoint, EndpointId, Endpoints, Open, Reach, Record, Refusal, ResultsOnly, Target, Ticket, Whole,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// How many endpoints are asked whether they are ready before the call waits for one of them.
const ASKED: usize = 3;

/// Sends each call to one endpoint of a set. Made by a [`BalanceLayer`], or for a plain list by [`Balance::over`].
///
/// It is always ready: the endpoint is picked in `call`, so a set that changes between the two does not matter, and
/// what has to be waited for is waited for in the response future. An endpoint whose service is not ready is passed
/// over for another, up to three in all; the call then waits for the last one. The pick is counted on its
/// [`Endpoint`] until the end of the response's body, and written into the request's
/// [`Context`](mesh_core::Context), where a retry further out leaves it: the next attempt avoids what was tried while
/// there is anything else.
///
/// Clones are two reference counts. They share the endpoints, what is known of them and, for round robin, the turn;
/// each clones the service of an endpoint from the first one's when it first calls it. An instance whose `poll_ready`
/// has failed is dropped, and made anew at the next call.
///
/// # Errors
/// A [`Rejection`](mesh_core::Rejection) of kind [`NoEndpoint`](mesh_core::Kind::NoEndpoint), whose source says
/// [which way](crate::NoEndpoint); else what the endpoint's service gave, in `poll_ready` or in `call`.
///
/// # Cancellation
/// Dropping the response future ends the count on the endpoint as *cancelled*, or as
/// [`drop_as`](mesh_core::drop_as) says.
pub struct Balance<S, M = Whole> {
    family: Arc<Family<S>>,
    table: Arc<Edition<Table>>,
    services: Services<S>,
    /// Its own: a generator that all share would be written by all.
    random: fastrand::Rng,
    reach: M,
}

/// What the clones of one balancer share.
struct Family<S> {
    shared: Arc<Shared>,
    first_result: Duration,
    originals: Originals<S>,
    turn: AtomicU64,
}

impl<S> Balance<S> {
    /// Balances over `endpoints` by `policy`; `make` gives the service of an endpoint. Several of them over the same
    /// endpoints, one on each worker, are better made by one [`BalanceLayer`].
    pub fn new(
        endpoints: Endpoints,
        policy: Policy,
        make: impl Fn(&Arc<Endpoint>) -> S + Send + Sync + 'static,
    ) -> Self {
        BalanceLayer::new(endpoints, policy).layer(make)
    }

    /// Balances over a list that does not change. Of several with the same address the last one counts.
    pub fn over(policy: Policy, list: impl IntoIterator<Item = (Target, S)>) -> Self
    where
        S: Clone + Send + 'static,
    {
        let (targets, services): (Vec<Target>, Vec<S>) = list.into_iter().unzip();
        let addresses = targets.iter().map(|target| target.address.clone());
        // a service may be anything but `Sync`
        let services: Mutex<HashMap<Address, S>> = Mutex::new(addresses.zip(services).collect());
        Self::new(Endpoints::fixed(targets), policy, move |endpoint| {
            let services = crate::layer::locked(&services);
            services.get(endpoint.address()).cloned().expect("the set never changes")
        })
    }
}

impl<S, M> Balance<S, M> {
    pub(crate) fn made_by(
        make: impl Fn(&Arc<Endpoint>) -> S + Send + Sync + 'static,
        shared: Arc<Shared>,
        first_result: Duration,
        reach: M,
    ) -> Self {
        let table = shared.current.table.get();
        // anywhere in the round, far from the end of the numbers
        let turn = AtomicU64::new(fastrand::u32(..).into());
        let family = Arc::new(Family { shared, first_result, originals: Originals::new(make), turn });
        Self { family, table, services: Services::new(), random: fastrand::Rng::new(), reach }
    }

    /// As [`BalanceLayer::results_only`].
    #[must_use]
    pub fn results_only(self) -> Balance<S, ResultsOnly> {
        self.judge_with(ResultsOnly)
    }

    /// As [`BalanceLayer::judge`].
    #[must_use]
    pub fn judge<F>(self, judge: F) -> Balance<S, F> {
        self.judge_with(judge)
    }

    fn judge_with<N>(self, reach: N) -> Balance<S, N> {
        Balance { family: self.family, table: self.table, services: self.services, random: self.random, reach }
    }

    /// The endpoints it balances over.
    pub fn endpoints(&self) -> &Endpoints {
        self.family.shared.endpoints()
    }
}

impl<S, M: Clone> Clone for Balance<S, M> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            table: self.table.clone(),
            services: Services::new(),
            random: fastrand::Rng::new(),
            reach: self.reach.clone(),
        }
    }
}

impl<S, M> fmt::Debug for Balance<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("endpoints", self.endpoints()).finish_non_exhaustive()
    }
}

impl<S, M, R> Service<R> for Balance<S, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Called<S, R, M>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        self.refresh();
        self.dispatch(request)
    }
}

impl<S: Clone, M: Clone> Balance<S, M> {
    /// Nothing can be picked.
    #[cold]
    #[inline(never)]
    fn without_endpoint<R>(&self, request: R) -> Called<S, R, M>
    where
        S: Service<R>,
        M: Reach<R, S::Response>,
    {
        if self.table.is_resolved() {
            return BalanceFuture::refused(NoEndpoint::of(&self.table));
        }
        // discovery has not said anything yet
        let shared = &self.family.shared;
        match shared.wait_until(self.family.first_result) {
            Some(until) => BalanceFuture::unresolved(self.clone(), request, &shared.current.changed, until),
            None => BalanceFuture::refused(NoEndpoint::Unresolved),
        }
    }

    /// Takes up the set as it is now; whether it is known.
    pub(crate) fn is_resolved(&mut self) -> bool {
        self.refresh();
        self.table.is_resolved()
    }

    #[inline]
    fn refresh(&mut self) {
        if self.table.is_superseded() {
            self.take_up();
        }
    }

    #[cold]
    #[inline(never)]
    fn take_up(&mut self) {
        self.table = self.family.shared.current.table.get();
        self.services.sweep(&self.table, &self.family.originals);
    }

    /// Picks an endpoint and calls its service, if that is ready.
    #[inline(always)]
    pub(crate) fn dispatch<R>(&mut self, request: R) -> Called<S, R, M>
    where
        S: Service<R>,
        S::Error: Refusal,
        M: Reach<R, S::Response>,
    {
        let record = self.reach.record(&request);
        // what is rare is in functions that are given all by value: nothing is in memory till then
        if record.context().tries() == 0 {
            let mut random = self.random.clone();
            if let Some(picked) = self.table.pick_simply(&mut random)
                && let Some(service) = self.services.known(picked.slot)
            {
                self.random = random;
                return match service.poll_ready(&mut Cx::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(())) => called(service, picked, record, request, &self.reach),
                    polled => {
                        let (seat, ticket) = (picked.seat.clone(), picked.ticket());
                        self.dispatch_slowly(seat, ticket, Some(polled), record, request)
                    }
                };
            }
        }
        self.dispatch_by_policy(record, request)
    }

    /// The same by any policy, past what speaks against endpoints.
    #[inline(never)]
    fn dispatch_by_policy<R>(&mut self, record: M::Record, request: R) -> Called<S, R, M>
    where
        S: Service<R>,
        S::Error: Refusal,
        M: Reach<R, S::Response>,
    {
        let context = record.context();
        let draw = draw(&mut self.random, &self.family.turn);
        let Some(picked) = self.table.pick(draw, |endpoint| context.tried(endpoint.id())) else {
            return self.without_endpoint(request);
        };
        let polled = match self.services.known(picked.slot) {
            Some(service) => match service.poll_ready(&mut Cx::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => return called(service, picked, record, request, &self.reach),
                polled => Some(polled),
            },
            None => None,
        };
        let (seat, ticket) = (picked.seat.clone(), picked.ticket());
        self.dispatch_slowly(seat, ticket, polled, record, request)
    }

    /// The service that was picked is not there yet, or not ready: others are asked, and if none of them is ready the
    /// call waits.
    #[cold]
    #[inline(never)]
    fn dispatch_slowly<R>(
        &mut self,
        first: Arc<Seat>,
        at: Ticket,
        mut polled: Polled<S::Error>,
        record: M::Record,
        request: R,
    ) -> Called<S, R, M>
    where
        S: Service<R>,
        S::Error: Refusal,
        M: Reach<R, S::Response>,
    {
        let originals = &self.family.originals;
        let mut passed = Passed::default();
        let mut picked = Picked::again(&first, at);
        loop {
            let service = self.services.get(&self.table, picked.seat, originals);
            // never asked twice: what it says may be said once
            let ready = polled.take().unwrap_or_else(|| service.poll_ready(&mut Cx::from_waker(Waker::noop())));
            match ready {
                Poll::Ready(Ok(())) => return called(service, picked, record, request, &self.reach),
                Poll::Ready(Err(error)) => {
                    let error = open(picked, record).end_error(error);
                    // that instance is of no use any more
                    self.services.discard(picked.seat, originals);
                    return BalanceFuture::failed(error);
                }
                // it may have put itself into a queue: nobody else may be served from there, so a fresh one stays
                Poll::Pending => {
                    let fresh = service.clone();
                    let taken = std::mem::replace(service, fresh);
                    let next = if passed.add(picked.seat.endpoint.id()) {
                        let context = record.context();
                        let avoid =
                            |endpoint: &Endpoint| passed.contains(endpoint.id()) || context.tried(endpoint.id());
                        self.table.pick(draw(&mut self.random, &self.family.turn), avoid)
                    } else {
                        None
                    };
                    let Some(next) = next else {
                        return BalanceFuture::waiting(taken, request, open(picked, record), self.reach.clone());
                    };
                    picked = next;
                }
            }
        }
    }
}

/// What the service of an endpoint said in `poll_ready`; `None`: it was not asked.
type Polled<E> = Option<Poll<Result<(), E>>>;

/// Calls the service of the endpoint that was picked, and counts the pick.
#[inline(always)]
fn called<S, R, M>(service: &mut S, picked: Picked<'_>, record: M::Record, request: R, reach: &M) -> Called<S, R, M>
where
    S: Service<R>,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    let open = open(picked, record);
    BalanceFuture::called(service.call(request), open, reach.clone())
}

/// What picks are made from.
#[inline]
fn draw<'a>(random: &'a mut fastrand::Rng, turn: &'a AtomicU64) -> impl FnMut(Draw) -> u64 + 'a {
    |from| match from {
        Draw::Random => random.u64(..),
        Draw::Turn => turn.fetch_add(1, Relaxed),
    }
}

/// Counts the pick.
#[inline]
fn open<C: Record>(picked: Picked<'_>, record: C) -> Open<Seat, C> {
    let seat = picked.seat;
    record.context().add_tried(seat.endpoint.id());
    seat.pick();
    Open::new(seat.clone(), picked.ticket(), record)
}

/// Endpoints that were not ready for the call at hand.
#[derive(Default)]
struct Passed {
    count: usize,
    endpoints: [Option<EndpointId>; ASKED - 1],
}

impl Passed {
    /// Passes this one over; not so one that came again because there is no other, nor one too many.
    fn add(&mut self, endpoint: EndpointId) -> bool {
        if self.contains(endpoint) || self.count == self.endpoints.len() {
            return false;
        }
        self.endpoints[self.count] = Some(endpoint);
        self.count += 1;
        true
    }

    fn contains(&self, endpoint: EndpointId) -> bool {
        self.endpoints.contains(&Some(endpoint))
    }
}
