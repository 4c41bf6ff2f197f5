//! The service and its response future.

use crate::{
    Repeat,
    layer::Shared,
    policy::{LONGEST_PUSHBACK, Pushback, Verdict},
};
use mesh_core::{
    Kind, Name, Nanos, Refusal, Rejection,
    time::{self, Sleep},
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as Cx, Poll, ready},
    time::Duration,
};
use tower_service::Service;

/// A service whose failed calls are sent again; made by a [`RetryLayer`](crate::RetryLayer).
pub struct Retry<S, M> {
    inner: S,
    family: Arc<Family<S>>,
    repeat: M,
}

/// What the clones of one service share. One reference count for each call.
pub(crate) struct Family<S> {
    shared: Arc<Shared>,
    name: Name,
    /// What further attempts are made with: a clone of it. Behind a lock since it need not be `Sync`; a call that
    /// succeeds at once never takes it.
    spare: Mutex<S>,
}

impl<S: Clone> Family<S> {
    pub(crate) fn new(inner: &S, shared: Arc<Shared>, name: Name) -> Arc<Self> {
        Arc::new(Self { shared, name, spare: Mutex::new(inner.clone()) })
    }

    fn fresh(&self) -> S {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S, M> Retry<S, M> {
    pub(crate) fn new(inner: S, family: Arc<Family<S>>, repeat: M) -> Self {
        Self { inner, family, repeat }
    }
}

impl<S: Clone, M: Clone> Clone for Retry<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.family.clone(), self.repeat.clone())
    }
}

impl<S: fmt::Debug, M> fmt::Debug for Retry<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).field("name", &self.family.name).finish_non_exhaustive()
    }
}

impl<R, S, M> Service<R> for Retry<S, M>
where
    S: Service<R> + Clone,
    S::Error: Refusal,
    M: Repeat<R, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RetryFuture<S, S::Future, R, M, M::Kept>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let context = self.repeat.context(&request);
        let deadline = context.deadline();
        if deadline.is_some_and(|deadline| deadline <= time::now()) {
            return RetryFuture { inner: None, plan: None, refused: Some(timed_out(self.family.name)) };
        }
        let shared = &self.family.shared;
        if shared.is_off() {
            return RetryFuture { inner: Some(self.inner.call(request)), plan: None, refused: None };
        }
        let grpc = context.protocol() == Name::GRPC;
        let allowed = |method| shared.settings.load().settings.allows(method);
        let repeatable = self.repeat.method(&request).is_none_or(allowed);
        let plan = self.repeat.keep(&mut request, shared.max_body()).map(|kept| Plan {
            family: self.family.clone(),
            repeat: self.repeat.clone(),
            kept,
            deadline,
            grpc,
            repeatable,
            is_counted: false,
            begun: 1,
            next: None,
        });
        RetryFuture { inner: Some(self.inner.call(request)), plan, refused: None }
    }
}

/// The refusal, counted.
fn timed_out(name: Name) -> Rejection {
    let mut rejection = Rejection::new(Kind::Timeout);
    rejection.stamp(name);
    rejection.count();
    rejection
}

pin_project! {
    /// The response future of [`Retry`]. Dropping it drops the attempt that is under way, or the wait for the next.
    ///
    /// What the service gives is among the parameters, not looked up: so a task that awaits it is seen to be `Send`,
    /// whatever the error.
    pub struct RetryFuture<S, F, R, M, K> {
        // an attempt; `None`: between two, or refused
        #[pin]
        inner: Option<F>,
        // `None`: it is sent only once
        plan: Option<Plan<S, R, M, K>>,
        refused: Option<Rejection>,
    }
}

/// What is needed for another attempt.
struct Plan<S, R, M, K> {
    family: Arc<Family<S>>,
    repeat: M,
    kept: K,
    deadline: Option<Nanos>,
    grpc: bool,
    /// It may be sent again after it may have been acted on.
    repeatable: bool,
    /// The budget has had its deposit.
    is_counted: bool,
    /// Attempts, the one under way included.
    begun: u32,
    next: Option<Box<Next<S, R>>>,
}

/// An attempt that is waited for. Boxed, since few calls have one.
struct Next<S, R> {
    sleep: Option<Sleep>,
    service: S,
    request: Option<R>,
}

impl<S, F, R, M, K> fmt::Debug for RetryFuture<S, F, R, M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.plan.as_ref().map(|plan| plan.begun);
        f.debug_struct("RetryFuture").field("attempts", &begun).finish_non_exhaustive()
    }
}

impl<S, F, R, M> Future for RetryFuture<S, F, R, M, M::Kept>
where
    S: Service<R, Future = F> + Clone,
    F: Future<Output = Result<S::Response, S::Error>>,
    S::Error: Refusal,
    M: Repeat<R, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        loop {
            let mut polled = match me.inner.as_mut().as_pin_mut() {
                Some(inner) => inner.poll(cx),
                None => {
                    let Some(plan) = me.plan.as_mut() else {
                        match me.refused.take() {
                            Some(rejection) => return Poll::Ready(Err(rejection.into())),
                            None => panic!("polled after completion"),
                        }
                    };
                    match ready!(plan.poll_next(cx)) {
                        Ok(attempt) => {
                            me.inner.set(Some(attempt));
                            continue;
                        }
                        Err(error) => Poll::Ready(Err(error)),
                    }
                }
            };
            // looked at where it is: taking the result out and wrapping it anew copies the response
            let (Poll::Ready(result), Some(plan)) = (&mut polled, me.plan.as_mut()) else { return polled };
            let verdict = plan.judge(result);
            if plan.wants_another(&verdict) {
                // what the attempt holds of the request ends before there is another
                me.inner.set(None);
                if let Some(next) = plan.prepare(&verdict) {
                    plan.discard(polled, &next);
                    plan.next = Some(next);
                    continue;
                }
                *me.plan = None;
            }
            return polled;
        }
    }
}

impl<S, R, M, K> Plan<S, R, M, K> {
    /// Waits for the next attempt and begins it. An error is that of readiness, or says that it is too late.
    #[cold]
    fn poll_next(&mut self, cx: &mut Cx<'_>) -> Poll<Result<S::Future, S::Error>>
    where
        S: Service<R, Error: Refusal>,
    {
        let Some(next) = &mut self.next else { panic!("polled after completion") };
        if let Some(sleep) = &mut next.sleep {
            ready!(Pin::new(sleep).poll(cx));
            next.sleep = None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= time::now()) {
            self.next = None;
            return Poll::Ready(Err(timed_out(self.family.name).into()));
        }
        if let Err(error) = ready!(next.service.poll_ready(cx)) {
            self.next = None;
            return Poll::Ready(Err(error));
        }
        let Some(mut next) = self.next.take() else { unreachable!("it is taken only here") };
        match next.request.take() {
            Some(request) => Poll::Ready(Ok(next.service.call(request))),
            None => unreachable!("it is taken only here"),
        }
    }

    fn judge(&mut self, result: &mut Result<S::Response, S::Error>) -> Verdict
    where
        S: Service<R>,
        M: Repeat<R, S::Response, S::Error, Kept = K>,
    {
        let verdict = self.repeat.judge(result, self.grpc);
        if !self.is_counted && !verdict.is_local() {
            self.is_counted = true;
            self.family.shared.budget.deposit();
        }
        verdict
    }

    /// Whether the verdict, the settings and the number of attempts ask for another.
    #[inline]
    fn wants_another(&self, verdict: &Verdict) -> bool {
        if *verdict == Verdict::DONE && self.begun == 1 {
            return false;
        }
        let shared = &self.family.shared;
        let current = shared.settings.load();
        let failed = verdict.wants_another(&current.settings, self.repeatable);
        if self.begun > 1 {
            let counters = shared.counters();
            (if failed { &counters.failure } else { &counters.success }).increment(1);
        }
        failed && self.begun < current.settings.attempts.get()
    }

    /// Another attempt, if there is time for it, something to send, and a budget.
    #[cold]
    fn prepare(&mut self, verdict: &Verdict) -> Option<Box<Next<S, R>>>
    where
        S: Service<R> + Clone,
        M: Repeat<R, S::Response, S::Error, Kept = K>,
    {
        let shared = &self.family.shared;
        let current = shared.settings.load();
        let now = time::now();
        let wait = match verdict.pushback() {
            // another endpoint has nothing to recover from
            _ if verdict.is_local() => Some(Duration::ZERO),
            Pushback::None => Some(current.settings.backoff.draw(self.begun - 1)),
            Pushback::After(wait) => Some(wait).filter(|wait| self.deadline.is_some() || *wait <= LONGEST_PUSHBACK),
            Pushback::Never => None,
        };
        let begins = wait.map(|wait| now.plus(wait));
        let Some(begins) = begins.filter(|begins| self.deadline.is_none_or(|deadline| *begins < deadline)) else {
            shared.counters().no_time.increment(1);
            return None;
        };
        let Some(request) = self.repeat.again(&mut self.kept) else {
            shared.counters().no_replay.increment(1);
            return None;
        };
        // what was not sent on has cost nobody anything
        if let Some(terms) = &current.terms
            && !verdict.is_local()
            && !shared.budget.withdraw(terms, now)
        {
            shared.counters().no_budget.increment(1);
            return None;
        }
        self.begun += 1;
        let sleep = (begins > now).then(|| time::sleep_until(begins));
        Some(Box::new(Next { sleep, service: self.family.fresh(), request: Some(request) }))
    }

    /// Throws away what a failed attempt brought. What it held of the request must not end the next one's.
    fn discard(&self, polled: Poll<Result<S::Response, S::Error>>, next: &Next<S, R>)
    where
        S: Service<R>,
        M: Repeat<R, S::Response, S::Error, Kept = K>,
    {
        let context = next.request.as_ref().map(|request| self.repeat.context(request));
        let goes_on = context.is_some_and(|context| context.request_ended().is_none());
        if let Poll::Ready(Ok(response)) = polled {
            self.repeat.discard(response);
        }
        if goes_on && let Some(context) = context {
            context.reopen_request();
        }
    }
}
