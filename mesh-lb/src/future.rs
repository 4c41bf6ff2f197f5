//! The response future.

use crate::{Balance, NoEndpoint, seat::Seat};
use mesh_core::{
    Kind, Nanos, Open, Reach, Refusal, Rejection,
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
    pub struct BalanceFuture<S, R, M>
    where
        S: Service<R>,
        M: Reach<R, S::Response>,
    {
        #[pin]
        state: State<S, R, M>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(crate) enum State<S, R, M>
    where
        S: Service<R>,
        M: Reach<R, S::Response>,
    {
        /// An endpoint has the request.
        Called { #[pin] inner: S::Future, open: Open<Seat, M::Record>, reach: M },
        /// None has it yet, or will.
        Aside { aside: Box<Aside<S, R, M>> },
    }
}

/// What is rare, so that it takes no room in the future of each call.
pub(crate) enum Aside<S, R, M>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    /// An endpoint is picked, its service is not ready.
    Waiting(Option<Waiting<S, R, M>>),
    /// The endpoints are not known yet.
    Unresolved(Pin<Box<Unresolved<S, R, M>>>),
    /// It was never called.
    Failed(Option<S::Error>),
    /// There is nothing to call.
    Refused(Option<NoEndpoint>),
}

pub(crate) struct Waiting<S, R, M>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    service: S,
    request: R,
    open: Open<Seat, M::Record>,
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

impl<S, R, M> BalanceFuture<S, R, M>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    #[inline]
    pub(crate) fn called(inner: S::Future, open: Open<Seat, M::Record>, reach: M) -> Self {
        Self { state: State::Called { inner, open, reach } }
    }

    pub(crate) fn waiting(service: S, request: R, open: Open<Seat, M::Record>, reach: M) -> Self {
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

    pub(crate) fn failed(error: S::Error) -> Self {
        Self::aside(Aside::Failed(Some(error)))
    }

    pub(crate) fn refused(cause: NoEndpoint) -> Self {
        Self::aside(Aside::Refused(Some(cause)))
    }

    fn aside(aside: Aside<S, R, M>) -> Self {
        Self { state: State::Aside { aside: Box::new(aside) } }
    }
}

impl<S, R, M> Future for BalanceFuture<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Output = Result<S::Response, S::Error>;

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

impl<S, R, M> Aside<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    /// What comes next, or how the call ends.
    #[cold]
    fn poll_next(&mut self, cx: &mut Cx<'_>) -> Poll<Result<BalanceFuture<S, R, M>, S::Error>> {
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

impl<S, R, M> Waiting<S, R, M>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    fn call(mut self) -> BalanceFuture<S, R, M> {
        BalanceFuture::called(self.service.call(self.request), self.open, self.reach)
    }
}

impl<S, R, M> Unresolved<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    fn poll_resolved(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<BalanceFuture<S, R, M>> {
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

impl<S, R, M> fmt::Debug for BalanceFuture<S, R, M>
where
    S: Service<R>,
    M: Reach<R, S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
