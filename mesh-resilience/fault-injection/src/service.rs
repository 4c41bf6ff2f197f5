//! The service and its response future.

use crate::{
    Abort, FaultInjection,
    faults::{Active, Plan},
};
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
    type Future = DisturbedFuture<S, S::Future, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        let state = match self.faults.draw() {
            None => State::Called { inner: self.inner.call(request) },
            Some(drawn) => self.disturb(request, drawn),
        };
        DisturbedFuture { state, request: PhantomData }
    }
}

impl<S: Clone, M> Disturbed<S, M> {
    #[cold]
    #[inline(never)]
    fn disturb<R>(&mut self, mut request: R, drawn: u64) -> State<S, S::Future, R>
    where
        S: Service<R>,
        M: Reach<R, S::Response>,
    {
        let Plan { delay, abort } =
            self.faults.plan(self.reach.view(&mut request), true, drawn, time::now).unwrap_or_default();
        let Some(delay) = delay else {
            return match abort {
                Some(abort) => Rare::Aborted(aborted(abort, self.name)).into(),
                None => State::Called { inner: self.inner.call(request) },
            };
        };
        // the instance that was polled ready waits with the call, a fresh clone stays
        let fresh = self.inner.clone();
        let delayed = Delayed {
            over: time::sleep(delay),
            _active: Active(self.faults.clone()),
            abort,
            name: self.name,
            service: std::mem::replace(&mut self.inner, fresh),
            request,
        };
        Rare::Delayed(delayed).into()
    }
}

/// The refusal, counted.
fn aborted(abort: Abort, name: Name) -> Rejection {
    let mut rejection = abort.rejection();
    rejection.stamp(name);
    rejection.count();
    rejection
}

pin_project! {
    /// The response future of [`Disturbed`]. Dropping it cancels the wait.
    ///
    /// The future of the service is a parameter, not looked up: so a task that awaits it is seen to be `Send`, whatever
    /// the error.
    pub struct DisturbedFuture<S, F, R> {
        #[pin]
        state: State<S, F, R>,
        request: PhantomData<fn(R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, R> {
        Called { #[pin] inner: F },
        // apart, so that all that is common fits around the call
        Rare { rare: Aside<Rare<S, R>> },
    }
}

/// What rarely is.
struct Aside<T>(Option<Box<T>>);

/// Dropped out of the way, so that the drop of what is common is a comparison where it stands.
impl<T> Drop for Aside<T> {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        self.0 = None;
    }
}

enum Rare<S, R> {
    Delayed(Delayed<S, R>),
    Aborted(Rejection),
}

impl<S, F, R> From<Rare<S, R>> for State<S, F, R> {
    fn from(rare: Rare<S, R>) -> Self {
        State::Rare { rare: Aside(Some(Box::new(rare))) }
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

impl<S, F, R> Future for DisturbedFuture<S, F, R>
where
    S: Service<R, Future = F>,
    F: Future<Output = Result<S::Response, S::Error>>,
    S::Error: Refusal,
{
    type Output = Result<S::Response, S::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Called { inner } = state.as_mut().project() {
            // forwarded as it is, since wrapping the result anew copies the response
            return inner.poll(cx);
        }
        poll_rare(state, cx)
    }
}

#[cold]
#[inline(never)]
fn poll_rare<S, R>(mut state: Pin<&mut State<S, S::Future, R>>, cx: &mut Cx<'_>) -> Poll<Result<S::Response, S::Error>>
where
    S: Service<R>,
    S::Error: Refusal,
{
    loop {
        let rare = match state.as_mut().project() {
            StateProj::Called { inner } => return inner.poll(cx),
            StateProj::Rare { rare } => rare,
        };
        if let Some(Rare::Delayed(delayed)) = rare.0.as_deref_mut() {
            ready!(Pin::new(&mut delayed.over).poll(cx));
        }
        match rare.0.take().map(|rare| *rare) {
            Some(Rare::Delayed(delayed)) => state.set(delayed.go_on()),
            Some(Rare::Aborted(rejection)) => return Poll::Ready(Err(rejection.into())),
            None => panic!("polled after completion"),
        }
    }
}

impl<S: Service<R>, R> Delayed<S, R> {
    fn go_on(mut self) -> State<S, S::Future, R> {
        match self.abort {
            Some(abort) => Rare::Aborted(aborted(abort, self.name)).into(),
            None => State::Called { inner: self.service.call(self.request) },
        }
    }
}

impl<S, F, R> fmt::Debug for DisturbedFuture<S, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisturbedFuture").finish_non_exhaustive()
    }
}
