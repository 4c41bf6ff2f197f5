//! A router whose failures, slow requests and one in a hundred others are logged as JSON.
//! `cargo run -p mesh-access-log --example only_errors`
#![allow(unreachable_pub, reason = "a test runs this file as a module")]

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use mesh_access_log::{AccessLogLayer, Format, When, flush};
use mesh_core::{BoxError, http::governed, units::Ratio};
use std::time::Duration;
use tower::ServiceExt;

/// Makes some requests; the log is on standard output.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), BoxError> {
    let when = When {
        status: vec!["5xx".parse()?],
        errors: true,
        min_duration: Some(Duration::from_secs(1)),
        sample: Ratio::from_percent(1),
    };
    let format = Format::json([
        ("at", "%START_TIME%"),
        ("what", "%REQ(:METHOD)% %PATH(NQ)%"),
        ("code", "%RESPONSE_CODE%"),
        ("ms", "%DURATION%"),
    ])?;
    let app: Router = Router::new()
        .route("/well", get(async || "well"))
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(governed(AccessLogLayer::new().format(format).when(when)));

    for path in ["/well", "/broken?token=secret", "/well"] {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
        axum::body::to_bytes(response.into_body(), usize::MAX).await?;
    }
    // what is still in a buffer
    flush(Duration::from_secs(5));
    Ok(())
}
