use super::{Readiness, Reply, Shared, Slot};
use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

/// Decides what a [`Mock`](super::Mock) does, and sees what is done to it.
pub struct Handle<R, Res, E>(pub(super) Arc<Shared<R, Res, E>>);

impl<R, Res, E> Handle<R, Res, E> {
    /// The next call that waits for an answer.
    pub async fn next(&self) -> Call<R, Res, E> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            match state.queue.pop_front() {
                Some(call) => Poll::Ready(call),
                None => {
                    state.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next call that waits for an answer, if there is one already.
    pub fn try_next(&self) -> Option<Call<R, Res, E>> {
        self.0.lock().queue.pop_front()
    }

    /// From now on each call is answered at once, by this function.
    pub fn answer_with(&self, answer: impl Fn(R) -> Result<Res, E> + Send + Sync + 'static) {
        self.0.lock().answers = Some(Arc::new(answer));
    }

    /// From now on each call waits for the test again.
    pub fn hold_answers(&self) {
        self.0.lock().answers = None;
    }

    /// The next call panics, in `call` itself.
    pub fn panic_on_call(&self) {
        self.0.lock().panics_on_call = true;
    }

    /// Nobody is ready until [`Handle::release_ready`]. An instance that was polled ready stays so.
    pub fn hold_ready(&self) {
        self.0.lock().readiness = Readiness::Held;
    }

    /// Everybody is ready again.
    pub fn release_ready(&self) {
        self.0.lock().readiness = Readiness::Ready;
        self.0.wake();
    }

    /// The next `poll_ready` fails with this error, those after it are ready.
    pub fn fail_ready(&self, error: E) {
        self.0.lock().readiness = Readiness::Fails(error);
        self.0.wake();
    }

    /// From now on an instance is ready when it has one of so many permits. It keeps the permit over an idle time,
    /// hands it to the call, and the end of the response future gives it back: to the instance that has waited
    /// longest, polled or not. So does tower's `ConcurrencyLimit`.
    pub fn scarce(&self, permits: usize) {
        self.0.lock().readiness = Readiness::Scarce { free: permits };
        self.0.wake();
    }

    /// How many of the permits of [`Handle::scarce`] nobody has.
    pub fn free_permits(&self) -> usize {
        match &self.0.lock().readiness {
            Readiness::Scarce { free } => *free,
            _ => 0,
        }
    }

    /// How often the mock was called.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// How many instances there have been, clones included.
    pub fn instances(&self) -> u64 {
        self.0.lock().instances
    }

    /// How often an instance was called that had not been polled ready since its last call.
    pub fn unready_calls(&self) -> u64 {
        self.0.lock().unready_calls
    }
}

impl<R, Res, E> Clone for Handle<R, Res, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R, Res, E> fmt::Debug for Handle<R, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("calls", &self.calls())
            .field("instances", &self.instances())
            .finish_non_exhaustive()
    }
}

/// A call that a [`Mock`](super::Mock) was given. Dropped without an answer, it is never answered.
pub struct Call<R, Res, E> {
    pub(super) request: R,
    pub(super) instance: u64,
    pub(super) slot: Arc<Mutex<Slot<Res, E>>>,
}

impl<R, Res, E> Call<R, Res, E> {
    /// What was asked.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// What was asked, to change it or to take its body.
    pub fn request_mut(&mut self) -> &mut R {
        &mut self.request
    }

    /// The number of the instance that was called; the first is 1.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// How often the response future has been polled.
    pub fn polls(&self) -> u64 {
        self.lock().polls
    }

    /// Whether the response future was dropped.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Answers it.
    pub fn answer(self, response: Res) {
        self.reply(Reply::Result(Ok(response)));
    }

    /// Fails it.
    pub fn fail(self, error: E) {
        self.reply(Reply::Result(Err(error)));
    }

    /// Its response future panics when it is polled next.
    pub fn panic(self) {
        self.reply(Reply::Panic);
    }

    fn reply(self, reply: Reply<Res, E>) {
        let waker = {
            let mut slot = self.lock();
            slot.reply = Some(reply);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<Res, E>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: fmt::Debug, Res, E> fmt::Debug for Call<R, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).field("instance", &self.instance).finish_non_exhaustive()
    }
}
