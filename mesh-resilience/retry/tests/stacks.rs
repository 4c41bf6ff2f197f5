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
    convert::Infallible,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tonic::{
    Request, Response, Status,
    body::Body as TonicBody,
    server::{NamedService, UnaryService},
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

/// A tonic service, `/mesh.test.Raw/Call`, whose first answers are UNAVAILABLE, which tonic says in the head.
#[derive(Clone)]
struct Flaky {
    name: u8,
    fails: u32,
    calls: Arc<AtomicU32>,
}

impl Flaky {
    fn new(name: u8, fails: u32) -> Self {
        Self { name, fails, calls: Arc::default() }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }
}

impl UnaryService<Vec<u8>> for Flaky {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, _: Request<Vec<u8>>) -> Self::Future {
        let call = self.calls.fetch_add(1, Relaxed);
        ready(if call < self.fails { Err(Status::unavailable("not yet")) } else { Ok(Response::new(vec![self.name])) })
    }
}

impl NamedService for Flaky {
    const NAME: &'static str = "mesh.test.Raw";
}

impl Service<http::Request<TonicBody>> for Flaky {
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<TonicBody>) -> Self::Future {
        let flaky = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(grpc::RawCodec).unary(flaky, request).await) })
    }
}

async fn listen() -> (SocketAddr, TcpIncoming) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), TcpIncoming::from(listener))
}

/// One endpoint has nobody behind it, one says UNAVAILABLE, one answers.
#[tokio::test]
async fn a_tonic_client_finds_the_endpoint_that_answers() {
    let (bad, good) = (Flaky::new(1, u32::MAX), Flaky::new(2, 0));
    let nobody = listen().await.0;
    let mut targets = vec![Target::new(nobody)];
    for service in [bad.clone(), good.clone()] {
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
    assert_eq!(good.calls(), 4);
    assert!(bad.calls() >= 1, "it was tried, and left");
}

/// Before a handler: it is asked again, and the client hears of the last time only.
#[tokio::test]
async fn a_tonic_server() {
    let flaky = Flaky::new(7, 2);
    let (address, incoming) = listen().await;
    let retry = RetryLayer::new().bodies(TonicBody::new);
    let server = Server::builder().layer(governed(retry)).add_service(flaky.clone());
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    assert_eq!(grpc::unary(channel, Request::new(b"hello".to_vec())).await.unwrap(), [7]);
    assert_eq!(flaky.calls(), 3);
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
