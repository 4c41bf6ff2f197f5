//! The service that lets calls wait for their turn, and its response future.

use crate::{
    ConcurrencyLimit, Wait,
    permits::{Permits, Waiter, Watcher},
};
use mesh_core::{
    Kind, Name, Nanos, Open, Reach, Record, Refusal, Rejection, ResultsOnly, Ticket,
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
    time::Duration,
};
use tower_service::Service;

/// A service whose calls wait for their turn; made by a [`QueueLayer`](crate::QueueLayer).
pub struct Queued<S, M = ResultsOnly> {
    pub(crate) inner: S,
    pub(crate) limit: Arc<ConcurrencyLimit>,
    pub(crate) wait: Option<Wait>,
    /// With back-pressure.
    pub(crate) watcher: Option<Watcher>,
    pub(crate) name: Name,
    pub(crate) reach: M,
}

impl<S: Clone, M: Clone> Clone for Queued<S, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
            wait: self.wait,
            watcher: self.watcher.clone(),
            name: self.name,
            reach: self.reach.clone(),
        }
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
    type Future = QueuedFuture<S, S::Future, R, M, M::Record>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        // advice only: nothing is taken here
        let is_free = self.watcher.as_mut().is_none_or(|watcher| watcher.poll(cx.waker()));
        if is_free { Poll::Ready(Ok(())) } else { Poll::Pending }
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
    fn queue<R, C: Record>(&mut self, request: R, record: C) -> State<S, S::Future, R, M, C>
    where
        S: Service<R>,
    {
        let (timeout, longest) = match self.wait {
            Some(wait) => (wait.timeout, wait.queue.unwrap_or_else(|| self.limit.max())),
            None => (Duration::MAX, u32::MAX),
        };
        let now = time::now();
        let deadline = record.context().deadline().unwrap_or(Nanos::MAX);
        if deadline <= now {
            return self.refused(Kind::Timeout);
        }
        let Some(waiter) = Permits::wait(&self.limit.permits, longest) else { return self.refused(Kind::Saturated) };
        let until = now.plus(timeout).min(deadline);
        let fresh = self.inner.clone();
        State::Waiting {
            waiting: Some(Box::new(Waiting {
                waiter,
                sleep: (until != Nanos::MAX).then(|| time::sleep_until(until)),
                deadline,
                limit: self.limit.clone(),
                service: std::mem::replace(&mut self.inner, fresh),
                request,
                record,
                name: self.name,
                reach: self.reach.clone(),
            })),
        }
    }

    fn refused<R, C: Record>(&self, kind: Kind) -> State<S, S::Future, R, M, C>
    where
        S: Service<R>,
    {
        State::Refused { rejection: Some(refusal(&self.limit, kind, self.name)) }
    }
}

/// The refusal, counted.
fn refusal(limit: &ConcurrencyLimit, kind: Kind, name: Name) -> Rejection {
    let mut rejection = limit.refusal(kind);
    rejection.stamp(name);
    rejection.count();
    rejection
}

pin_project! {
    /// The response future of [`Queued`]. Dropping it leaves the queue, or gives the permit back.
    ///
    /// What the service gives is among the parameters, not looked up: so a task that awaits it is seen to be `Send`,
    /// whatever the error.
    pub struct QueuedFuture<S, F, R, M, C>
    where
        C: Record,
    {
        #[pin]
        state: State<S, F, R, M, C>,
        request: PhantomData<fn(R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, R, M, C>
    where
        C: Record,
    {
        // dropped in this order: ends are told inside out
        Called { #[pin] inner: F, open: Open<ConcurrencyLimit, C>, reach: M },
        Waiting { waiting: Option<Box<Waiting<S, R, M, C>>> },
        Refused { rejection: Option<Rejection> },
    }
}

struct Waiting<S, R, M, C> {
    waiter: Waiter,
    /// To the end of the wait or to the deadline.
    sleep: Option<Sleep>,
    /// [`Nanos::MAX`]: none.
    deadline: Nanos,
    limit: Arc<ConcurrencyLimit>,
    service: S,
    request: R,
    record: C,
    name: Name,
    reach: M,
}

impl<S, F, R, M> Future for QueuedFuture<S, F, R, M, M::Record>
where
    S: Service<R, Future = F>,
    F: Future<Output = Result<S::Response, S::Error>>,
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
                    let kind = ready!(present.poll(cx));
                    match (waiting.take(), kind) {
                        (Some(waiting), None) => waiting.call(),
                        (Some(waiting), Some(kind)) => {
                            State::Refused { rejection: Some(refusal(&waiting.limit, kind, waiting.name)) }
                        }
                        (None, _) => unreachable!("it was there"),
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
    /// Ready when the permit is there, or with why it is refused.
    fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<Option<Kind>> {
        if self.waiter.poll(cx.waker()) {
            // nobody wants the answer of a call whose deadline has passed
            if self.deadline != Nanos::MAX && self.deadline <= time::now() {
                self.limit.permits.give_back();
                return Poll::Ready(Some(Kind::Timeout));
            }
            return Poll::Ready(None);
        }
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        ready!(Pin::new(&mut *sleep).poll(cx));
        Poll::Ready(Some(if sleep.deadline() < self.deadline { Kind::Saturated } else { Kind::Timeout }))
    }

    /// The permit is there.
    fn call(mut self) -> State<S, S::Future, R, M, C> {
        let open = Open::new(self.limit, Ticket::default(), self.record);
        State::Called { inner: self.service.call(self.request), open, reach: self.reach }
    }
}

impl<S, F, R, M, C: Record> fmt::Debug for QueuedFuture<S, F, R, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedFuture").finish_non_exhaustive()
    }
}
