//! The layer in an axum `Router`, in a tonic server and in a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use mesh_core::{http::governed, units::Rate};
use mesh_rate_limit::RateLimitLayer;
use mesh_test::grpc;
use std::num::NonZeroU32;
use tonic::{
    Code, Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt};

fn layer(rate: &str, burst: u32) -> RateLimitLayer {
    let rate: Rate = rate.parse().unwrap();
    RateLimitLayer::new(rate).burst(NonZeroU32::new(burst).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_is_limited_as_a_whole() {
    let limit = layer("1/2s", 3);
    let app = Router::new()
        .route("/a", get(async || "a"))
        .route("/b", get(async || "b"))
        .route_layer(governed(limit.clone()));
    let ask = |path: &'static str| {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let app = app.clone();
        async move { app.oneshot(request).await.unwrap() }
    };
    for path in ["/a", "/b", "/a"] {
        assert_eq!(ask(path).await.status(), 200);
    }
    let refused = ask("/b").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(refused.headers()["x-mesh-rejected-by"], "rate_limit");
    assert_eq!(ask("/none").await.status(), 404, "what no route matches is not counted by a route layer");

    limit.handle().set_quota(None);
    assert_eq!(ask("/b").await.status(), 200);
}

/// The address of a tonic server on a port of its own that gives back what it is sent.
async fn echo(limit: RateLimitLayer) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = grpc::service(|message| vec![Ok(message)]);
    let server = Server::builder().layer(governed(limit)).add_service(echo);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Endpoint::try_from(format!("http://{address}")).unwrap()
}

fn assert_refused(refused: Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let pushback: u64 = refused.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(pushback > 0 && pushback <= 86_400_000, "{pushback}");
}

#[tokio::test]
async fn a_tonic_server_answers_with_a_status() {
    // one in a day, so that no schedule of this test refills it; a limit for all connections
    let limit = layer("1/d", 2);
    let server = echo(limit.clone()).await;
    for connection in [server.connect().await.unwrap(), server.connect().await.unwrap()] {
        assert_eq!(grpc::unary(connection, Request::new(vec![7])).await.unwrap(), [7]);
    }
    let channel = server.connect_lazy();
    assert_refused(grpc::unary(channel.clone(), Request::new(vec![7])).await.unwrap_err());
    limit.handle().set_quota(None);
    assert_eq!(grpc::unary(channel, Request::new(vec![7])).await.unwrap(), [7]);
}

#[tokio::test]
async fn a_tonic_channel_gets_a_status() {
    let unlimited = layer("1/d", 1);
    unlimited.handle().set_quota(None);
    let channel = echo(unlimited).await.connect_lazy();
    let service = ServiceBuilder::new().layer(governed(layer("1/d", 1))).service(channel);
    assert_eq!(grpc::unary(service.clone(), Request::new(vec![7])).await.unwrap(), [7]);
    assert_refused(grpc::unary(service, Request::new(vec![7])).await.unwrap_err());
}
