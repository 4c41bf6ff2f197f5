use super::{
    Shared,
    http1::Http1,
    http2::{self, Http2, Stream},
};
use crate::UpstreamErrorKind;
use mesh_core::{EndpointId, Nanos, time};
use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::oneshot;

thread_local!(static WORKER: RefCell<Worker> = RefCell::new(Worker::new()));

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
    shared: Arc<Shared>,
    http1: Vec<Box<Http1>>,
    http2: Vec<Http2>,
    /// Those who wait for the HTTP/2 connection that is being made.
    waiting: Option<Vec<oneshot::Sender<Opened>>>,
    /// All connections of this pool, also those that are in use.
    open: Arc<AtomicU32>,
    reported: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    active: u32,
    idle: u32,
}

/// How the making of a connection went.
pub(super) type Opened = Result<(), (UpstreamErrorKind, String)>;

/// Where a connection belongs: counts it as long as it is there.
pub(super) struct Home {
    worker: u64,
    shared: Arc<Shared>,
    open: Arc<AtomicU32>,
}

impl Home {
    /// A connection of this thread is there.
    pub(super) fn enter(shared: &Arc<Shared>) -> Self {
        let entered = WORKER.try_with(|worker| {
            let worker = &mut *worker.borrow_mut();
            let open = worker.pool(shared).open.clone();
            (worker.id, open)
        });
        let (worker, open) = entered.unwrap_or_default();
        open.fetch_add(1, Relaxed);
        Self { worker, shared: shared.clone(), open }
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
    Wait { opened: oneshot::Receiver<Opened>, empty: bool },
}

impl Worker {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Relaxed), pools: HashMap::default(), swept: false, last_sweep: None }
    }

    fn pool(&mut self, shared: &Arc<Shared>) -> &mut Pool {
        let pool = self.pools.entry(shared.endpoint).or_insert_with(|| Pool {
            shared: shared.clone(),
            http1: Vec::new(),
            http2: Vec::new(),
            waiting: None,
            open: Arc::default(),
            reported: Counts::default(),
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

    fn sweep(&mut self, now: Nanos, dropped: &mut Dropped) {
        let idle = self.shared.options.idle;
        dropped.http1.extend(self.http1.extract_if(.., |connection| {
            !connection.is_reusable() || now.since(*connection.idle_since.get_or_insert(now)) >= idle
        }));
        dropped.http2.extend(self.http2.extract_if(.., |connection| {
            connection.is_over() || connection.idle_since(now).is_some_and(|since| now.since(since) >= idle)
        }));
        self.report();
    }

    /// Whether there is a connection, one in the making, or something to report.
    fn is_used(&self) -> bool {
        self.open.load(Relaxed) > 0 || self.waiting.is_some() || self.reported.active + self.reported.idle > 0
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
    connection.leave();
    connection.idle_since = None;
    let mut connection = Some(connection);
    let _ = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        // another thread's connection, whose body was read here, belongs to that thread's runtime: it is closed
        if let Some(parked) = connection.take_if(|connection| connection.home.worker == worker.id) {
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
        let (sender, opened) = oneshot::channel();
        let waiting = pool.waiting.get_or_insert_with(|| {
            tokio::spawn(http2::open(shared.clone()));
            Vec::new()
        });
        waiting.push(sender);
        Acquired::Wait { opened, empty: pool.http2.is_empty() }
    });
    acquired.unwrap_or_else(|_| {
        // the thread is ending: the receiver hears so
        let (_, opened) = oneshot::channel();
        Acquired::Wait { opened, empty: true }
    })
}

/// Those who wait for a connection, and the connection.
pub(super) fn opened(shared: &Arc<Shared>, connection: Option<Http2>) -> Vec<oneshot::Sender<Opened>> {
    let waiting = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        let pool = worker.pool(shared);
        pool.http2.extend(connection);
        pool.report();
        pool.waiting.take()
    });
    waiting.ok().flatten().unwrap_or_default()
}

/// Closes connections of this thread that have been idle for too long or were closed by the upstream, and brings
/// `mesh_upstream_connections` up to date. To be called once a second by each worker, with the present moment; while
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

/// Closes this thread's idle connections to endpoints that are not kept. What is in flight goes on to its end.
pub fn retain(keep: impl Fn(EndpointId) -> bool) {
    let mut dropped = Dropped::default();
    let _ = WORKER.try_with(|worker| {
        let worker = &mut *worker.borrow_mut();
        for (_, pool) in worker.pools.iter_mut().filter(|(endpoint, _)| !keep(**endpoint)) {
            dropped.http1.append(&mut pool.http1);
            dropped.http2.append(&mut pool.http2);
        }
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
