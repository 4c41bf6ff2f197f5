//! The response future.

use crate::{Balance, NoEndpoint, seat::Seat};
use mesh_core::{
    Kind, Nanos, Open, Reach, Record, Refusal, Rejection,
    time::{self, Sleep},
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll, ready},
};
use tokio::sync::{Notify, futures::OwnedNotified};
use tower_service::Service;

pin_project! {
    /// The response future of [`Balance`].
    ///
    /// What the service gives is among the parameters, not looked up: so a task that awaits it is seen to be `Send`,
    /// whatever the error.
    pub struct BalanceFuture<S, F, R, E, M, C>
    where
        C: Record,
    {
        #[pin]
        state: State<S, F, R, E, M, C>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(crate) enum State<S, F, R, E, M, C>
    where
        C: Record,
    {
        /// An endpoint has the request.
        Called { #[pin] inner: F, open: Open<Seat, C>, reach: M },
        /// None has it yet, or will.
        Aside { aside: Box<Aside<S, R, E, M, C>> },
    }
}

/// What is rare, so that it takes no room in the future of each call.
pub(crate) enum Aside<S, R, E, M, C: Record> {
    /// An endpoint is picked, its service is not ready.
    Waiting(Option<Waiting<S, R, M, C>>),
    /// The endpoints are not known yet.
    Unresolved(Pin<Box<Unresolved<S, R, M>>>),
    /// It was never called.
    Failed(Option<E>),
    /// There is nothing to call.
    Refused(Option<NoEndpoint>),
}

pub(crate) struct Waiting<S, R, M, C: Record> {
    service: S,
    request: R,
    open: Open<Seat, C>,
    reach: M,
}

pin_project! {
    pub(crate) struct Unresolved<S, R, M> {
        balance: Balance<S, M>,
        request: Option<R>,
        #[pin]
        changed: OwnedNotified,
        notify: Arc<Notify>,
        timeout: Sleep,
    }
}

/// The future of a call of a balancer over such services.
pub(crate) type Called<S, R, M> = BalanceFuture<
    S,
    <S as Service<R>>::Future,
    R,
    <S as Service<R>>::Error,
    M,
    <M as Reach<R, <S as Service<R>>::Response>>::Record,
>;

impl<S, F, R, E, M, C: Record> BalanceFuture<S, F, R, E, M, C> {
    #[inline]
    pub(crate) fn called(inner: F, open: Open<Seat, C>, reach: M) -> Self {
        Self { state: State::Called { inner, open, reach } }
    }

    pub(crate) fn waiting(service: S, request: R, open: Open<Seat, C>, reach: M) -> Self {
        Self::aside(Aside::Waiting(Some(Waiting { service, request, open, reach })))
    }

    pub(crate) fn unresolved(balance: Balance<S, M>, request: R, changed: &Arc<Notify>, until: Nanos) -> Self {
        let notify = changed.clone();
        Self::aside(Aside::Unresolved(Box::pin(Unresolved {
            balance,
            request: Some(request),
            changed: notify.clone().notified_owned(),
            notify,
            timeout: time::sleep_until(until),
        })))
    }

    pub(crate) fn failed(error: E) -> Self {
        Self::aside(Aside::Failed(Some(error)))
    }

    pub(crate) fn refused(cause: NoEndpoint) -> Self {
        Self::aside(Aside::Refused(Some(cause)))
    }

    fn aside(aside: Aside<S, R, E, M, C>) -> Self {
        Self { state: State::Aside { aside: Box::new(aside) } }
    }
}

impl<S, F, R, E, M> Future for BalanceFuture<S, F, R, E, M, M::Record>
where
    S: Service<R, Future = F, Error = E> + Clone,
    F: Future<Output = Result<S::Response, E>>,
    E: Refusal,
    M: Reach<R, S::Response>,
{
    type Output = Result<S::Response, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { inner, open, reach } => return open.poll(inner, reach, cx),
                StateProj::Aside { aside } => match ready!(aside.poll_next(cx)) {
                    Ok(next) => next,
                    Err(error) => return Poll::Ready(Err(error)),
                },
            };
            state.set(next.state);
        }
    }
}

impl<S, R, M> Aside<S, R, S::Error, M, M::Record>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    /// What comes next, or how the call ends.
    #[cold]
    fn poll_next(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Called<S, R, M>, S::Error>> {
        const OVER: &str = "not polled after completion";
        match self {
            Aside::Waiting(waiting) => {
                let present = waiting.as_mut().expect(OVER);
                match ready!(present.service.poll_ready(cx)) {
                    Ok(()) => Poll::Ready(Ok(waiting.take().expect(OVER).call())),
                    Err(error) => Poll::Ready(Err(std::mem::take(&mut present.open).end_error(error))),
                }
            }
            Aside::Unresolved(unresolved) => unresolved.as_mut().poll_resolved(cx).map(Ok),
            Aside::Failed(error) => Poll::Ready(Err(error.take().expect(OVER))),
            Aside::Refused(cause) => {
                let cause = cause.take().expect(OVER);
                Poll::Ready(Err(Rejection::new(Kind::NoEndpoint).because(cause).into()))
            }
        }
    }
}

impl<S, R, M> Waiting<S, R, M, M::Record>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    fn call(mut self) -> Called<S, R, M> {
        BalanceFuture::called(self.service.call(self.request), self.open, self.reach)
    }
}

impl<S, R, M> Unresolved<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    fn poll_resolved(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Called<S, R, M>> {
        let mut this = self.project();
        loop {
            if this.balance.is_resolved() {
                return Poll::Ready(match this.request.take() {
                    Some(request) => this.balance.dispatch(request),
                    None => panic!("polled after completion"),
                });
            }
            // made before the set is looked at, so no change is missed
            if this.changed.as_mut().poll(cx).is_pending() {
                return Pin::new(this.timeout).poll(cx).map(|()| BalanceFuture::refused(NoEndpoint::Unresolved));
            }
            this.changed.set(this.notify.clone().notified_owned());
        }
    }
}

impl<S, F, R, E, M, C: Record> fmt::Debug for BalanceFuture<S, F, R, E, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
