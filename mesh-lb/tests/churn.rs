//! Picks while the set changes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod feed;

use feed::Feed;
use mesh_core::{BoxError, Endpoint, Endpoints, Target};
use mesh_lb::{BalanceLayer, Policy};
use std::{
    collections::HashSet,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
use tower::{Layer, Service};

const CHANGES: u64 = 1_000;

/// Answers with the port it stands for.
#[derive(Clone)]
struct Port(u16);

impl Service<()> for Port {
    type Response = u16;
    type Error = BoxError;
    type Future = Ready<Result<u16, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0))
    }
}

fn port(endpoint: &Endpoint) -> u16 {
    match endpoint.address() {
        mesh_core::Address::Tcp(address) => address.port(),
        mesh_core::Address::Unix(_) => panic!("no such here"),
    }
}

/// A thousand changes, while two threads pick as fast as they can: what is picked was in the set before the pick, in
/// the one after it, or in one between the two; the service called is that endpoint's; all counts come back to zero.
#[test]
fn no_pick_of_what_is_in_no_set() {
    for policy in [Policy::Random, Policy::RoundRobin] {
        let feed = Feed::default();
        let (endpoints, driver) = Endpoints::new(feed.clone());
        // by version: the ports in the set
        let sets: Arc<Mutex<Vec<HashSet<u16>>>> = Arc::new(Mutex::new(Vec::new()));
        // `announced` grows before a set shows, `shown` after it does
        let (announced, shown) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
        let _subscription = endpoints.subscribe({
            let (sets, announced) = (sets.clone(), announced.clone());
            move |set| {
                sets.lock().unwrap().push(set.endpoints().iter().map(|endpoint| port(endpoint)).collect());
                announced.store(set.version(), SeqCst);
            }
        });
        let layer = BalanceLayer::new(endpoints.clone(), policy).results_only();
        let done = AtomicBool::new(false);
        let everybody: Mutex<Vec<Arc<Endpoint>>> = Mutex::default();

        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut service = layer.layer(|endpoint: &Arc<Endpoint>| Port(port(endpoint)));
                    let mut cx = Context::from_waker(Waker::noop());
                    let mut picked = Vec::new();
                    while !done.load(SeqCst) {
                        let before = shown.load(SeqCst);
                        if before == 0 {
                            thread::yield_now();
                            continue;
                        }
                        let Poll::Ready(Ok(port)) = pin!(service.call(())).poll(&mut cx) else { panic!("at once") };
                        picked.push((before, announced.load(SeqCst), port));
                        if picked.len() == 1_000 {
                            check(&sets, &mut picked);
                            // the changes get a turn where there are fewer cores than threads
                            thread::yield_now();
                        }
                    }
                    check(&sets, &mut picked);
                });
            }
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let mut driver = pin!(driver);
                let mut random = fastrand::Rng::with_seed(11);
                for change in 1..=CHANGES {
                    let ports: HashSet<u16> = (0..random.u16(1..30)).map(|_| random.u16(1..60)).collect();
                    feed.set(ports.iter().map(|port| {
                        Target::new(SocketAddr::from(([127, 0, 0, 1], *port))).with_weight(random.u32(1..4))
                    }));
                    while endpoints.load().version() < change {
                        let _ = poll_once(driver.as_mut());
                        tokio::time::advance(Duration::from_millis(10)).await;
                    }
                    everybody.lock().unwrap().extend(endpoints.load().endpoints().iter().cloned());
                    shown.store(change, SeqCst);
                    // the pickers get a turn on a machine of one core, too
                    thread::yield_now();
                }
            });
            done.store(true, SeqCst);
        });
        assert!(everybody.lock().unwrap().iter().all(|endpoint| endpoint.in_flight() == 0));
        assert!(everybody.lock().unwrap().iter().any(|endpoint| endpoint.picks() > 0));
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn check(sets: &Mutex<Vec<HashSet<u16>>>, picked: &mut Vec<(u64, u64, u16)>) {
    let sets = sets.lock().unwrap();
    for (before, after, port) in picked.drain(..) {
        let mut between = before..=after;
        assert!(
            between.any(|version| sets[version as usize].contains(&port)),
            "{port} in no set of {before}..={after}"
        );
    }
}
