//! `governed` around a tonic server and a tonic channel: streams, trailers, resets.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    Code, GateLayer, Outcome, Pipeline, Protocol, Refusable,
    http::{CallBody, GovernedBody, governed},
    pipeline::{Made, foreign},
};
use mesh_test::{Spy, grpc};
use std::{convert::Infallible, sync::Arc};
use support::{AtOnce, Breaker};
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Server},
};
use tower::ServiceBuilder;

/// Three messages, and a failure after them when it is asked to `fail`; `endless` never ends, `refuse` has none.
fn answer(message: Vec<u8>) -> Result<grpc::Answer, Status> {
    let items = tokio_stream::iter((0..3).map(|n| Ok(format!("m{n}").into_bytes())));
    Ok(match &message[..] {
        b"refuse" => return Err(Status::not_found("no")),
        b"fail" => Box::pin(items.chain(tokio_stream::once(Err(Status::unavailable("late"))))),
        b"endless" => Box::pin(items.chain(tokio_stream::pending())),
        _ => Box::pin(items),
    })
}

type Streaming = tonic::Streaming<Vec<u8>>;

struct World {
    server: GateLayer<Spy>,
    limit: GateLayer<AtOnce>,
    client: GateLayer<Spy>,
    breaker: GateLayer<Breaker>,
    channel: Channel,
}

async fn world(at_once: u32) -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (server, limit) = (GateLayer::new(Spy::default()), GateLayer::new(AtOnce::new(at_once)).named("at_once"));
    let layers = governed((server.clone(), limit.clone()));
    let serving = Server::builder().layer(layers).add_service(grpc::service(answer));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let client = GateLayer::new(Spy::default());
    World { server, limit, client, breaker: GateLayer::new(Breaker::new(2)).named("breaker"), channel }
}

impl World {
    /// Calls through the channel; what there is of a stream.
    async fn call(&self, what: &'static str) -> Result<Streaming, Status> {
        let layers = governed((self.client.clone(), self.breaker.clone()));
        let service = ServiceBuilder::new().layer(layers).service(self.channel.clone());
        grpc::streaming(service, what.as_bytes().to_vec()).await
    }
}

async fn read(mut stream: Streaming) -> (usize, Option<tonic::Code>) {
    let mut messages = 0;
    loop {
        match stream.message().await {
            Ok(Some(_)) => messages += 1,
            Ok(None) => return (messages, None),
            Err(status) => return (messages, Some(status.code())),
        }
    }
}

/// Until every ticket of the server has ended.
async fn settled(spy: &Spy) {
    while spy.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_trailers_on_both_sides() {
    let world = world(10).await;
    assert_eq!(read(world.call("x").await.unwrap()).await, (3, None));
    assert_eq!(read(world.call("fail").await.unwrap()).await, (3, Some(tonic::Code::Unavailable)));
    assert_eq!(world.call("refuse").await.unwrap_err().code(), tonic::Code::NotFound);
    settled(world.server.gate()).await;
    let expected =
        [(Outcome::Success, Code::Grpc(0)), (Outcome::Failure, Code::Grpc(14)), (Outcome::Success, Code::Grpc(5))];
    for spy in [&world.server, &world.client] {
        let ends: Vec<_> = spy.gate().ends().iter().map(|end| (end.outcome, end.code)).collect();
        assert_eq!(ends, expected);
        spy.gate().assert_each_ended_once("streams");
    }
}

#[tokio::test]
async fn a_reset_stream_gives_its_slot_back() {
    let world = world(2).await;
    let (mut one, two) = (world.call("endless").await.unwrap(), world.call("endless").await.unwrap());
    one.message().await.unwrap();
    assert_eq!(world.limit.gate().now(), 2);
    let refused = world.call("x").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert_eq!(refused.metadata().get("x-mesh-rejected-by").unwrap(), "at_once");
    drop((one, two));
    settled(world.server.gate()).await;
    assert_eq!(world.limit.gate().now(), 0);
    assert_eq!(world.server.gate().outcomes(), [Outcome::Rejected, Outcome::Cancelled, Outcome::Cancelled]);
    assert_eq!(read(world.call("x").await.unwrap()).await, (3, None));
}

#[tokio::test]
async fn failures_in_trailers_open_a_breaker_in_the_client() {
    let world = world(10).await;
    for _ in 0..2 {
        assert_eq!(read(world.call("fail").await.unwrap()).await.1, Some(tonic::Code::Unavailable));
    }
    let refused = world.call("x").await.unwrap_err();
    assert_eq!(refused.metadata().get("x-mesh-rejected-by").unwrap(), "breaker");
    assert_eq!(world.client.gate().outcomes(), [Outcome::Failure, Outcome::Failure, Outcome::Rejected]);
    assert_eq!(world.server.gate().opened(), 2, "the third was never sent");
}

#[tokio::test]
async fn messages_without_trailers_are_cancelled() {
    let world = world(10).await;
    let mut stream = world.call("x").await.unwrap();
    for _ in 0..3 {
        assert!(stream.message().await.unwrap().is_some());
    }
    drop(stream);
    assert_eq!(world.client.gate().outcomes(), [Outcome::Cancelled]);
}

/// tonic's messages, on the server.
struct Tonic;

impl Protocol for Tonic {
    const NAME: &'static str = "http";
    type Request = http::Request<CallBody<Body>>;
    type Response = http::Response<GovernedBody<Body>>;
    type Error = Refusable<Infallible>;
}

/// The whole way: one HTTP/2 connection, a pipeline whose readiness is scarce, streams that are reset while they wait.
#[tokio::test]
async fn many_streams_on_one_connection_over_a_scarce_stage() {
    let spy = Arc::<Spy>::default();
    let pipeline = Pipeline::<Tonic>::builder()
        .made("spy", Made::Gate(spy.clone()))
        .made("tower_limit", Made::Layer(foreign(tower::limit::ConcurrencyLimitLayer::new(2))))
        .build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder().layer(governed(pipeline)).add_service(grpc::service(answer));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let call = move || {
        let channel = channel.clone();
        async move { Ok::<_, Status>(read(grpc::streaming(channel, b"x".to_vec()).await?).await) }
    };
    let mut calls = Vec::new();
    for number in 0..60 {
        let task = tokio::spawn(call());
        if number % 4 == 3 {
            tokio::task::yield_now().await;
            task.abort();
        } else {
            calls.push(task);
        }
    }
    for task in calls {
        assert_eq!(task.await.unwrap().unwrap(), (3, None));
    }
    assert_eq!(call().await.unwrap(), (3, None), "no permit is stranded");
    settled(&spy).await;
    spy.assert_each_ended_once("many streams");
}
