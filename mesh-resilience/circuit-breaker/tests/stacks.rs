//! The layer in an axum `Router`, in a tonic server and over a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, response::IntoResponse, routing::get};
use mesh_circuit_breaker::{CircuitBreakerLayer, CircuitBreakerSettings, State};
use mesh_core::http::governed;
use mesh_test::grpc;
use std::{num::NonZeroU32, time::Duration};
use tonic::{
    Code, Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt};

fn after(failures: u32) -> CircuitBreakerLayer {
    let settings = CircuitBreakerSettings {
        consecutive_failures: NonZeroU32::new(failures),
        // longer than any schedule of this test
        open_for: Duration::from_secs(300),
        ..CircuitBreakerSettings::default()
    };
    CircuitBreakerLayer::from(settings)
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_is_watched_as_a_whole() {
    let breaker = after(2).open_for(Duration::from_secs(10));
    let ill = async || (http::StatusCode::INTERNAL_SERVER_ERROR, "ill").into_response();
    let app = Router::new()
        .route("/well", get(async || "well"))
        .route("/ill", get(ill))
        .route_layer(governed(breaker.clone()));
    let ask = |path: &'static str| {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let app = app.clone();
        async move {
            let response = app.oneshot(request).await.unwrap();
            let (head, body) = response.into_parts();
            axum::body::to_bytes(body, 1000).await.unwrap();
            head
        }
    };
    for (path, status) in [("/ill", 500), ("/well", 200), ("/ill", 500), ("/ill", 500)] {
        assert_eq!(ask(path).await.status, status);
    }
    let refused = ask("/well").await;
    assert_eq!(
        (refused.status, &refused.headers["x-mesh-rejected-by"]),
        (http::StatusCode::SERVICE_UNAVAILABLE, &http::HeaderValue::from_static("circuit_breaker"))
    );
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((8..=13).contains(&wait), "{wait}");
    tokio::time::advance(Duration::from_secs(wait)).await;
    assert_eq!(ask("/well").await.status, 200);
    assert_eq!(breaker.handle().state(), State::Closed);
}

/// The address of a tonic server on a port of its own: it gives back what it is sent, and then, where that begins with
/// a zero, fails in the trailers.
async fn server(breaker: CircuitBreakerLayer) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = grpc::service(|message: Vec<u8>| {
        let fails = message.first() == Some(&0);
        let mut answer = vec![Ok(message)];
        answer.extend(fails.then(|| Err(Status::internal("ill"))));
        answer
    });
    let server = Server::builder().layer(governed(breaker)).add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Endpoint::try_from(format!("http://{address}")).unwrap()
}

fn assert_refused(refused: Status) {
    assert_eq!(refused.code(), Code::Unavailable);
    let pushback: u64 = refused.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(pushback > 200_000, "{pushback}");
}

#[tokio::test]
async fn a_tonic_server_whose_failures_are_in_the_trailers() {
    let breaker = after(2);
    let channel = server(breaker.clone()).await.connect_lazy();
    let ask = |first: u8| grpc::unary(channel.clone(), Request::new(vec![first]));
    assert_eq!(ask(7).await.unwrap(), [7]);
    for _ in 0..2 {
        assert_eq!(ask(0).await.unwrap_err().code(), Code::Internal);
    }
    assert_refused(ask(7).await.unwrap_err());
    breaker.handle().reset();
    assert_eq!(ask(7).await.unwrap(), [7]);
}

#[tokio::test]
async fn a_tonic_channel_whose_failures_are_in_the_trailers() {
    let (off, breaker) = (after(1), after(2));
    off.handle().disable();
    let channel = server(off).await.connect_lazy();
    let service = ServiceBuilder::new().layer(governed(breaker.clone())).service(channel);
    let ask = |first: u8| grpc::unary(service.clone(), Request::new(vec![first]));
    for (first, code) in [(0, Code::Internal), (7, Code::Ok), (0, Code::Internal), (0, Code::Internal)] {
        assert_eq!(ask(first).await.err().map_or(Code::Ok, |status| status.code()), code);
    }
    assert_eq!(breaker.handle().state(), State::Open);
    assert_refused(ask(7).await.unwrap_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_counts_too() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let breaker = after(1);
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let service = ServiceBuilder::new().layer(governed(breaker.clone())).service(channel);
    assert!(grpc::unary(service.clone(), Request::new(vec![7])).await.is_err());
    assert_eq!(breaker.handle().state(), State::Open);
    assert_refused(grpc::unary(service, Request::new(vec![7])).await.unwrap_err());
}
