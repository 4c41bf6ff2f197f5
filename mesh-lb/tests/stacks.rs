//! A balancer in front of axum routers and over tonic channels.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt;
use mesh_core::{
    Endpoint, Endpoints, HealthFlag, Target,
    http::{answered, lift},
    units::Ratio,
};
use mesh_lb::{BalanceLayer, Policy};
use mesh_test::grpc;
use std::{net::SocketAddr, sync::Arc};
use tower::{Layer, Service, ServiceExt, service_fn};

fn endpoints(addresses: impl IntoIterator<Item = SocketAddr>) -> Endpoints {
    Endpoints::fixed(addresses.into_iter().map(Target::new))
}

fn in_flight(endpoints: &Endpoints) -> Vec<u32> {
    endpoints.load().endpoints().iter().map(|endpoint| endpoint.in_flight()).collect()
}

#[tokio::test]
async fn axum_routers() {
    let endpoints = endpoints([1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
    let layer = BalanceLayer::new(endpoints.clone(), Policy::RoundRobin).panic_threshold(Ratio::ZERO);
    let balance = layer.layer(|endpoint: &Arc<Endpoint>| {
        let name = endpoint.address().to_string();
        lift(Router::<()>::new().route("/", get(async move || name)))
    });
    // an axum router in front of it, too: it clones the service for each call
    let app = Router::<()>::new().fallback_service(answered(balance));
    let ask = || app.clone().oneshot(http::Request::get("/").body(Body::empty()).unwrap());

    let (first, second) = (ask().await.unwrap(), ask().await.unwrap());
    assert_eq!(in_flight(&endpoints), [1, 1], "nothing was read yet");
    let mut names = Vec::new();
    for answer in [first, second] {
        names.push(String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap());
    }
    names.sort();
    assert_eq!(names, ["127.0.0.1:1", "127.0.0.1:2"]);
    assert_eq!(in_flight(&endpoints), [0, 0]);

    for endpoint in endpoints.load().endpoints() {
        endpoint.health().set(HealthFlag::CheckFailed, true);
    }
    assert_eq!(ask().await.unwrap().status(), 503);
}

#[tokio::test]
async fn tonic_channels() {
    use tonic::{Code, transport};

    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        // a server that knows no method: what comes back with its message has been there
        let server = Router::new().fallback(async move || {
            [("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", name)]
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, server).await });
    }
    let endpoints = endpoints(addresses);
    let layer = BalanceLayer::new(endpoints.clone(), Policy::RoundRobin).panic_threshold(Ratio::ZERO);
    let balance = layer.layer(|endpoint: &Arc<Endpoint>| {
        let channel = transport::Endpoint::try_from(format!("http://{}", endpoint.address())).unwrap();
        lift(channel.connect_lazy())
    });
    let channel = answered(balance);
    let call = async || grpc::unary(channel.clone(), Vec::new()).await.unwrap_err();
    let mut names = Vec::new();
    for _ in 0..4 {
        let status = call().await;
        assert_eq!(status.code(), Code::NotFound);
        names.push(status.message().to_owned());
    }
    names.sort();
    assert_eq!(names, ["one", "one", "two", "two"]);
    assert_eq!(in_flight(&endpoints), [0, 0]);

    for endpoint in endpoints.load().endpoints() {
        endpoint.health().set(HealthFlag::CircuitOpen, true);
    }
    assert_eq!(call().await.code(), Code::Unavailable);
}

/// The compiler sees that its futures are `Send`, over another layer and with tower's error, too.
#[tokio::test]
async fn awaited_in_a_task() {
    let gate = mesh_core::GateLayer::new(mesh_core::gate_fn(|_: &mut u32| Ok(()))).results_only();
    let endpoints = endpoints([SocketAddr::from(([127, 0, 0, 1], 1))]);
    let layer = BalanceLayer::new(endpoints, Policy::Random).results_only();
    let mut service = layer
        .layer(move |_: &Arc<Endpoint>| gate.layer(service_fn(async |n: u32| Ok::<_, mesh_core::BoxError>(n + 1))));
    let task = tokio::spawn(async move { service.ready().await?.call(1).await });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
