//! A service whose every move the test decides: when it is ready, what it answers, when it panics.
//!
//! ```
//! use mesh_core::BoxError;
//! use mesh_test::mock::mock;
//! use tower::{Service, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (mut service, handle) = mock::<&str, &str, BoxError>();
//! let response = service.ready().await.unwrap().call("ping");
//! let call = handle.next().await;
//! assert_eq!(call.request(), &"ping");
//! call.answer("pong");
//! assert_eq!(response.await.unwrap(), "pong");
//! # }
//! ```

mod handle;

pub use handle::{Call, Handle};

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tower_service::Service;

/// A mock service, and the handle that decides what it does. At first it is ready, and each call waits for the test to
/// answer it.
pub fn mock<R, Res, E>() -> (Mock<R, Res, E>, Handle<R, Res, E>) {
    let shared = Arc::new(Shared { state: Mutex::default() });
    let instance = shared.lock().new_instance();
    (Mock { shared: shared.clone(), instance, ready: false, permit: None }, Handle(shared))
}

struct Shared<R, Res, E> {
    state: Mutex<State<R, Res, E>>,
}

type Answers<R, Res, E> = Arc<dyn Fn(R) -> Result<Res, E> + Send + Sync>;

struct State<R, Res, E> {
    readiness: Readiness<E>,
    answers: Option<Answers<R, Res, E>>,
    panics_on_call: bool,
    instances: u64,
    calls: u64,
    queue: VecDeque<Call<R, Res, E>>,
    /// Those who wait for a call, or for readiness that is held.
    wakers: Vec<Waker>,
    /// Instances that wait for a permit, in order, and those that were given one they have not fetched.
    waiting: VecDeque<(u64, Waker)>,
    granted: HashSet<u64>,
    unready_calls: u64,
}

enum Readiness<E> {
    Ready,
    Held,
    Fails(E),
    Scarce { free: usize },
}

impl<R, Res, E> Default for State<R, Res, E> {
    fn default() -> Self {
        Self {
            readiness: Readiness::Ready,
            answers: None,
            panics_on_call: false,
            instances: 0,
            calls: 0,
            queue: VecDeque::new(),
            wakers: Vec::new(),
            waiting: VecDeque::new(),
            granted: HashSet::new(),
            unready_calls: 0,
        }
    }
}

impl<R, Res, E> State<R, Res, E> {
    fn new_instance(&mut self) -> u64 {
        self.instances += 1;
        self.instances
    }

    /// A permit comes back: it goes to the instance that has waited longest, whether or not anybody still polls that.
    fn release(&mut self) -> Option<Waker> {
        let Readiness::Scarce { free } = &mut self.readiness else { return None };
        match self.waiting.pop_front() {
            Some((instance, waker)) => {
                self.granted.insert(instance);
                Some(waker)
            }
            None => {
                *free += 1;
                None
            }
        }
    }
}

impl<R, Res, E> Shared<R, Res, E> {
    fn lock(&self) -> MutexGuard<'_, State<R, Res, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) {
        let waker = self.lock().release();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A service that does what its [`Handle`] says. Each clone is an instance of its own, which must be polled ready
/// before it is called.
pub struct Mock<R, Res, E> {
    shared: Arc<Shared<R, Res, E>>,
    instance: u64,
    ready: bool,
    permit: Option<Permit<R, Res, E>>,
}

/// A place among those that [`Handle::scarce`] gives out.
struct Permit<R, Res, E>(Arc<Shared<R, Res, E>>);

impl<R, Res, E> Drop for Permit<R, Res, E> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<R, Res, E> Clone for Mock<R, Res, E> {
    /// A new instance: readiness is not cloned.
    fn clone(&self) -> Self {
        let instance = self.shared.lock().new_instance();
        Self { shared: self.shared.clone(), instance, ready: false, permit: None }
    }
}

impl<R, Res, E> Drop for Mock<R, Res, E> {
    fn drop(&mut self) {
        let (waiter, granted) = {
            let mut state = self.shared.lock();
            let place = state.waiting.iter().position(|(instance, _)| *instance == self.instance);
            (place.and_then(|place| state.waiting.remove(place)), state.granted.remove(&self.instance))
        };
        drop(waiter);
        if granted {
            self.shared.release();
        }
    }
}

impl<R, Res, E> fmt::Debug for Mock<R, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").field("instance", &self.instance).field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl<R, Res, E> Service<R> for Mock<R, Res, E> {
    type Response = Res;
    type Error = E;
    type Future = MockFuture<R, Res, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        match &mut state.readiness {
            Readiness::Ready => {}
            Readiness::Held => {
                state.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            Readiness::Fails(_) => {
                if let Readiness::Fails(error) = std::mem::replace(&mut state.readiness, Readiness::Ready) {
                    return Poll::Ready(Err(error));
                }
            }
            Readiness::Scarce { .. } if self.permit.is_some() => {}
            Readiness::Scarce { free } => {
                if let Some((_, waker)) = state.waiting.iter_mut().find(|(instance, _)| *instance == self.instance) {
                    let before = std::mem::replace(waker, cx.waker().clone());
                    drop(guard);
                    drop(before);
                    return Poll::Pending;
                }
                if !state.granted.remove(&self.instance) {
                    if *free == 0 {
                        state.waiting.push_back((self.instance, cx.waker().clone()));
                        return Poll::Pending;
                    }
                    *free -= 1;
                }
                self.permit = Some(Permit(self.shared.clone()));
            }
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let permit = self.permit.take();
        let mut state = self.shared.lock();
        state.calls += 1;
        if !std::mem::take(&mut self.ready) {
            state.unready_calls += 1;
        }
        if std::mem::take(&mut state.panics_on_call) {
            drop(state);
            panic!("the mock panics when it is called, as it was told");
        }
        if let Some(answers) = state.answers.clone() {
            drop(state);
            return MockFuture { _permit: permit, inner: Inner::Answered(Some(answers(request))) };
        }
        let slot = Arc::new(Mutex::new(Slot::default()));
        state.queue.push_back(Call { request, instance: self.instance, slot: slot.clone() });
        drop(state);
        self.shared.wake();
        MockFuture { _permit: permit, inner: Inner::Waiting(slot) }
    }
}

struct Slot<Res, E> {
    reply: Option<Reply<Res, E>>,
    waker: Option<Waker>,
    polls: u64,
    abandoned: bool,
}

enum Reply<Res, E> {
    Result(Result<Res, E>),
    Panic,
}

impl<Res, E> Default for Slot<Res, E> {
    fn default() -> Self {
        Self { reply: None, waker: None, polls: 0, abandoned: false }
    }
}

/// The response future of a [`Mock`].
pub struct MockFuture<R, Res, E> {
    inner: Inner<Res, E>,
    /// Comes back when the call is over.
    _permit: Option<Permit<R, Res, E>>,
}

enum Inner<Res, E> {
    Answered(Option<Result<Res, E>>),
    Waiting(Arc<Mutex<Slot<Res, E>>>),
}

impl<R, Res, E> Unpin for MockFuture<R, Res, E> {}

impl<R, Res, E> Future for MockFuture<R, Res, E> {
    type Output = Result<Res, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = match &mut self.inner {
            Inner::Answered(result) => match result.take() {
                Some(result) => return Poll::Ready(result),
                None => panic!("polled after completion"),
            },
            Inner::Waiting(slot) => slot.clone(),
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.polls += 1;
        match slot.reply.take() {
            Some(Reply::Result(result)) => Poll::Ready(result),
            Some(Reply::Panic) => {
                drop(slot);
                panic!("the mock panics when it is polled, as it was told");
            }
            None => {
                let before = slot.waker.replace(cx.waker().clone());
                drop(slot);
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<R, Res, E> Drop for MockFuture<R, Res, E> {
    fn drop(&mut self) {
        if let Inner::Waiting(slot) = &self.inner {
            slot.lock().unwrap_or_else(PoisonError::into_inner).abandoned = true;
        }
    }
}

impl<R, Res, E> fmt::Debug for MockFuture<R, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockFuture")
    }
}
