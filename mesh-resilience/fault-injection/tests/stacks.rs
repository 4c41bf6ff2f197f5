//! The layer in an axum `Router`, in a tonic server and in a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::{Answer, BoxError, Kind, Refusal, Rejection, http::governed, units::Ratio};
use mesh_fault_injection::{Abort, FaultInjectionLayer};
use mesh_test::grpc;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tonic::{
    Code, Request,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn aborts(with: Abort) -> FaultInjectionLayer {
    FaultInjectionLayer::new().abort(with, Ratio::ONE)
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_answers_with_the_status() {
    let faults = aborts(Abort::Status(418)).delay(Duration::from_secs(1), Ratio::ONE);
    let app = Router::new().route("/", get(async || "hello")).layer(governed(faults.clone()));
    let ask = async || app.clone().oneshot(http::Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    let start = tokio::time::Instant::now();
    let aborted = ask().await;
    assert_eq!(aborted.status(), 418);
    assert_eq!(aborted.headers()["x-mesh-rejected-by"], "fault_injection");
    assert!(start.elapsed() >= Duration::from_secs(1));
    faults.handle().switch(false);
    assert_eq!(ask().await.status(), 200);
}

#[tokio::test]
async fn tonic_gets_the_status_on_either_side() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let in_the_server = aborts(Abort::Grpc(9));
    let server = Server::builder()
        .layer(governed(in_the_server.clone()))
        .add_service(grpc::service(|message| -> grpc::Answer { Box::pin(futures_util::stream::iter([Ok(message)])) }));
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();

    let status = grpc::streaming(channel.clone(), Request::new(vec![1])).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    in_the_server.handle().switch(false);
    // an HTTP status stands for a gRPC one
    let in_the_client = aborts(Abort::Status(503));
    let client = ServiceBuilder::new().layer(governed(in_the_client.clone())).service(channel);
    let status = grpc::streaming(client.clone(), Request::new(vec![1])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    in_the_client.handle().switch(false);
    let mut stream = grpc::streaming(client, Request::new(vec![1])).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(vec![1]));
    serving.abort();
}

/// On real connections: nothing of an answer arrives, and an HTTP/2 connection goes on.
#[tokio::test]
async fn a_reset_ends_the_exchange_in_an_axum_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let faults = aborts(Abort::Reset);
    let app: Router = Router::new().route("/", get(async || "hello")).layer(governed(faults.clone()));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut raw = TcpStream::connect(address).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = raw.read_to_end(&mut answer).await;
    assert_eq!(answer, b"", "not a byte, and the connection is closed");

    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async || {
        let request = http::Request::get(format!("http://{address}/")).body(Empty::<axum::body::Bytes>::new()).unwrap();
        Ok::<_, hyper::Error>(sender.send_request(request).await?.into_body().collect().await?.to_bytes())
    };
    let reset = ask().await.unwrap_err();
    assert!(reset.to_string().contains("error"), "{reset}");
    faults.handle().switch(false);
    assert_eq!(ask().await.unwrap(), "hello", "on the same connection");
    serving.abort();
}

#[tokio::test]
async fn a_reset_fails_the_call_of_a_tonic_client_and_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let in_the_server = aborts(Abort::Reset);
    let server = Server::builder()
        .layer(governed(in_the_server.clone()))
        .add_service(grpc::service(|message| -> grpc::Answer { Box::pin(futures_util::stream::iter([Ok(message)])) }));
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let in_the_client = aborts(Abort::Reset);
    let client = ServiceBuilder::new().layer(governed(in_the_client.clone())).service(channel);
    let call = async || grpc::streaming(client.clone(), Request::new(vec![1])).await?.message().await;
    for faults in [in_the_client, in_the_server] {
        let status = call().await.unwrap_err();
        assert!(!matches!(status.code(), Code::Ok | Code::Cancelled), "{status:?}");
        assert_eq!(faults.handle().injected().aborts, 1);
        faults.handle().switch(false);
    }
    assert_eq!(call().await.unwrap(), Some(vec![1]));
    serving.abort();
}

#[derive(Debug)]
enum ShopError {
    Refused(Rejection),
    Closed,
}

mesh_core::refusal!(ShopError, Refused);

#[tokio::test]
async fn plain_tower_gets_an_error_boxed_or_typed() {
    let reset = aborts(Abort::Reset).results_only();
    let boxed = ServiceBuilder::new().layer(reset.clone()).service(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    let error = boxed.oneshot(1).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.kind(), rejection.answer()), (Kind::Fault, Some(Answer::Reset)));

    let shop = service_fn(async |n: u32| if n == 0 { Err(ShopError::Closed) } else { Ok(n) });
    let typed = ServiceBuilder::new().layer(reset.clone()).service(shop);
    assert!(matches!(typed.clone().oneshot(1).await, Err(ShopError::Refused(_))));
    reset.handle().switch(false);
    assert!(matches!(typed.clone().oneshot(0).await, Err(ShopError::Closed)));
    assert!(matches!(typed.oneshot(1).await, Ok(1)));
}

/// The compiler sees that its futures are `Send`, over another layer and with tower's error, too.
#[tokio::test]
async fn awaited_in_a_task() {
    let gate = mesh_core::GateLayer::new(mesh_core::gate_fn(|_: &mut u32| Ok(()))).results_only();
    let inner = gate.layer(service_fn(async |n: u32| Ok::<_, mesh_core::BoxError>(n + 1)));
    let mut service = FaultInjectionLayer::new().results_only().layer(inner);
    let task = tokio::spawn(async move { service.ready().await?.call(1).await });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
