//! The layer in an axum `Router`, in a tonic server and in a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use mesh_core::{http::governed, units::Ratio};
use mesh_fault_injection::{Abort, FaultInjectionLayer};
use mesh_test::grpc;
use std::time::Duration;
use tonic::{
    Code, Request,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt};

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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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
