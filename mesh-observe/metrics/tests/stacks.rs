//! The layer in an axum `Router` and in a tonic channel.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod scrape;

use axum::{Router, body::Body, routing::get};
use mesh_core::http::governed;
use mesh_metrics::{MetricsLayer, REQUESTS_TOTAL};
use mesh_test::grpc;
use scrape::{Scrape, recorder};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test]
async fn an_axum_router() {
    let recorder = recorder();
    let scrape = Scrape(recorder.handle());
    let _local = metrics::set_default_local_recorder(&recorder);
    let app = Router::new()
        .route("/well", get(async || "well"))
        .route("/broken", get(async || http::StatusCode::INTERNAL_SERVER_ERROR))
        .layer(governed(MetricsLayer::new()));
    for (path, times) in [("/well", 3), ("/broken", 2), ("/nowhere", 1)] {
        for _ in 0..times {
            let request = http::Request::get(path).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        }
    }
    let value = |outcome: &str, class: &str| {
        scrape
            .value(REQUESTS_TOTAL, &["protocol=http", &format!("outcome={outcome}"), &format!("status_class={class}")])
    };
    assert_eq!(value("success", "2xx"), Some(3.0));
    assert_eq!(value("failure", "5xx"), Some(2.0));
    assert_eq!(value("success", "4xx"), Some(1.0));
    assert_eq!(scrape.in_flight(), 0.0);
}

#[tokio::test]
async fn a_tonic_channel() {
    use tonic::{Code, transport::Endpoint};

    let recorder = recorder();
    let scrape = Scrape(recorder.handle());
    let _local = metrics::set_default_local_recorder(&recorder);
    // a server that knows no method
    let server = Router::new().fallback(async || [("content-type", "application/grpc"), ("grpc-status", "5")]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });

    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let service = ServiceBuilder::new().layer(governed(MetricsLayer::new())).service(channel);
    let answer = grpc::unary(service, Vec::new()).await.unwrap_err();
    assert_eq!(answer.code(), Code::NotFound);
    assert_eq!(
        scrape.value(REQUESTS_TOTAL, &["protocol=grpc", "outcome=success", "status_class=5"]),
        Some(1.0),
        "{:?}",
        scrape.requests()
    );
    serving.abort();
}
