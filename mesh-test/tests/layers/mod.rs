//! Small layers, good and bad.
#![allow(dead_code, reason = "each test uses a part")]

use mesh_core::{At, End, Gate, Kind, Outcome, Rejection, Ticket, Watch};
use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// At most so many requests at once; 0 is off.
pub(crate) struct AtOnce {
    pub(crate) max: AtomicU32,
    pub(crate) now: AtomicU32,
}

impl AtOnce {
    pub(crate) fn new(max: u32) -> Self {
        Self { max: max.into(), now: 0.into() }
    }
}

impl Watch for AtOnce {
    fn on_end(&self, _: Ticket, _: &End<'_>) {
        self.now.fetch_sub(1, Relaxed);
    }
}

impl<R> Gate<R> for AtOnce {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        let max = self.max.load(Relaxed);
        if max == 0 {
            return Ok(None);
        }
        match self.now.fetch_update(Relaxed, Relaxed, |now| (now < max).then_some(now + 1)) {
            Ok(_) => Ok(Some(Ticket::default())),
            Err(_) => Err(Rejection::new(Kind::Saturated)),
        }
    }
}

/// Refuses everything after so many failures.
pub(crate) struct OneStrike {
    left: AtomicU32,
}

impl OneStrike {
    pub(crate) fn new(failures: u32) -> Self {
        Self { left: failures.into() }
    }
}

impl Watch for OneStrike {
    fn on_end(&self, _: Ticket, end: &End<'_>) {
        if end.outcome.is_failure() {
            let _ = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        }
    }
}

impl<R> Gate<R> for OneStrike {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        match self.left.load(Relaxed) {
            0 => Err(Rejection::new(Kind::CircuitOpen)),
            _ => Ok(Some(Ticket::default())),
        }
    }
}

/// As [`AtOnce`], but it forgets the calls that nobody waited for.
pub(crate) struct Forgetful(pub(crate) AtOnce);

impl Watch for Forgetful {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        if end.outcome != Outcome::Cancelled {
            self.0.on_end(ticket, end);
        }
    }
}

impl<R> Gate<R> for Forgetful {
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        self.0.admit(request, at)
    }
}

/// A layer of tower's kind whose faults can be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Faulty {
    /// `call` runs on a clone, not on the instance that was polled.
    CallsClone,
    /// `poll_ready` does not ask the inner service.
    IgnoresReadiness,
    /// An error of readiness is swallowed.
    SwallowsErrors,
    /// The inner future is leaked when the call is given up.
    Leaks,
    /// It allocates for each call.
    Allocates,
}

impl<S> Layer<S> for Faulty {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService { fault: *self, inner }
    }
}

#[derive(Clone)]
pub(crate) struct FaultyService<S> {
    fault: Faulty,
    inner: S,
}

impl<R, S> Service<R> for FaultyService<S>
where
    S: Service<R> + Clone,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FaultyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.fault {
            Faulty::IgnoresReadiness => Poll::Ready(Ok(())),
            Faulty::SwallowsErrors => self.inner.poll_ready(cx).map(|_| Ok(())),
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let future = match self.fault {
            Faulty::CallsClone => self.inner.clone().call(request),
            _ => self.inner.call(request),
        };
        if self.fault == Faulty::Allocates {
            drop(std::hint::black_box(Box::new(1_u64)));
        }
        FaultyFuture { fault: self.fault, inner: Some(future) }
    }
}

pub(crate) struct FaultyFuture<F> {
    fault: Faulty,
    inner: Option<F>,
}

impl<F: Future + Unpin> Future for FaultyFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(self.inner.as_mut().expect("not polled after completion")).poll(cx)
    }
}

impl<F> Drop for FaultyFuture<F> {
    fn drop(&mut self) {
        if self.fault == Faulty::Leaks {
            std::mem::forget(self.inner.take());
        }
    }
}
