//! A router whose requests are counted, and its own page for Prometheus.
//! `cargo run -p mesh-metrics --example scrape`
#![allow(unreachable_pub, reason = "a test runs this file as a module")]

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use mesh_core::{BoxError, http::governed};
use mesh_metrics::{DURATION_BUCKETS, MetricsLayer, REQUEST_DURATION_SECONDS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tower::ServiceExt;

/// Makes some requests and prints the page.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), BoxError> {
    let duration = Matcher::Full(REQUEST_DURATION_SECONDS.into());
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(duration, &DURATION_BUCKETS)?.build_recorder();
    let scrape = recorder.handle();
    metrics::set_global_recorder(recorder)?;

    let app: Router = Router::new()
        .route("/well", get(async || "well"))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(governed(MetricsLayer::new()))
        .route("/metrics", get(async move || scrape.render()));

    let mut page = String::new();
    for path in ["/well", "/well", "/broken", "/metrics"] {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        page = String::from_utf8(body.into())?;
    }
    println!("{page}");
    Ok(())
}
