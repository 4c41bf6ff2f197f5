//! Breakers at endpoints under a balancer, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, State};
use mesh_core::{BoxError, Endpoint, Endpoints, HealthFlag, Kind, Refusal, Target};
use mesh_lb::{BalanceLayer, Policy};
use std::{
    collections::HashMap,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

fn target(port: u16) -> Target {
    Target::new(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn layer(endpoint: &Arc<Endpoint>) -> CircuitBreakerLayer<mesh_core::ResultsOnly> {
    CircuitBreakerLayer::consecutive_failures(NonZeroU32::MIN.saturating_add(4))
        .endpoint(endpoint.clone())
        .results_only()
}

/// Ten servers, the first of which is out of order as long as it is said; a breaker at each.
struct Servers {
    balancer: BalanceLayer<mesh_core::ResultsOnly>,
    breakers: Arc<Mutex<HashMap<u64, Arc<CircuitBreaker>>>>,
    ill: Arc<AtomicBool>,
    /// Calls that reached the first server.
    reached: Arc<AtomicU64>,
}

impl Servers {
    fn new(policy: Policy) -> Self {
        Self {
            balancer: BalanceLayer::new(Endpoints::fixed((9000..9010).map(target)), policy).results_only(),
            breakers: Arc::default(),
            ill: Arc::new(AtomicBool::new(true)),
            reached: Arc::default(),
        }
    }

    fn service(&self) -> impl Service<u64, Response = u64, Error = BoxError> + Clone + use<> {
        let (breakers, ill, reached) = (self.breakers.clone(), self.ill.clone(), self.reached.clone());
        self.balancer.layer(move |endpoint: &Arc<Endpoint>| {
            let layer = layer(endpoint);
            breakers.lock().unwrap().insert(endpoint.id().get(), layer.handle());
            let (is_first, ill, reached) = (endpoint.address() == &target(9000).address, ill.clone(), reached.clone());
            layer.layer(service_fn(move |n: u64| {
                reached.fetch_add(u64::from(is_first), Relaxed);
                let fails = is_first && ill.load(Relaxed);
                async move {
                    if !fails {
                        sleep(Duration::from_millis(5)).await;
                    }
                    if fails { Err(BoxError::from("connection refused")) } else { Ok(n) }
                }
            }))
        })
    }

    fn first(&self) -> Arc<Endpoint> {
        let set = self.balancer.endpoints().load();
        set.endpoints().iter().find(|endpoint| endpoint.address() == &target(9000).address).unwrap().clone()
    }

    fn breaker(&self) -> Arc<CircuitBreaker> {
        self.breakers.lock().unwrap()[&self.first().id().get()].clone()
    }
}

/// A thousand calls a second, for so many seconds; how many failed.
async fn load<S>(service: &S, seconds: u64) -> u64
where
    S: Service<u64, Response = u64, Error = BoxError> + Clone + 'static,
{
    let tasks = tokio::task::LocalSet::new();
    let failed = std::rc::Rc::new(std::cell::Cell::new(0));
    tasks
        .run_until(async {
            for n in 0..seconds * 1000 {
                let (mut service, failed) = (service.clone(), failed.clone());
                tokio::task::spawn_local(async move {
                    if service.ready().await.unwrap().call(n).await.is_err() {
                        failed.set(failed.get() + 1);
                    }
                });
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    tasks.await;
    failed.get()
}

#[tokio::test(start_paused = true)]
async fn a_refusing_endpoint_of_ten_is_left_alone_and_comes_back() {
    for policy in [Policy::Random, Policy::RoundRobin] {
        let servers = Servers::new(policy);
        let service = servers.service();
        load(&service, 1).await;
        let before = servers.reached.load(Relaxed);
        assert!(before >= 5 && servers.breaker().state() == State::Open);

        let failed = load(&service, 60).await;
        let share = (servers.reached.load(Relaxed) - before) as f64 / 60_000.0;
        println!("{policy:?}: {:.3} % of the traffic after the first second", share * 100.0);
        assert!(share <= 0.005, "{share}");
        assert!(failed <= 300, "{failed}");

        // well again: a probe finds out when its time has come, and then it has its share
        servers.ill.store(false, Relaxed);
        let mut tried = 0;
        while servers.breaker().state() != State::Closed {
            load(&service, 1).await;
            tried += 1;
            assert!(tried < 360, "the longest that it can be open");
        }
        let before = servers.reached.load(Relaxed);
        assert_eq!(load(&service, 10).await, 0);
        let share = (servers.reached.load(Relaxed) - before) as f64 / 10_000.0;
        assert!((0.08..0.12).contains(&share), "{share}");
        assert!(servers.first().health().is_eligible());
    }
}

/// Five servers, of which so many are out of order: how often each was reached, and how many calls were refused.
async fn with_out_of_order(ill: u16) -> (Vec<u64>, u64) {
    let balancer = BalanceLayer::new(Endpoints::fixed((9000..9005).map(target)), Policy::Random).results_only();
    let reached: Arc<[AtomicU64; 5]> = Arc::default();
    let counted = reached.clone();
    let mut service = balancer.layer(move |endpoint: &Arc<Endpoint>| {
        let number = (9000..9005).position(|port| endpoint.address() == &target(port).address).unwrap();
        let counted = counted.clone();
        layer(endpoint).layer(service_fn(move |_: u64| {
            counted[number].fetch_add(1, Relaxed);
            let fails = number < usize::from(ill);
            async move { if fails { Err(BoxError::from("connection refused")) } else { Ok(()) } }
        }))
    });
    let mut refused = 0;
    for n in 0..10_000 {
        if let Err(error) = service.ready().await.unwrap().call(n).await {
            refused += u64::from(error.rejection().is_some());
        }
        advance(Duration::from_millis(1)).await;
    }
    (reached.iter().map(|count| count.load(Relaxed)).collect(), refused)
}

#[tokio::test(start_paused = true)]
async fn breakers_cannot_take_out_all_endpoints() {
    // three of five are enough for all
    let (reached, refused) = with_out_of_order(2).await;
    assert!(reached[..2].iter().all(|reached| *reached < 20) && refused == 0, "{reached:?}, {refused}");
    // two are not: they get no more than their share, and what is sent to the others is let through
    for ill in [3, 5] {
        let (reached, refused) = with_out_of_order(ill).await;
        println!("{ill} of 5: {reached:?}, {refused} refused");
        assert!(reached.iter().all(|reached| (1_500..3_000).contains(reached)), "{reached:?}");
        assert!(refused < 20, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_open_stays_so() {
    let endpoint = Endpoint::new(target(9000));
    let layer = layer(&endpoint);
    let mut service = layer.layer(service_fn(async |_: ()| Ok::<_, BoxError>(())));
    endpoint.health().spare_until(mesh_core::time::now().plus(Duration::from_secs(1)));
    layer.handle().force_open();
    assert!(service.ready().await.unwrap().call(()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_out_while_it_is_open_and_while_its_probe_is_under_way() {
    let endpoint = Endpoint::new(target(9000));
    let layer = layer(&endpoint);
    let mut service = layer.layer(service_fn(async |answer: Option<bool>| match answer {
        Some(true) => Ok(()),
        Some(false) => Err(BoxError::from("connection refused")),
        None => std::future::pending().await,
    }));
    let health = || endpoint.health().reasons().collect::<Vec<_>>();
    assert!(endpoint.health().is_eligible());
    for _ in 0..5 {
        service.ready().await.unwrap().call(Some(false)).await.unwrap_err();
    }
    assert_eq!(health(), [HealthFlag::CircuitOpen]);
    let error = service.ready().await.unwrap().call(Some(true)).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert!(rejection.kind() == Kind::CircuitOpen && rejection.may_go_elsewhere());

    advance(rejection.retry_after_hint().unwrap()).await;
    assert!(endpoint.health().is_eligible(), "its time has come, without a timer");
    let probe = service.ready().await.unwrap().call(None);
    assert_eq!(health(), [HealthFlag::CircuitOpen], "one probe is enough");
    drop(probe);
    assert!(endpoint.health().is_eligible(), "its place is free again");
    let probe = service.ready().await.unwrap().call(None);
    advance(Duration::from_millis(5_001)).await;
    assert!(endpoint.health().is_eligible(), "it was given up");
    service.ready().await.unwrap().call(Some(true)).await.unwrap();
    assert_eq!(layer.handle().state(), State::Closed);
    drop(probe);

    layer.handle().force_open();
    advance(Duration::from_secs(86_400)).await;
    assert_eq!(health(), [HealthFlag::CircuitOpen]);
    drop((layer, service));
    assert!(endpoint.health().is_eligible(), "a breaker that is gone refuses nobody");
}
