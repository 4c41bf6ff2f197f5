//! The service that lets calls wait for their turn, and its response future.

use crate::{
    ConcurrencyLimit, Wait,
    permits::{Permits, Waiter},
};
use mesh_core::{
    Name, Nanos, Open, Reach, Record, Refusal, Rejection, ResultsOnly, Ticket,
    time::{self, Sleep},
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll, ready},
};
use tower_service::Service;

/// A service whose calls wait for their turn; made by a [`QueueLayer`](crate::QueueLayer).
pub struct Queued<S, M = ResultsOnly> {
    pub(crate) inner: S,
    pub(crate) limit: Arc<ConcurrencyLimit>,
    pub(crate) wait: Option<Wait>,
    pub(crate) back_pressure: bool,
    pub(crate) name: Name,
    pub(crate) reach: M,
}

impl<S: Clone, M: Clone> Clone for Queued<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: self.limit.clone(), reach: self.reach.clone(), ..*self }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Queued<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").field("inner", &self.inner).field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<R, S, M> Service<R> for Queued<S, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = QueuedFuture<S, R, M, M::Record>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        // advice only: nothing is taken here
        if self.back_pressure && self.limit.permits.watch(cx.waker()) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let record = self.reach.record(&request);
        let state = if self.limit.permits.try_take() {
            let open = Open::new(self.limit.clone(), Ticket::default(), record);
            State::Called { inner: self.inner.call(request), open, reach: self.reach.clone() }
        } else {
            self.queue(request, record)
        };
        QueuedFuture { state, request: PhantomData }
    }
}

impl<S: Clone, M: Clone> Queued<S, M> {
    /// The instance that was polled ready waits with the call, a fresh clone stays.
    #[cold]
    fn queue<R, C: Record>(&mut self, request: R, record: C) -> State<S, R, M, C>
    where
        S: Service<R>,
    {
        let wait = self.wait.unwrap_or(Wait { timeout: std::time::Duration::MAX, queue: Some(u32::MAX) });
        let longest = wait.queue.unwrap_or_else(|| self.limit.max());
        let now = time::now();
        let until = now.plus(wait.timeout).min(record.context().deadline().unwrap_or(Nanos::MAX));
        let waiter = if until <= now { None } else { Permits::wait(&self.limit.permits, longest) };
        let Some(waiter) = waiter else { return State::Refused { rejection: Some(refusal(self.name)) } };
        let fresh = self.inner.clone();
        State::Waiting {
            waiting: Some(Box::new(Waiting {
                waiter,
                timeout: time::sleep_until(until),
                limit: self.limit.clone(),
                service: std::mem::replace(&mut self.inner, fresh),
                request,
                record,
                name: self.name,
                reach: self.reach.clone(),
            })),
        }
    }
}

/// The refusal, counted.
fn refusal(name: Name) -> Rejection {
    let mut rejection = ConcurrencyLimit::refusal();
    rejection.stamp(name);
    rejection.count();
    rejection
}

pin_project! {
    /// The response future of [`Queued`]. Dropping it leaves the queue, or gives the permit back.
    pub struct QueuedFuture<S, R, M, C>
    where
        S: Service<R>,
        C: Record,
    {
        #[pin]
        state: State<S, R, M, C>,
        request: PhantomData<fn(R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R, M, C>
    where
        S: Service<R>,
        C: Record,
    {
        // dropped in this order: ends are told inside out
        Called { #[pin] inner: S::Future, open: Open<ConcurrencyLimit, C>, reach: M },
        Waiting { waiting: Option<Box<Waiting<S, R, M, C>>> },
        Refused { rejection: Option<Rejection> },
    }
}

struct Waiting<S, R, M, C> {
    waiter: Waiter,
    timeout: Sleep,
    limit: Arc<ConcurrencyLimit>,
    service: S,
    request: R,
    record: C,
    name: Name,
    reach: M,
}

impl<S, R, M> Future for QueuedFuture<S, R, M, M::Record>
where
    S: Service<R>,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { inner, open, reach } => return open.poll::<R, _, _, _, _>(inner, reach, cx),
                StateProj::Waiting { waiting } => {
                    let Some(present) = waiting else { panic!("polled after completion") };
                    if present.waiter.poll(cx.waker()) {
                        match waiting.take() {
                            Some(waiting) => waiting.call(),
                            None => panic!("polled after completion"),
                        }
                    } else {
                        ready!(Pin::new(&mut present.timeout).poll(cx));
                        State::Refused { rejection: Some(refusal(present.name)) }
                    }
                }
                StateProj::Refused { rejection } => match rejection.take() {
                    Some(rejection) => return Poll::Ready(Err(rejection.into())),
                    None => panic!("polled after completion"),
                },
            };
            state.set(next);
        }
    }
}

impl<S: Service<R>, R, M, C: Record> Waiting<S, R, M, C> {
    /// The permit is there.
    fn call(mut self) -> State<S, R, M, C> {
        let open = Open::new(self.limit, Ticket::default(), self.record);
        State::Called { inner: self.service.call(self.request), open, reach: self.reach }
    }
}

impl<S: Service<R>, R, M, C: Record> fmt::Debug for QueuedFuture<S, R, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedFuture").finish_non_exhaustive()
    }
}
