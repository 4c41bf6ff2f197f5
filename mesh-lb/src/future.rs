//! The response future.

use crate::{Balance, NoEndpoint};
use mesh_core::{
    Endpoint, Kind, Nanos, Open, Reach, Refusal, Rejection,
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
    {
        /// An endpoint has the request.
        Called { #[pin] inner: S::Future, open: Open<Endpoint>, reach: M },
        /// An endpoint is picked, its service is not ready.
        Waiting { waiting: Option<Box<Waiting<S, R, M>>> },
        /// The endpoints are not known yet.
        Unresolved { unresolved: Pin<Box<Unresolved<S, R, M>>> },
        /// It was never called.
        Failed { error: Option<S::Error> },
        /// There is nothing to call.
        Refused { cause: Option<NoEndpoint> },
    }
}

pub(crate) struct Waiting<S, R, M> {
    service: S,
    request: R,
    open: Open<Endpoint>,
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

impl<S: Service<R>, R, M> State<S, R, M> {
    pub(crate) fn called(inner: S::Future, open: Open<Endpoint>, reach: M) -> Self {
        State::Called { inner, open, reach }
    }

    pub(crate) fn waiting(service: S, request: R, open: Open<Endpoint>, reach: M) -> Self {
        State::Waiting { waiting: Some(Box::new(Waiting { service, request, open, reach })) }
    }

    pub(crate) fn unresolved(balance: Balance<S, M>, request: R, changed: &Arc<Notify>, until: Nanos) -> Self {
        let notify = changed.clone();
        State::Unresolved {
            unresolved: Box::pin(Unresolved {
                balance,
                request: Some(request),
                changed: notify.clone().notified_owned(),
                notify,
                timeout: time::sleep_until(until),
            }),
        }
    }

    pub(crate) fn failed(error: S::Error) -> Self {
        State::Failed { error: Some(error) }
    }

    pub(crate) fn refused(cause: NoEndpoint) -> Self {
        State::Refused { cause: Some(cause) }
    }
}

impl<S: Service<R>, R, M> BalanceFuture<S, R, M> {
    pub(crate) fn new(state: State<S, R, M>) -> Self {
        Self { state }
    }
}

impl<S, R, M> Future for BalanceFuture<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { inner, open, reach } => {
                    let mut result = ready!(inner.poll(cx));
                    match &mut result {
                        Ok(response) => reach.respond(open, response),
                        Err(error) => open.end_error(error),
                    }
                    return Poll::Ready(result);
                }
                StateProj::Waiting { waiting } => {
                    let Some(present) = waiting else { panic!("polled after completion") };
                    match ready!(present.service.poll_ready(cx)) {
                        Ok(()) => match waiting.take() {
                            Some(waiting) => waiting.call(),
                            None => panic!("polled after completion"),
                        },
                        Err(mut error) => {
                            present.open.end_error(&mut error);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProj::Unresolved { unresolved } => ready!(unresolved.as_mut().poll_resolved(cx)),
                StateProj::Failed { error } => match error.take() {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => panic!("polled after completion"),
                },
                StateProj::Refused { cause } => match cause.take() {
                    Some(cause) => return Poll::Ready(Err(Rejection::new(Kind::NoEndpoint).because(cause).into())),
                    None => panic!("polled after completion"),
                },
            };
            state.set(next);
        }
    }
}

impl<S: Service<R>, R, M> Waiting<S, R, M> {
    fn call(mut self) -> State<S, R, M> {
        State::called(self.service.call(self.request), self.open, self.reach)
    }
}

impl<S, R, M> Unresolved<S, R, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    fn poll_resolved(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<State<S, R, M>> {
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
                return Pin::new(this.timeout).poll(cx).map(|()| State::refused(NoEndpoint::Unresolved));
            }
            this.changed.set(this.notify.clone().notified_owned());
        }
    }
}

impl<S: Service<R>, R, M> fmt::Debug for BalanceFuture<S, R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceFuture").finish_non_exhaustive()
    }
}
