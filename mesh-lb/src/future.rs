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
        /// None has it yet, or will. Rare, so it takes no room in the future of each call.
        Aside { aside: Pin<Box<Aside<S, F, R, E, M, C>>> },
    }
}

pin_project! {
    /// What comes before a call, then the call.
    pub(crate) struct Aside<S, F, R, E, M, C>
    where
        C: Record,
    {
        before: Before<S, R, E, M, C>,
        #[pin]
        call: Option<BalanceFuture<S, F, R, E, M, C>>,
    }
}

/// Why there is no call yet.
pub(crate) enum Before<S, R, E, M, C: Record> {
    /// An endpoint is picked, its service is not ready.
    Waiting(Option<Waiting<S, R, M, C>>),
    /// The endpoints are not known yet.
    Unresolved(Pin<Box<Unresolved<S, R, M>>>),
    /// It will never be called.
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
        Self::aside(Before::Waiting(Some(Waiting { service, request, open, reach })))
    }

    pub(crate) fn unresolved(balance: Balance<S, M>, request: R, changed: &Arc<Notify>, until: Nanos) -> Self {
        let notify = changed.clone();
        Self::aside(Before::Unresolved(Box::pin(Unresolved {
            balance,
            request: Some(request),
            changed: notify.clone().notified_owned(),
            notify,
            timeout: time::sleep_until(until),
        })))
    }

    pub(crate) fn failed(error: E) -> Self {
        Self::aside(Before::Failed(Some(error)))
    }

    pub(crate) fn refused(cause: NoEndpoint) -> Self {
        Self::aside(Before::Refused(Some(cause)))
    }

    fn aside(before: Before<S, R, E, M, C>) -> Self {
        Self { state: State::Aside { aside: Box::pin(Aside { before, call: None }) } }
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

    // with `Balance::call` one function to the compiler: what passes between them stays in registers
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { inner, open, reach } => open.poll(inner, reach, cx),
            StateProj::Aside { aside } => aside.as_mut().poll_rare(cx),
        }
    }
}

impl<S, F, R, E, M> Aside<S, F, R, E, M, M::Record>
where
    S: Service<R, Future = F, Error = E> + Clone,
    F: Future<Output = Result<S::Response, E>>,
    E: Refusal,
    M: Reach<R, S::Response>,
{
    #[cold]
    #[inline(never)]
    fn poll_rare(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Result<S::Response, E>> {
        let mut this = self.project();
        if this.call.is_none() {
            match ready!(this.before.poll(cx)) {
                Ok(call) => this.call.set(Some(call)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        this.call.as_pin_mut().expect("it was just put there").poll(cx)
    }
}

impl<S, R, M> Before<S, R, S::Error, M, M::Record>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    /// The call, or how it ends before there is one.
    fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<Result<Called<S, R, M>, S::Error>> {
        const OVER: &str = "not polled after completion";
        match self {
            Before::Waiting(waiting) => {
                let present = waiting.as_mut().expect(OVER);
                match ready!(present.service.poll_ready(cx)) {
                    Ok(()) => Poll::Ready(Ok(waiting.take().expect(OVER).call())),
                    Err(error) => Poll::Ready(Err(std::mem::take(&mut present.open).end_error(error))),
                }
            }
            Before::Unresolved(unresolved) => unresolved.as_mut().poll_resolved(cx).map(Ok),
            Before::Failed(error) => Poll::Ready(Err(error.take().expect(OVER))),
            Before::Refused(cause) => {
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
