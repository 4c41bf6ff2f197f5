use crate::{
    Governed, Guards, Pause, Protocol, Refusal, Rejection, Ticket,
    guards::ends_if_it_panics,
    run::{Paused, Placed, Run, Stopped},
};
use pin_project_lite::pin_project;
use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Cx, Poll, Waker, ready},
};
use tower_service::Service;

type Out<P> = Result<<P as Protocol>::Response, <P as Protocol>::Error>;
type BoxFuture<P> = Pin<Box<dyn Future<Output = Out<P>> + Send>>;

/// A service whose type is erased.
trait Erased<P: Protocol>: Send {
    fn call(&mut self, request: P::Request) -> BoxFuture<P>;
    fn duplicate(&self) -> Box<dyn Erased<P>>;
}

impl<P: Protocol, S> Erased<P> for S
where
    S: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    /// Ready at once, the usual case: called in place. Else the request takes this instance and a fresh clone stays:
    /// the other way round a freed permit goes to an abandoned waiter.
    fn call(&mut self, request: P::Request) -> BoxFuture<P> {
        match self.poll_ready(&mut Cx::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => boxed(Service::call(self, request)),
            Poll::Ready(Err(error)) => Box::pin(std::future::ready(Err(error))),
            Poll::Pending => {
                let fresh = self.clone();
                let service = std::mem::replace(self, fresh);
                Box::pin(WaitingCall::Waiting { service, request: Some(request) })
            }
        }
    }

    fn duplicate(&self) -> Box<dyn Erased<P>> {
        Box::new(self.clone())
    }
}

/// In a box, unless it is that box already: a service may have one for its own reasons.
fn boxed<T: 'static>(future: impl Future<Output = T> + Send + 'static) -> Pin<Box<dyn Future<Output = T> + Send>> {
    type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
    let mut future = Some(future);
    // which type it is is known when this is compiled
    if let Some(boxed) = (&mut future as &mut dyn Any).downcast_mut::<Option<Boxed<T>>>().and_then(Option::take) {
        return boxed;
    }
    match future {
        Some(future) => Box::pin(future),
        None => unreachable!("it is taken only above"),
    }
}

pin_project! {
    /// Waits for the instance it took to be ready, then calls it.
    #[project = WaitingProj]
    enum WaitingCall<S, R, F> {
        Waiting { service: S, request: Option<R> },
        Called { #[pin] inner: F },
    }
}

impl<S: Service<R>, R> Future for WaitingCall<S, R, S::Future> {
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        loop {
            let inner = match self.as_mut().project() {
                WaitingProj::Called { inner } => return inner.poll(cx),
                WaitingProj::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    match request.take() {
                        Some(request) => service.call(request),
                        None => panic!("polled after completion"),
                    }
                }
            };
            self.set(WaitingCall::Called { inner });
        }
    }
}

/// A run of gates, which may be empty, and then one service whose type is erased.
///
/// A stage is always ready: it runs its gates, and its future waits for the service, so that tickets, timeouts and
/// logs see the wait. A call allocates one box, none where the service's future is a `Pin<Box<dyn Future + Send>>`. Clones share the gates; the service is cloned.
pub struct Stage<P: Protocol> {
    run: Option<Arc<Run<P::Request>>>,
    inner: Box<dyn Erased<P>>,
}

impl<P: Protocol> Stage<P> {
    /// A stage without gates.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        Self { run: None, inner: Box::new(service) }
    }

    /// Gates in front of all there is.
    pub(crate) fn with_run(mut self, gates: Vec<Placed<P::Request>>) -> Self {
        if gates.is_empty() {
            return self;
        }
        if self.run.is_some() {
            self = Stage::new(self);
        }
        self.run = Some(Run::new(gates));
        self
    }

    /// For axum, which asks for `Sync`. A call never locks.
    pub fn into_sync(self) -> SyncStage<P> {
        SyncStage(Mutex::new(self))
    }
}

impl<P: Protocol> Clone for Stage<P> {
    fn clone(&self) -> Self {
        Self { run: self.run.clone(), inner: self.inner.duplicate() }
    }
}

impl<P: Protocol> fmt::Debug for Stage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("run", &self.run).finish_non_exhaustive()
    }
}

impl<P: Protocol> Service<P::Request> for Stage<P> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = StageFuture<P>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: P::Request) -> StageFuture<P> {
        match self.admit(&mut request) {
            Ok(guards) => self.go_on(guards, request),
            Err(stopped) => self.refused_or_paused(stopped, request),
        }
    }
}

impl<P: Protocol> Stage<P> {
    /// Passes its gates. In two steps, since a request that has been borrowed is copied when it is moved on: whoever calls
    /// does it once.
    #[inline]
    pub(super) fn admit(&self, request: &mut P::Request) -> Result<Guards, Stopped> {
        match &self.run {
            None => Ok(Guards::new()),
            Some(run) => run.admit(request),
        }
    }

    /// Calls the service behind its gates.
    #[inline(always)]
    pub(super) fn go_on(&mut self, guards: Guards, request: P::Request) -> StageFuture<P> {
        StageFuture(State::Running { inner: self.inner.call(request), guards })
    }

    /// What becomes of a request that did not pass them.
    #[cold]
    #[inline(never)]
    pub(super) fn refused_or_paused(&self, stopped: Stopped, request: P::Request) -> StageFuture<P> {
        StageFuture(self.stopped(stopped, request))
    }

    #[cold]
    fn stopped(&self, stopped: Stopped, request: P::Request) -> State<P> {
        match stopped {
            Stopped::Refused(rejection) => State::Refused { rejection: Some(rejection) },
            // what is below may be busy when the wait is over: an instance of its own is waited for
            Stopped::Paused(paused) => {
                let Paused { pause, gate, guards } = *paused;
                State::Paused(Box::new(PausedCall { pause, request, stage: self.clone(), gate, guards }))
            }
        }
    }
}

/// A request that waits at a gate, and where it goes on. Dropped in this order: ends are told inside out.
struct PausedCall<P: Protocol> {
    pause: Pause,
    request: P::Request,
    stage: Stage<P>,
    gate: usize,
    guards: Guards,
}

impl<P: Protocol> PausedCall<P> {
    fn go_on(self, result: Result<Option<Ticket>, Rejection>) -> State<P> {
        let Self { pause, mut request, mut stage, gate, guards } = self;
        drop(pause);
        let Some(run) = &stage.run else { unreachable!("it waits at one of its gates") };
        match run.go_on(gate, guards, result, &mut request) {
            Ok(guards) => State::Running { inner: stage.inner.call(request), guards },
            Err(stopped) => stage.stopped(stopped, request),
        }
    }
}

/// The response future of a [`Stage`]. Dropping it ends the tickets of its gates.
pub struct StageFuture<P: Protocol>(State<P>);

enum State<P: Protocol> {
    /// Dropped in this order: ends are told inside out.
    Running {
        inner: BoxFuture<P>,
        guards: Guards,
    },
    Paused(Box<PausedCall<P>>),
    Refused {
        rejection: Option<Rejection>,
    },
}

impl<P: Protocol> StageFuture<P> {
    /// One that is refused at once, for services that call stages and have none to call.
    pub fn refused(rejection: Rejection) -> Self {
        Self(State::Refused { rejection: Some(rejection) })
    }
}

impl<P: Protocol> fmt::Debug for StageFuture<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StageFuture")
    }
}

impl<P: Protocol> Future for StageFuture<P> {
    type Output = Out<P>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Out<P>> {
        if !matches!(self.0, State::Running { .. }) {
            ready!(self.poll_stopped(cx))?;
        }
        let State::Running { guards, inner } = &mut self.0 else { unreachable!("it goes on") };
        let mut result = ready!(ends_if_it_panics(guards, || inner.as_mut().poll(cx)));
        if !guards.is_empty() {
            told(std::mem::take(guards), &mut result);
        }
        Poll::Ready(result)
    }
}

impl<P: Protocol> StageFuture<P> {
    /// Ready when the request goes on, or is refused.
    #[cold]
    #[inline(never)]
    fn poll_stopped(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), P::Error>> {
        loop {
            match std::mem::replace(&mut self.0, State::Refused { rejection: None }) {
                State::Paused(mut call) => {
                    let PausedCall { pause, guards, .. } = &mut *call;
                    match ends_if_it_panics(guards, || pause.as_mut().poll(cx)) {
                        Poll::Pending => {
                            self.0 = State::Paused(call);
                            return Poll::Pending;
                        }
                        Poll::Ready(result) => self.0 = call.go_on(result),
                    }
                }
                State::Refused { rejection: Some(rejection) } => return Poll::Ready(Err(rejection.into())),
                State::Refused { rejection: None } => panic!("polled after completion"),
                running @ State::Running { .. } => {
                    self.0 = running;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

fn told<Res: Governed, E: Refusal>(mut guards: Guards, result: &mut Result<Res, E>) {
    match result {
        Ok(response) => {
            guards.respond(response.head());
            if !guards.is_empty() {
                response.guards().append(guards);
            }
        }
        Err(error) => match error.rejection_mut() {
            Some(rejection) => guards.refuse(rejection),
            // a refusal may also be there behind sources that cannot be written to
            None => match error.rejection() {
                Some(rejection) => guards.end_cut(rejection),
                None => guards.end(error.verdict()),
            },
        },
    }
}

/// A [`Stage`] that is `Sync`.
pub struct SyncStage<P: Protocol>(Mutex<Stage<P>>);

impl<P: Protocol> Clone for SyncStage<P> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

impl<P: Protocol> fmt::Debug for SyncStage<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncStage")
    }
}

impl<P: Protocol> Service<P::Request> for SyncStage<P> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = StageFuture<P>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: P::Request) -> StageFuture<P> {
        Service::call(self.0.get_mut().unwrap_or_else(PoisonError::into_inner), request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boxed_future_is_not_boxed_again() {
        let own: Pin<Box<dyn Future<Output = u8> + Send>> = Box::pin(async { 7 });
        let address = (&raw const *own).cast::<()>();
        let same = boxed(own);
        assert_eq!((&raw const *same).cast::<()>(), address);
    }
}
