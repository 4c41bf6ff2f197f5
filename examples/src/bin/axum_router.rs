//! Rate limit, timeout and metrics in an axum `Router`, without a sidecar. `/metrics` shows what they count.
//!
//! `cargo run -p mesh-examples --bin axum_router`, and then `curl -i http://127.0.0.1:8080/`: the third is refused.
//! An argument is another address.

use axum::{Router, routing::get};
use mesh_core::{BoxError, http::governed};
use mesh_metrics::MetricsLayer;
use mesh_rate_limit::RateLimitLayer;
use mesh_timeout::TimeoutLayer;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{num::NonZeroU32, time::Duration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    // before the first request: series are looked up once
    let metrics = PrometheusBuilder::new().install_recorder()?;

    let limit = RateLimitLayer::new("6/m".parse()?).burst(NonZeroU32::MIN.saturating_add(1));
    // outermost first; `governed` turns refusals into answers, and lets the layers hear the end of each body
    let layers = governed((MetricsLayer::new(), TimeoutLayer::new(Duration::from_millis(500)), limit));
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/slow", get(async || std::future::pending::<()>().await))
        .layer(layers)
        .route("/metrics", get(async move || metrics.render()));

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
