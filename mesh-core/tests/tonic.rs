//! `governed` around a tonic server and a tonic channel: streams, trailers, resets.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use bytes::{Buf, BufMut, Bytes};
use mesh_core::{
    Code, GateLayer, Outcome, Pipeline, Protocol, Refusable,
    http::{CallBody, GovernedBody, governed},
    pipeline::{Made, foreign},
};
use mesh_test::Spy;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use support::{AtOnce, Breaker};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Request, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Server},
};
use tower::{Service, ServiceBuilder};

/// A codec of plain bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

/// Answers with three messages, and fails after them when it is asked to `fail`; `endless` never ends.
#[derive(Clone)]
struct Echo;

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "demo.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).server_streaming(Handler, request).await) })
    }
}

struct Handler;
type Items = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl tonic::server::ServerStreamingService<Bytes> for Handler {
    type Response = Bytes;
    type ResponseStream = Items;
    type Future = std::future::Ready<Result<tonic::Response<Items>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let items = tokio_stream::iter((0..3).map(|n| Ok(Bytes::from(format!("m{n}")))));
        let items: Items = match &request.get_ref()[..] {
            b"refuse" => return std::future::ready(Err(Status::not_found("no"))),
            b"fail" => Box::pin(items.chain(tokio_stream::once(Err(Status::unavailable("late"))))),
            b"endless" => Box::pin(items.chain(tokio_stream::pending())),
            _ => Box::pin(items),
        };
        std::future::ready(Ok(tonic::Response::new(items)))
    }
}

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
    let serving = Server::builder().layer(layers).add_service(Echo);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let client = GateLayer::new(Spy::default());
    World { server, limit, client, breaker: GateLayer::new(Breaker::new(2)).named("breaker"), channel }
}

impl World {
    /// Calls through the channel; what there is of a stream.
    async fn call(&self, what: &'static str) -> Result<tonic::Streaming<Bytes>, Status> {
        let layers = governed((self.client.clone(), self.breaker.clone()));
        let mut client = Grpc::new(ServiceBuilder::new().layer(layers).service(self.channel.clone()));
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/demo.Echo/Call");
        client.server_streaming(Request::new(Bytes::from(what)), path, Raw).await.map(tonic::Response::into_inner)
    }
}

async fn read(mut stream: tonic::Streaming<Bytes>) -> (usize, Option<tonic::Code>) {
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
    let serving = Server::builder().layer(governed(pipeline)).add_service(Echo);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let call = move || {
        let mut client = Grpc::new(channel.clone());
        async move {
            client.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static("/demo.Echo/Call");
            let stream = client.server_streaming(Request::new(Bytes::from("x")), path, Raw).await?;
            Ok::<_, Status>(read(stream.into_inner()).await)
        }
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
