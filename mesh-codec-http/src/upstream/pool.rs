use super::{
    Shared,
    http1::Http1,
    http2::{self, Http2, Stream},
    limit::{Limit, Pending, Permit},
};
use crate::UpstreamErrorKind;
use mesh_core::{EndpointId, Nanos, time};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::oneshot;

thread_local!(static WORKER: RefCell<Worker> = RefCell::new(Worker::new()));

/// Who comes so long after a connection over HTTP/2 was begun begins another.
const STALLED: Duration = Duration::from_secs(1);
/// How far apart two sweeps are where nobody calls [`sweep`].
const SWEEP: Duration = Duration::from_secs(1);

/// The pools of a thread. Nothing is dropped while it is borrowed: what is dropped may come back to it.
struct Worker {
    id: u64,
    pools: HashMap<EndpointId, Pool, foldhash::fast::FixedState>,
    /// Somebody calls [`sweep`]; else the pools see to it themselves when they are used.
    swept: bool,
    last_sweep: Option<Nanos>,
}

/// The connections of this thread to one endpoint.
#[expect(clippy::vec_box, reason = "a connection stays in its box, which moves between here, futures and bodies")]
struct Pool {
    worker: u64,
    shared: Arc<Shared>,
    http1: Vec<Box<Http1>>,
    http2: Vec<Http2>,
    /// The HTTP/2 connections that are being made, the newest last.
    attempts: Vec<Attempt>,
    /// All connections of this pool, also those that are in use.
    open: Arc<AtomicU32>,
    reported: Counts,
}

/// A connection that is being made, and those who wait for it.
struct Attempt {
    number: u64,
    began: Nanos,
    waiting: VecDeque<oneshot::Sender<Opened>>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    active: u32,
    idle: u32,
}

/// How the making of a connection went.
pub(super) type Opened = Result<(), NotOpened>;

/// Why there is none.
#[derive(Clone)]
pub(super) enum NotOpened {
    Failed(UpstreamErrorKind, String),
    /// No more may be made.
    Full,
}

/// Where a connection belongs: counts it as long as it is there.
pub(super) struct Home {
    worker: u64,
    shared: Arc<Shared>,
    open: Arc<AtomicU32>,
    _permit: Permit,
}

impl Home {
    /// A connection of this thread is there.
    pub(super) fn enter(shared: &Arc<Shared>, permit: Permit) -> Self {
        let entered = WORKER.try_with(|worker| {
            let worker = &mut *worker.borrow_mut();
            let open = worker.pool(shared).open.clone();
            (worker.id, open)
        });
        let (worker, open) = entered.unwrap_or_default();
        open.fetch_add(1, Relaxed);
        Self { worker, shared: shared.clone(), open, _permit: permit }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// What a request over HTTP/2 is to do.
pub(super) enum Acquired {
    /// Send it here.
    Stream(Stream),
    /// Wait for the connection that is being made. `empty`: there is no other.
    Wait { opened: oneshot::Receiver<Opened>, empty: bool, _pending: Pending },
    /// As many wait as may.
    Full,
    /// The thread is ending.
    Ending,
}

impl Worker {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Relaxed), pools: HashMap::default(), swept: false, last_sweep: None }
    }

    fn pool(&mut self, shared: &Arc<Shared>) -> &mut Pool {
        let worker = self.id;
        let pool = self.pools.entry(shared.endpoint).or_insert_with(|| {
            shared.limit.enter(worker);
            Pool {
                worker,
                shared: shared.clone(),
                http1: Vec::new(),
                http2: Vec::new(),
                attempts: Vec::new(),
                open: Arc::default(),
                reported: Counts::default(),
            }
        });
        pool.follow(shared);
        pool
    }

    /// Gives back what is to be dropped.
    fn sweep(&mut self, now: Nanos) -> Dropped {
        self.last_sweep = Some(now);
        let mut dropped = Dropped::default();
        for pool in self.pools.values_mut() {
            pool.sweep(now, &mut dropped);
        }
        self.pools.retain(|_, pool| pool.is_used());
        dropped
    }

    fn sweep_if_nobody_does(&mut self) -> Dropped {
        if self.swept {
            return Dropped::default();
        }
        let now = time::now();
        match self.last_sweep {
            Some(last) if now.since(last) < SWEEP => Dropped::default(),
            _ => self.sweep(now),
        }
    }
}

/// Connections that are dropped when nothing is borrowed any more.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "as in a pool")]
struct Dropped {
    http1: Vec<Box<Http1>>,
    http2: Vec<Http2>,
}

impl Pool {
    /// The options that were used last hold: a reload may have changed them, and the connections go on.
    fn follow(&mut self, shared: &Arc<Shared>) {
        if !Arc::ptr_eq(&self.shared, shared) {
            self.retract();
            self.shared = shared.clone();
            self.report();
        }
    }

    /// Those who wait for the newest attempt to make a connection. One that has not got anywhere for a while gets no
    /// more; the next who comes begins another.
    fn attempt(&mut self) -> &mut VecDeque<oneshot::Sender<Opened>> {
        let now = time::now();
        if self.attempts.last().is_none_or(|last| now.since(last.began) >= STALLED) {
            let number = self.attempts.last().map_or(0, |last| last.number + 1);
            tokio::spawn(http2::open(self.shared.clone(), number));
            self.attempts.push(Attempt { number, began: now, waiting: VecDeque::new() });
        }
        let newest = self.attempts.len() - 1;
        &mut self.attempts[newest].waiting
    }

    fn sweep(&mut self, now: Nanos, dropped: &mut Dropped) {
        let idle = self.shared.options.idle;
        let left = self.shared.presence.has_left();
        dropped.http1.extend(self.http1.extract_if(.., |connection| {
            let too_old = now >= connection.expires;
            left || too_old || !connection.is_reusable() || now.since(*connection.idle_since.get_or_insert(now)) >= idle
        }));
        dropped.http2.extend(self.http2.extract_if(.., |connection| {
            connection.probe(now);
            left || connection.is_over()
                || now >= connection.expires
                || connection.idle_since(now).is_some_and(|since| now.since(since) >= idle)
        }));
        self.report();
    }

    /// Whether there is a connection, one in the making, or something to report.
    fn is_used(&self) -> bool {
        self.open.load(Relaxed) > 0 || !self.attempts.is_empty() || self.reported.active + self.reported.idle > 0
    }

    /// Takes back what was reported.
    fn retract(&mut self) {
        let Counts { active, idle } = mem::take(&mut self.reported);
        self.shared.active.decrement(f64::from(active));
        self.shared.idle.decrement(f64::from(idle));
    }

    /// Brings the gauges up to date. They are shared by all workers, so what has changed is added.
    fn report(&mut self) {
        let idle = (self.http1.len() + self.http2.iter().filter(|connection| connection.is_idle()).count()) as u32;
        let counts = Counts { active: self.open.load(Relaxed).saturating_sub(idle), idle };
        let before = mem::replace(&mut self.reported, counts);
        self.shared.active.increment(f64::from(counts.active) - f64::from(before.active));
        self.shared.idle.increment(f64::from(counts.idle) - f64::from(before.idle));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.retract();
        self.shared.limit.leave(self.worker);
    }
}

/// An idle connection: the one that was used last, since the others may then grow old.
pub(super) fn checkout(shared: &Arc<Shared>) -> Option<Box<Http1>> {
    let mut dropped = Dropped::default();
    let found = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        if !worker.swept {
            dropped = worker.sweep_if_nobody_does();
        }
        let pool = worker.pools.get_mut(&shared.endpoint)?;
        pool.follow(shared);
        while let Some(mut connection) = pool.http1.pop() {
            if connection.is_reusable() {
                return Some(connection);
            }
            dropped.http1.push(connection);
        }
        None
    });
    found.ok().flatten()
}

/// Puts a connection aside that is ready for another request.
pub(super) fn park(mut connection: Box<Http1>) {
    connection.watch();
    connection.idle_since = None;
    let mut connection = Some(connection);
    if let Some(wanted) = connection.take_if(|connection| connection.home.shared.limit.is_wanted()) {
        // closed, unless it is of use to who comes first
        give_away(wanted);
        return;
    }
    let _ = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        // another thread's connection, whose body was read here, belongs to that thread's runtime: it is closed
        let swept = worker.last_sweep.unwrap_or_default();
        let is_kept = |connection: &mut Box<Http1>| connection.home.worker == worker.id && swept < connection.expires;
        if let Some(parked) = connection.take_if(is_kept) {
            match worker.pools.get_mut(&parked.home.shared.endpoint) {
                Some(pool) => pool.http1.push(parked),
                None => {
                    let shared = parked.home.shared.clone();
                    worker.pool(&shared).http1.push(parked);
                }
            }
        }
    });
}

#[cold]
fn give_away(connection: Box<Http1>) {
    let home = &connection.home;
    if home.worker == worker() {
        let limit = home.shared.limit.clone();
        drop(limit.hand_over(home.worker, connection));
    }
}

/// This thread, among those that have pools.
pub(super) fn worker() -> u64 {
    WORKER.try_with(|worker| worker.borrow().id).unwrap_or_default()
}

/// Closes idle connections of this thread, as many as are waited for elsewhere.
pub(super) fn evict(limit: &Limit) {
    let mut dropped = Dropped::default();
    let _ = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        let Some(pool) = worker.pools.get_mut(&limit.endpoint()) else { return };
        let wanted = limit.queued();
        let idle = pool.http1.len().min(wanted);
        dropped.http1.extend(pool.http1.drain(..idle));
        let of_http2 = pool.http2.extract_if(.., |connection| connection.is_idle());
        dropped.http2.extend(of_http2.take(wanted - idle));
    });
}

/// A stream has ended: one who waits for a connection may have it.
#[cold]
pub(super) fn stream_freed(limit: &Limit) {
    let waiting = WORKER.try_with(|worker| {
        let worker = &mut *worker.try_borrow_mut().ok()?;
        let pool = worker.pools.get_mut(&limit.endpoint())?;
        pool.attempts.iter_mut().find_map(|attempt| {
            while let Some(waiting) = attempt.waiting.pop_front() {
                if !waiting.is_closed() {
                    return Some(waiting);
                }
            }
            None
        })
    });
    if let Some(waiting) = waiting.ok().flatten() {
        let _ = waiting.send(Ok(()));
    }
}

/// A stream on an HTTP/2 connection, or a place among those who wait for one. The first of them makes it begin.
pub(super) fn acquire(shared: &Arc<Shared>) -> Acquired {
    let mut dropped = Dropped::default();
    let acquired = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        dropped = worker.sweep_if_nobody_does();
        let pool = worker.pool(shared);
        dropped.http2.extend(pool.http2.extract_if(.., |connection| connection.is_over()));
        if let Some(stream) = pool.http2.iter_mut().find_map(Http2::stream) {
            return Acquired::Stream(stream);
        }
        let Some(pending) = shared.limit.pend() else { return Acquired::Full };
        let (sender, opened) = oneshot::channel();
        pool.attempt().push_back(sender);
        Acquired::Wait { opened, empty: pool.http2.is_empty(), _pending: pending }
    });
    acquired.unwrap_or(Acquired::Ending)
}

/// Whether somebody waits for this attempt still.
pub(super) fn is_awaited(shared: &Arc<Shared>, number: u64) -> bool {
    let awaited = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        let mut attempts = worker.pool(shared).attempts.iter();
        attempts.find(|attempt| attempt.number == number)?.waiting.iter().find(|waiting| !waiting.is_closed()).map(drop)
    });
    awaited.ok().flatten().is_some()
}

/// The attempt is over. Gives those back who wait: with a connection all there are, else those of this attempt.
pub(super) fn opened(
    shared: &Arc<Shared>,
    number: u64,
    connection: Option<Http2>,
) -> VecDeque<oneshot::Sender<Opened>> {
    let waiting = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        let pool = worker.pool(shared);
        let all = connection.is_some();
        pool.http2.extend(connection);
        pool.report();
        let mut waiting = VecDeque::new();
        for attempt in pool.attempts.iter_mut().filter(|attempt| all || attempt.number == number) {
            waiting.append(&mut attempt.waiting);
        }
        pool.attempts.retain(|attempt| attempt.number != number);
        waiting
    });
    waiting.unwrap_or_default()
}

/// Closes connections of this thread that have been idle for too long, were closed by the upstream, or lead to an endpoint
/// that has left: what is in flight there goes on to its end. Brings `mesh_upstream_connections` up to date. To be called once a second by each worker, with the present moment; while
/// nobody has called it on a thread, its pools see to it when they are used, which costs a reading of the clock.
///
/// Takes some instructions per idle connection, and a read from those whose socket was heard of.
pub fn sweep(now: Nanos) {
    let _dropped = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        worker.swept = true;
        worker.sweep(now)
    });
}

/// How many connections this thread has to an endpoint, and how many of them are idle.
pub fn connections(endpoint: EndpointId) -> (u32, u32) {
    let counts = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        let pool = worker.pools.get_mut(&endpoint)?;
        pool.report();
        Some((pool.reported.active + pool.reported.idle, pool.reported.idle))
    });
    counts.ok().flatten().unwrap_or_default()
}
