//! The layer in an axum `Router`, in a tonic client over two endpoints, and in a tonic server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http::StatusCode;
use mesh_core::{
    BoxError, Cause, Endpoint, Endpoints, Rejection, Target,
    http::{answered, governed, lift},
    refusal,
};
use mesh_lb::{BalanceLayer, Policy};
use mesh_retry::{Condition, RetryLayer};
use mesh_test::grpc;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};
use tonic::{
    Request, Status,
    body::Body as TonicBody,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn an_axum_router() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let flaky = async move || {
        if counted.fetch_add(1, Relaxed) < 2 { Err(StatusCode::BAD_GATEWAY) } else { Ok("hello") }
    };
    let retry = RetryLayer::new().on([Condition::GatewayError]);
    let app = Router::new().route("/", get(flaky.clone()).post(flaky)).layer(governed(retry.bodies(Body::new)));
    let ask = |request: http::Request<Body>| app.clone().oneshot(request);
    assert_eq!(ask(http::Request::post("/").body(Body::from("x")).unwrap()).await.unwrap().status(), 502);
    assert_eq!(calls.load(Relaxed), 1);
    assert_eq!(ask(http::Request::get("/").body(Body::empty()).unwrap()).await.unwrap().status(), 200);
    assert_eq!(calls.load(Relaxed), 3);
}

type Messages = Vec<Result<Vec<u8>, Status>>;

/// A tonic service that says its name; its first answers are UNAVAILABLE, in the head. And how often it was called.
#[allow(clippy::type_complexity, reason = "a closure has no name to give it")]
fn flaky(
    name: u8,
    fails: u32,
) -> (grpc::RawService<impl Fn(Vec<u8>) -> Result<Messages, Status> + Clone + Send + Sync + 'static>, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let service = grpc::service(move |_| {
        let fails = counted.fetch_add(1, Relaxed) < fails;
        if fails { Err(Status::unavailable("not yet")) } else { Ok(vec![Ok(vec![name])]) }
    });
    (service, calls)
}

async fn listen() -> (SocketAddr, TcpIncoming) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), TcpIncoming::from(listener))
}

/// One endpoint has nobody behind it, one says UNAVAILABLE, one answers.
#[tokio::test]
async fn a_tonic_client_finds_the_endpoint_that_answers() {
    let ((bad, asked_bad), (good, asked_good)) = (flaky(1, u32::MAX), flaky(2, 0));
    let nobody = listen().await.0;
    let mut targets = vec![Target::new(nobody)];
    for service in [bad, good] {
        let (address, incoming) = listen().await;
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        targets.push(Target::new(address));
    }
    let balancer =
        BalanceLayer::new(Endpoints::fixed(targets), Policy::RoundRobin).layer(|endpoint: &Arc<Endpoint>| {
            let uri = format!("http://{}", endpoint.address());
            lift::<Channel>(tonic::transport::Endpoint::try_from(uri).unwrap().connect_lazy())
        });
    let retry = RetryLayer::new().bodies(TonicBody::new).causes(|error: &tonic::transport::Error| Cause::of(error));
    let channel = answered(retry.layer(balancer));
    // no more than the reserve of the budget allows
    for _ in 0..4 {
        assert_eq!(grpc::unary(channel.clone(), Request::new(b"hello".to_vec())).await.unwrap(), [2]);
    }
    assert_eq!(asked_good.load(Relaxed), 4);
    assert!(asked_bad.load(Relaxed) >= 1, "it was tried, and left");
}

/// Before a handler: it is asked again, and the client hears of the last time only.
#[tokio::test]
async fn a_tonic_server() {
    let (flaky, asked) = flaky(7, 2);
    let (address, incoming) = listen().await;
    let retry = RetryLayer::new().bodies(TonicBody::new);
    let server = Server::builder().layer(governed(retry)).add_service(flaky);
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    assert_eq!(grpc::unary(channel, Request::new(b"hello".to_vec())).await.unwrap(), [7]);
    assert_eq!(asked.load(Relaxed), 3);
}

#[derive(Debug)]
enum Typed {
    Refused(Rejection),
    Own,
}
refusal!(Typed, Refused);

#[tokio::test(start_paused = true)]
async fn plain_tower_with_any_error() {
    let calls = AtomicU32::new(0);
    let typed = service_fn(|_: u32| {
        let call = calls.fetch_add(1, Relaxed);
        async move { if call == 0 { Err(Typed::Own) } else { Ok(call) } }
    });
    assert_eq!(RetryLayer::new().results_only().layer(typed).oneshot(1).await.unwrap(), 1);

    let calls = AtomicU32::new(0);
    let boxed = service_fn(|_: u32| {
        let call = calls.fetch_add(1, Relaxed);
        async move { if call == 0 { Err(BoxError::from("no")) } else { Ok(call) } }
    });
    assert_eq!(RetryLayer::new().results_only().layer(boxed).oneshot(1).await.unwrap(), 1);
}

/// The compiler sees that its futures are `Send`, over another layer and with tower's error, too.
#[tokio::test]
async fn awaited_in_a_task() {
    let gate = mesh_core::GateLayer::new(mesh_core::gate_fn(|_: &mut u32| Ok(()))).results_only();
    let inner = gate.layer(service_fn(async |n: u32| Ok::<_, mesh_core::BoxError>(n + 1)));
    let mut service = RetryLayer::new().results_only().layer(inner);
    let task = tokio::spawn(async move { service.ready().await?.call(1).await });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
