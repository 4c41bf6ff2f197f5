//! A world of servers in virtual time around a real balancer: the clock is the world's, the futures are polled when
//! their servers have answered.

use mesh_core::{BoxError, Clock, Endpoint, Endpoints, Nanos, ResultsOnly, Target, time};
use mesh_lb::{Balance, BalanceLayer, Policy};
use std::{
    cell::Cell,
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service};

/// A moment of the world, in nanoseconds from its beginning.
pub(crate) type Moment = u64;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Far from zero, as real clocks are.
const BEGIN: u64 = 3_600 * SECOND;

struct WorldClock(Rc<Cell<u64>>);

impl Clock for WorldClock {
    fn now(&self) -> Nanos {
        Nanos::from_nanos(BEGIN + self.0.get())
    }
}

/// Which server was reached, and how that goes: when it has answered, and whether well.
pub(crate) type Serve = Box<dyn FnMut(usize, Moment) -> (Moment, bool)>;

/// The server of one endpoint: a call says which it is, the world when it is over.
#[derive(Clone)]
struct Server {
    number: usize,
    reached: Arc<AtomicU64>,
}

/// A call at a server. The world polls it when it is over, and not before.
struct Served {
    well: Arc<AtomicU64>,
    polled: bool,
}

impl Future for Served {
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.polled, true) {
            return Poll::Pending;
        }
        Poll::Ready(if self.well.load(Relaxed) == 1 { Ok(()) } else { Err("refused".into()) })
    }
}

impl Service<Arc<AtomicU64>> for Server {
    type Response = ();
    type Error = BoxError;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, well: Arc<AtomicU64>) -> Served {
        self.reached.store(self.number as u64, Relaxed);
        Served { well, polled: false }
    }
}

type Call = Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;

pub(crate) struct World {
    clock: Rc<Cell<u64>>,
    balance: Balance<Server, ResultsOnly>,
    reached: Arc<AtomicU64>,
    under_way: BinaryHeap<Reverse<(Moment, usize)>>,
    calls: Vec<Option<(Call, Arc<AtomicU64>, bool)>>,
    free: Vec<usize>,
    serve: Serve,
}

impl World {
    /// So many servers, each known by its number; `serve` says how each call goes.
    pub(crate) fn new(policy: Policy, weights: &[u32], seed: u64, serve: Serve) -> Self {
        fastrand::seed(seed);
        let clock: Rc<Cell<u64>> = Rc::default();
        time::set_clock(Some(Rc::new(WorldClock(clock.clone()))));
        let reached: Arc<AtomicU64> = Arc::default();
        let targets = (0_u16..)
            .zip(weights)
            .map(|(number, weight)| Target::new(SocketAddr::from(([127, 0, 0, 1], number))).with_weight(*weight));
        let balance = BalanceLayer::new(Endpoints::fixed(targets), policy).results_only().layer({
            let reached = reached.clone();
            move |endpoint: &Arc<Endpoint>| match endpoint.address() {
                mesh_core::Address::Tcp(address) => Server { number: address.port().into(), reached: reached.clone() },
                mesh_core::Address::Unix(_) => panic!("all are TCP"),
            }
        });
        Self { clock, balance, reached, under_way: BinaryHeap::new(), calls: Vec::new(), free: Vec::new(), serve }
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        self.balance.endpoints()
    }

    /// Lets time go on until `moment`; what is over by then is told.
    pub(crate) fn until(&mut self, moment: Moment) {
        while let Some(Reverse((over, number))) = self.under_way.peek().copied()
            && over <= moment
        {
            self.under_way.pop();
            self.clock.set(over);
            let Some((mut call, well, succeeds)) = self.calls[number].take() else { continue };
            well.store(succeeds.into(), Relaxed);
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            self.free.push(number);
        }
        self.clock.set(moment);
    }

    /// A call now; which server it reached, and when it will be over.
    pub(crate) fn call(&mut self) -> (usize, Moment) {
        let well: Arc<AtomicU64> = Arc::default();
        let mut call: Call = Box::pin(self.balance.call(well.clone()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let server = self.reached.load(Relaxed) as usize;
        let (over, succeeds) = (self.serve)(server, self.clock.get());
        let number = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[number] = Some((call, well, succeeds));
        self.under_way.push(Reverse((over, number)));
        (server, over)
    }
}

/// An exponentially distributed time of this mean, in nanoseconds.
pub(crate) fn exponential(random: &mut fastrand::Rng, mean: f64) -> u64 {
    (-(1.0 - random.f64()).ln() * mean) as u64
}
