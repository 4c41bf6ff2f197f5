//! The service and its response future.

use crate::{Abort, FaultInjection, faults::Plan};
use mesh_core::{
    Name, Reach, Refusal, Rejection, Whole,
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

/// A service whose calls suffer faults; made by a [`FaultInjectionLayer`](crate::FaultInjectionLayer).
pub struct Disturbed<S, M = Whole> {
    pub(crate) inner: S,
    pub(crate) faults: Arc<FaultInjection>,
    pub(crate) name: Name,
    pub(crate) reach: M,
}

impl<S: Clone, M: Clone> Clone for Disturbed<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), faults: self.faults.clone(), name: self.name, reach: self.reach.clone() }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Disturbed<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disturbed").field("inner", &self.inner).field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl<R, S, M> Service<R> for Disturbed<S, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DisturbedFuture<S, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: R) -> Self::Future {
        let state = match self.faults.plan(self.reach.view(&mut request), time::now) {
            None => State::Called { inner: self.inner.call(request) },
            Some(plan) => self.disturb(request, plan),
        };
        DisturbedFuture { state, request: PhantomData }
    }
}

impl<S: Clone, M> Disturbed<S, M> {
    #[cold]
    #[inline(never)]
    fn disturb<R>(&mut self, request: R, plan: Plan) -> State<S, R>
    where
        S: Service<R>,
    {
        let Some(delay) = plan.delay else {
            return match plan.abort {
                Some(abort) => State::Aborted { rejection: Some(aborted(abort, self.name)) },
                None => State::Called { inner: self.inner.call(request) },
            };
        };
        // the instance that was polled ready waits with the call, a fresh clone stays
        let fresh = self.inner.clone();
        let delayed = Delayed {
            over: time::sleep(delay),
            _active: Active(self.faults.clone()),
            abort: plan.abort,
            name: self.name,
            service: std::mem::replace(&mut self.inner, fresh),
            request,
        };
        State::Delayed { delayed: Some(Box::new(delayed)) }
    }
}

/// The refusal, counted.
fn aborted(abort: Abort, name: Name) -> Rejection {
    let mut rejection = abort.rejection();
    rejection.stamp(name);
    rejection.count();
    rejection
}

/// A call that is delayed counts until it goes on or is given up.
struct Active(Arc<FaultInjection>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end_delay();
    }
}

pin_project! {
    /// The response future of [`Disturbed`]. Dropping it cancels the wait.
    pub struct DisturbedFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R>,
        request: PhantomData<fn(R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, R>
    where
        S: Service<R>,
    {
        Called { #[pin] inner: S::Future },
        Delayed { delayed: Option<Box<Delayed<S, R>>> },
        Aborted { rejection: Option<Rejection> },
    }
}

struct Delayed<S, R> {
    over: Sleep,
    _active: Active,
    abort: Option<Abort>,
    name: Name,
    service: S,
    request: R,
}

impl<S, R> Future for DisturbedFuture<S, R>
where
    S: Service<R>,
    S::Error: Refusal,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                // forwarded as it is, since wrapping the result anew copies the response
                StateProj::Called { inner } => return inner.poll(cx),
                StateProj::Delayed { delayed } => {
                    let Some(present) = delayed else { panic!("polled after completion") };
                    ready!(Pin::new(&mut present.over).poll(cx));
                    match delayed.take() {
                        Some(delayed) => delayed.go_on(),
                        None => panic!("polled after completion"),
                    }
                }
                StateProj::Aborted { rejection } => match rejection.take() {
                    Some(rejection) => return Poll::Ready(Err(rejection.into())),
                    None => panic!("polled after completion"),
                },
            };
            state.set(next);
        }
    }
}

impl<S: Service<R>, R> Delayed<S, R> {
    fn go_on(mut self) -> State<S, R> {
        match self.abort {
            Some(abort) => State::Aborted { rejection: Some(aborted(abort, self.name)) },
            None => State::Called { inner: self.service.call(self.request) },
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for DisturbedFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisturbedFuture").finish_non_exhaustive()
    }
}
