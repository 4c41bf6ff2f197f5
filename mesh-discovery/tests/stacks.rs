//! Discovered services in plain tower stacks, in front of axum routers and under tonic clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt;
use mesh_core::{
    BoxError, Endpoint, Kind, Refusal, Target,
    http::{answered, lift},
};
use mesh_discovery::{DiscoverLayer, Discovery, Say, Static, Updates, updates};
use mesh_lb::{BalanceLayer, Policy};
use mesh_test::grpc;
use std::{
    future::ready,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// A registry that says what it is told; counts who listens.
#[derive(Clone)]
struct Registry {
    targets: watch::Sender<Option<Vec<Target>>>,
    alive: Arc<()>,
}

impl Registry {
    fn new() -> Self {
        Self { targets: watch::Sender::new(None), alive: Arc::new(()) }
    }

    fn set(&self, ports: &[u16]) {
        let targets = ports.iter().map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], *port))));
        self.targets.send_replace(Some(targets.collect()));
    }

    /// How many searches are under way.
    fn listeners(&self) -> usize {
        self.targets.receiver_count()
    }
}

impl Discovery for Registry {
    fn updates(&self) -> Updates {
        let mut targets = self.targets.subscribe();
        updates(async move |say: Say| {
            loop {
                let known = targets.borrow_and_update().clone();
                known.into_iter().for_each(|targets| say.set(targets));
                if targets.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

/// Names the endpoint that was called.
fn balanced(
    layer: &DiscoverLayer,
) -> impl Service<u32, Response = String, Error = BoxError, Future: Send> + Clone + Send + use<> {
    layer.layer(|endpoints| {
        BalanceLayer::new(endpoints, Policy::RoundRobin).first_result(Duration::from_secs(5)).results_only().layer(
            |endpoint: &Arc<Endpoint>| {
                let address = endpoint.address().to_string();
                service_fn(move |_: u32| ready(Ok::<_, BoxError>(address.clone())))
            },
        )
    })
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn plain_tower_follows_the_source() {
    let registry = Registry::new();
    let layer = DiscoverLayer::new(registry.clone());
    let mut service = balanced(&layer);
    let early = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert!(!early.is_finished(), "nothing is known yet");
    registry.set(&[1]);
    assert_eq!(early.await.unwrap().unwrap(), "127.0.0.1:1");
    registry.set(&[2, 3]);
    settle().await;
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(service.ready().await.unwrap().call(0).await.unwrap());
    }
    names.sort();
    assert_eq!(names, ["127.0.0.1:2", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:3"]);
    registry.set(&[]);
    settle().await;
    let error = service.ready().await.unwrap().call(0).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().kind(), Kind::NoEndpoint);
}

#[tokio::test(start_paused = true)]
async fn the_source_runs_once_and_until_the_last_one_is_gone() {
    let registry = Registry::new();
    let layer = DiscoverLayer::new(registry.clone());
    let (one, other) = (balanced(&layer), balanced(&layer));
    let clone = one.clone();
    settle().await;
    assert_eq!(registry.listeners(), 1, "one search for all");
    drop((layer, one, other));
    settle().await;
    assert_eq!(registry.listeners(), 1);
    // a call that waits for the first result is a user, too
    let call = tokio::spawn(clone.oneshot(0));
    settle().await;
    assert_eq!(registry.listeners(), 1);
    registry.set(&[1]);
    assert_eq!(call.await.unwrap().unwrap(), "127.0.0.1:1");
    settle().await;
    assert_eq!(registry.listeners(), 0);
    assert_eq!(Arc::strong_count(&registry.alive), 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_result_that_does_not_come_is_waited_for_so_long() {
    let registry = Registry::new();
    let service = balanced(&DiscoverLayer::new(registry.clone()));
    let start = tokio::time::Instant::now();
    let error = service.oneshot(0).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().kind(), Kind::NoEndpoint);
    assert!(start.elapsed() >= Duration::from_secs(5));
    settle().await;
    assert_eq!(registry.listeners(), 0);
}

#[test]
fn a_fixed_source_needs_no_runtime() {
    let source = Static::new([Target::new(SocketAddr::from(([127, 0, 0, 1], 1)))]).unwrap();
    let layer = DiscoverLayer::new(source);
    assert_eq!(layer.endpoints().load().endpoints().len(), 1);
    let _stack = ServiceBuilder::new().layer(layer).service(|endpoints: mesh_core::Endpoints| Mutex::new(endpoints));
}

#[tokio::test]
async fn axum_routers() {
    let registry = Registry::new();
    let discovered = DiscoverLayer::new(registry.clone()).layer(|endpoints| {
        BalanceLayer::new(endpoints, Policy::RoundRobin).layer(|endpoint: &Arc<Endpoint>| {
            let name = endpoint.address().to_string();
            lift(Router::<()>::new().route("/", get(async move || name)))
        })
    });
    let app = Router::<()>::new().fallback_service(answered(discovered));
    let ask = async || {
        let answer = app.clone().oneshot(http::Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    registry.set(&[1]);
    assert_eq!(ask().await, (200, "127.0.0.1:1".into()));
    registry.set(&[2]);
    until(|| registry.listeners(), async || ask().await.1 == "127.0.0.1:2").await;
    registry.set(&[]);
    until(|| registry.listeners(), async || ask().await.0 == 503).await;
}

/// Tries until it is so; changes come a moment after they were made.
async fn until(alive: impl Fn() -> usize, condition: impl AsyncFn() -> bool) {
    let tried = async {
        while !condition().await {
            assert_eq!(alive(), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tried).await.expect("in time");
}

#[tokio::test]
async fn tonic_clients() {
    let mut ports = Vec::new();
    for name in ["one", "two"] {
        let service = grpc::service(move |_| vec![Ok(name.into())]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        let server = tonic::service::Routes::new(service).into_axum_router();
        tokio::spawn(async move { axum::serve(listener, server).await });
    }
    let registry = Registry::new();
    registry.set(&ports[..1]);
    let client = answered(DiscoverLayer::new(registry.clone()).layer(|endpoints| {
        BalanceLayer::new(endpoints, Policy::RoundRobin).layer(|endpoint: &Arc<Endpoint>| {
            let channel = tonic::transport::Endpoint::try_from(format!("http://{}", endpoint.address())).unwrap();
            lift(channel.connect_lazy())
        })
    }));
    assert_eq!(grpc::unary(client.clone(), vec![]).await.unwrap(), b"one");
    registry.set(&ports[1..]);
    let answered_by_two = async || grpc::unary(client.clone(), vec![]).await.unwrap() == b"two";
    until(|| registry.listeners(), answered_by_two).await;
}
