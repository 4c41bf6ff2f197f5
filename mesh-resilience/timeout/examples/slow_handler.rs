//! A router that answers for a handler that takes too long, and a limit that is changed while it runs.
//! `cargo run -p mesh-timeout --example slow_handler`
#![allow(unreachable_pub, reason = "a test runs this file as a module")]

use axum::{Router, body::Body, routing::get};
use http::Request;
use mesh_core::{BoxError, http::governed};
use mesh_timeout::TimeoutLayer;
use std::time::Duration;
use tower::ServiceExt;

/// Asks the slow handler twice.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), BoxError> {
    let timeout = TimeoutLayer::new(Duration::from_secs(1));
    let handle = timeout.handle();
    let app: Router = Router::new()
        .route("/report", get(async || tokio::time::sleep(Duration::from_secs(3)).await))
        .layer(governed(timeout));

    for limit in [Duration::from_secs(1), Duration::from_secs(5)] {
        handle.set_response(limit);
        let response = app.clone().oneshot(Request::get("/report").body(Body::empty())?).await?;
        println!("at most {limit:?}: {}", response.status());
    }
    Ok(())
}
