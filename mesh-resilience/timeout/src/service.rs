//! The service and its response future.

use crate::{
    layer::Shared,
    limits::Limits,
    tap::{BodyLimits, Quiet},
};
use mesh_core::{
    Code, Context, Kind, Name, Nanos, Outcome, Reach, Refusal, Rejection, Whole, drop_as,
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

/// A service whose calls may not take too long; made by a [`TimeoutLayer`](crate::TimeoutLayer).
pub struct Timeout<S, M = Whole> {
    inner: S,
    shared: Arc<Shared>,
    name: Name,
    reach: M,
}

impl<S, M> Timeout<S, M> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>, name: Name, reach: M) -> Self {
        Self { inner, shared, name, reach }
    }
}

impl<S: Clone, M: Clone> Clone for Timeout<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.shared.clone(), self.name, self.reach.clone())
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Timeout<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("inner", &self.inner).field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R, S, M> Service<R> for Timeout<S, M>
where
    S: Service<R>,
    S::Error: Refusal,
    M: Reach<R, S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future, R, M>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let context = self.reach.context(&request);
        let deadline = context.deadline();
        if deadline.is_some_and(|deadline| deadline <= time::now()) {
            return TimeoutFuture {
                inner: None,
                refused: Some(timed_out(self.name)),
                watch: None,
                request: PhantomData,
            };
        }
        let limits = self.shared.limits(context, deadline);
        let watch = if limits.is_none() {
            None
        } else {
            // a request that has ended already has nothing more to tell, unless a tunnel is to follow
            let over = context.request_ended().is_some() && context.protocol() != Name::TUNNEL;
            let context = if over { Context::none() } else { context.clone() };
            Some(Watch { limits, timer: None, context, name: self.name, reach: self.reach.clone() })
        };
        TimeoutFuture { inner: Some(self.inner.call(request)), refused: None, watch, request: PhantomData }
    }
}

/// The refusal, counted.
pub(crate) fn timed_out(name: Name) -> Rejection {
    let mut rejection = Rejection::new(Kind::Timeout);
    rejection.stamp(name);
    rejection.count();
    rejection
}

pin_project! {
    /// The response future of [`Timeout`]. Dropping it drops the call and its timer.
    pub struct TimeoutFuture<F, R, M = Whole> {
        // `None`: not called, since the deadline had passed, or given up
        #[pin]
        inner: Option<F>,
        refused: Option<Rejection>,
        watch: Option<Watch<M>>,
        request: PhantomData<fn(R)>,
    }
}

/// What is watched of a call.
struct Watch<M> {
    limits: Limits,
    /// Set when the call is first found waiting.
    timer: Option<Timer>,
    /// To learn when the request has ended; none if it has, or if nobody will tell.
    context: Context,
    name: Name,
    reach: M,
}

struct Timer {
    started: Nanos,
    quiet: Quiet,
    sleep: Sleep,
}

impl<F, R, M> fmt::Debug for TimeoutFuture<F, R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = self.watch.as_ref().map(|watch| watch.limits);
        f.debug_struct("TimeoutFuture").field("limits", &limits).finish_non_exhaustive()
    }
}

impl<F, R, M, T, E> Future for TimeoutFuture<F, R, M>
where
    F: Future<Output = Result<T, E>>,
    E: Refusal,
    M: Reach<R, T>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let Some(inner) = me.inner.as_mut().as_pin_mut() else {
            match me.refused.take() {
                Some(rejection) => return Poll::Ready(Err(rejection.into())),
                None => panic!("polled after completion"),
            }
        };
        // nothing to watch: the poll is forwarded as it is, since wrapping the result anew copies the response
        let Some(watch) = me.watch else { return inner.poll(cx) };
        let mut polled = inner.poll(cx);
        if let Poll::Ready(result) = &mut polled {
            // the future may be kept longer than it is polled
            watch.timer = None;
            if let Ok(response) = result {
                watch.leave_tap(response);
            }
            return polled;
        }
        ready!(watch.poll_elapsed(cx));
        // what is open further in hears why
        drop_as(Outcome::TimedOut, || me.inner.set(None));
        Poll::Ready(Err(timed_out(watch.name).into()))
    }
}

impl<M> Watch<M> {
    /// Ready when the call is over its limits.
    fn poll_elapsed(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        let (limits, context) = (self.limits, &self.context);
        let timer = self.timer.get_or_insert_with(|| {
            let started = time::now();
            let quiet = Quiet::from(started, context);
            Timer { started, quiet, sleep: time::sleep_until(limits.first(started)) }
        });
        loop {
            ready!(Pin::new(&mut timer.sleep).poll(cx));
            // a clock that is read seldom may lag behind the timer
            let now = time::now().max(timer.sleep.deadline());
            let ended = if context.is_some() { context.request_ended() } else { Some(timer.started) };
            if ended.is_none() {
                timer.quiet.look(context, now);
            }
            let due = limits.due(timer.started, ended, timer.quiet.since, now);
            if due <= now {
                return Poll::Ready(());
            }
            timer.sleep.reset(due);
        }
    }

    /// What is left of the limits once there is a head. The deadline goes on where only the body will tell how the call
    /// ends: a gRPC stream, for which the total time is over with the head, as it is for an upgrade and a
    /// CONNECT.
    fn leave_tap<R, T>(&mut self, response: &mut T)
    where
        M: Reach<R, T>,
    {
        let Limits { idle, total, deadline, .. } = self.limits;
        if idle == Duration::MAX && total == Nanos::MAX && deadline == Nanos::MAX {
            return;
        }
        let Some(response) = self.reach.governed(response) else { return };
        let at = match response.head().outcome_and_code() {
            (None, _) => deadline,
            (Some(_), Code::Http(101)) => Nanos::MAX,
            (Some(_), Code::Http(200..300)) if self.context.protocol() == Name::TUNNEL => Nanos::MAX,
            (Some(_), _) => total,
        };
        if at != Nanos::MAX || idle != Duration::MAX {
            let context = std::mem::take(&mut self.context);
            response.guards().tap(Box::new(BodyLimits::new(at, idle, self.name, context)));
        }
    }
}
