//! A client of a service that fails every other time, behind a retry with a budget.
//! `cargo run -p mesh-retry --example flaky`
#![allow(unreachable_pub, reason = "a test runs this file as a module")]

use mesh_core::BoxError;
use mesh_retry::RetryLayer;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tower::{Layer, Service, ServiceExt, service_fn};

/// Places five orders.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), BoxError> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let flaky = service_fn(async |order: u32| {
        let call = CALLS.fetch_add(1, Relaxed);
        if call.is_multiple_of(2) {
            Err(BoxError::from("not this time"))
        } else {
            Ok(format!("order {order} is placed"))
        }
    });

    let retry = RetryLayer::new().results_only();
    let mut service = retry.layer(flaky);
    for order in 1..=5 {
        println!("{}", service.ready().await?.call(order).await?);
    }
    println!("{} calls, {} retries left in the budget", CALLS.load(Relaxed), retry.handle().balance().unwrap_or(0));
    Ok(())
}
