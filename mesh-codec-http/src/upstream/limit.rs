//! How many connections there may be to an endpoint, over all workers, and who waits for one.

use super::{UpstreamOptions, http1::Http1, pool, wire::within};
use crate::{HttpError, UpstreamErrorKind};
use mesh_core::{EndpointId, Kind, Rejection};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::oneshot};

/// The limits of all endpoints, wherever they are called from.
static LIMITS: LazyLock<Mutex<HashMap<EndpointId, Weak<Limit>>>> = LazyLock::new(Mutex::default);

/// The connections to one endpoint. Idle ones count, and those in the making.
pub(super) struct Limit {
    endpoint: EndpointId,
    max_connections: AtomicU32,
    max_pending: AtomicU32,
    /// Requests that wait for a connection.
    pending: AtomicU32,
    state: Mutex<State>,
    /// How many wait in the queue, for those who only look.
    queued: AtomicUsize,
}

#[derive(Default)]
struct State {
    open: u32,
    queue: VecDeque<Waiter>,
    next: u64,
    workers: Vec<Arc<Worker>>,
}

struct Waiter {
    number: u64,
    /// Whose connection is of use to it; 0: nobody's.
    worker: u64,
    tell: oneshot::Sender<Grant>,
}

/// A thread that has a pool for the endpoint.
struct Worker {
    id: u64,
    runtime: Handle,
    /// It is on its way to look whether it has an idle connection to close.
    called: AtomicBool,
}

/// What a waiter is given.
pub(super) enum Grant {
    /// The right to make a connection.
    Permit(Permit),
    /// A connection of its own thread.
    Connection(Box<Http1>),
}

/// A connection that is there or being made. Dropping it lets the next one be made.
pub(super) struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A request that waits.
pub(super) struct Pending(Arc<Limit>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Release);
    }
}

/// Too many wait already, or it took too long.
pub(super) fn full() -> HttpError {
    let rejection = Rejection::new(Kind::PoolFull);
    rejection.count();
    rejection.into()
}

impl Limit {
    /// The limit of an endpoint: one, whoever asks. What `options` say holds from now on.
    pub(super) fn of(endpoint: EndpointId, options: &UpstreamOptions) -> Arc<Self> {
        let mut limits = lock(&LIMITS);
        let limit = limits.get(&endpoint).and_then(Weak::upgrade).unwrap_or_else(|| {
            if limits.len() == limits.capacity() {
                limits.retain(|_, limit| limit.strong_count() > 0);
            }
            let limit = Arc::new(Self {
                endpoint,
                max_connections: AtomicU32::new(0),
                max_pending: AtomicU32::new(0),
                pending: AtomicU32::new(0),
                state: Mutex::default(),
                queued: AtomicUsize::new(0),
            });
            limits.insert(endpoint, Arc::downgrade(&limit));
            limit
        });
        drop(limits);
        limit.max_pending.store(options.max_pending, Relaxed);
        if limit.max_connections.swap(options.max_connections, Relaxed) < options.max_connections {
            limit.settle();
        }
        limit
    }

    pub(super) fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Whether somebody waits for a connection that may not be made yet: one that is free is not to be kept. One load.
    pub(super) fn is_wanted(&self) -> bool {
        self.queued() > 0
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Acquire)
    }

    /// Whether a request waits for a connection, or for a stream on one.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.load(Acquire) > 0
    }

    /// A place among those who wait, while there are any left.
    pub(super) fn pend(self: &Arc<Self>) -> Option<Pending> {
        let most = self.max_pending.load(Relaxed);
        let taken = self.pending.fetch_update(AcqRel, Acquire, |pending| (pending < most).then_some(pending + 1));
        taken.ok().map(|_| Pending(self.clone()))
    }

    /// A thread has a pool now.
    pub(super) fn enter(&self, worker: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        lock(&self.state).workers.push(Arc::new(Worker { id: worker, runtime, called: AtomicBool::new(false) }));
    }

    /// It has none any more.
    pub(super) fn leave(&self, worker: u64) {
        lock(&self.state).workers.retain(|present| present.id != worker);
    }

    /// The right to make a connection, if there is one and nobody waits for it.
    fn permit(self: &Arc<Self>) -> Option<Permit> {
        let mut state = lock(&self.state);
        let free = state.open < self.max_connections.load(Relaxed) && state.queue.is_empty();
        free.then(|| {
            state.open += 1;
            Permit(self.clone())
        })
    }

    /// Waits for the right to make a connection, or for a connection of this `worker`. First come, first served.
    ///
    /// # Errors
    /// Too many wait already, where `pends`; or it takes longer than `timeout`.
    pub(super) async fn admit(
        self: &Arc<Self>,
        worker: u64,
        pends: bool,
        timeout: Duration,
    ) -> Result<Grant, HttpError> {
        if let Some(permit) = self.permit() {
            return Ok(Grant::Permit(permit));
        }
        let _pending = if pends { Some(self.pend().ok_or_else(full)?) } else { None };
        let mut queued = self.queue(worker);
        let granted = async {
            let granted = (&mut queued.granted).await;
            granted.map_err(|_| crate::UpstreamError::new(UpstreamErrorKind::Connect, "the endpoint is gone"))
        };
        match within(timeout, granted).await {
            Ok(granted) => Ok(granted),
            Err(error) if error.kind() == UpstreamErrorKind::ConnectTimeout => Err(full()),
            Err(error) => Err(error.into()),
        }
    }

    fn queue(self: &Arc<Self>, worker: u64) -> Queued {
        let (tell, granted) = oneshot::channel();
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.queue.push_back(Waiter { number, worker, tell });
        self.note(&state);
        let workers = state.workers.clone();
        drop(state);
        // one may have become free in between
        self.settle();
        for worker in workers.iter().filter(|worker| !worker.called.swap(true, AcqRel)) {
            let (limit, called) = (self.clone(), worker.clone());
            worker.runtime.spawn(async move {
                called.called.store(false, Release);
                pool::evict(&limit);
            });
        }
        Queued { limit: self.clone(), number, granted }
    }

    /// Keeps what others look at in step with the queue.
    fn note(&self, state: &State) {
        self.queued.store(state.queue.len(), Release);
    }

    /// Gives what is free to those who wait.
    fn settle(self: &Arc<Self>) {
        loop {
            let mut state = lock(&self.state);
            if state.open >= self.max_connections.load(Relaxed) {
                return;
            }
            let Some(waiter) = state.queue.pop_front() else { return };
            self.note(&state);
            state.open += 1;
            drop(state);
            // who has left in between drops what it is given
            let _ = waiter.tell.send(Grant::Permit(Permit(self.clone())));
        }
    }

    /// A connection is gone: the first who waits may make one.
    fn release(self: &Arc<Self>) {
        lock(&self.state).open -= 1;
        self.settle();
    }

    /// A free connection of `worker`, for the first who waits, if that is one of its own; else it is to be closed.
    pub(super) fn hand_over(&self, worker: u64, connection: Box<Http1>) -> Option<Box<Http1>> {
        let mut state = lock(&self.state);
        if state.queue.front().is_none_or(|waiter| waiter.worker != worker) {
            return Some(connection);
        }
        let Some(waiter) = state.queue.pop_front() else { return Some(connection) };
        self.note(&state);
        drop(state);
        match waiter.tell.send(Grant::Connection(connection)) {
            Err(Grant::Connection(connection)) => Some(connection),
            _ => None,
        }
    }
}

/// A place in the queue, until it is dropped.
struct Queued {
    limit: Arc<Limit>,
    number: u64,
    granted: oneshot::Receiver<Grant>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = lock(&self.limit.state);
        let place = state.queue.binary_search_by_key(&self.number, |waiter| waiter.number);
        let left = place.ok().and_then(|place| state.queue.remove(place));
        self.limit.note(&state);
        drop(state);
        mem::drop(left);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
