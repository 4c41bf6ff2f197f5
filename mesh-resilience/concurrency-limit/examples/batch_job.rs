//! A job of many small calls that keeps so many of them going, and turns itself down when the server is slow.
//! `cargo run -p mesh-concurrency-limit --example batch_job`
#![allow(unreachable_pub, reason = "a test runs this file as a module")]

use mesh_concurrency_limit::ConcurrencyLimitLayer;
use mesh_core::BoxError;
use std::{num::NonZeroU32, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// Runs the job.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub async fn main() -> Result<(), BoxError> {
    let limit = ConcurrencyLimitLayer::new(NonZeroU32::new(8).ok_or("no limit")?);
    let handle = limit.handle();
    let server = ServiceBuilder::new().layer(limit.wait(Duration::from_secs(60)).queue(100)).service(service_fn(
        async |n: u32| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, BoxError>(n * n)
        },
    ));

    let (start, mut calls) = (Instant::now(), JoinSet::new());
    for n in 0..64 {
        calls.spawn(server.clone().oneshot(n));
    }
    let mut done = 0;
    while let Some(result) = calls.join_next().await {
        result??;
        done += 1;
        if done % 16 == 0 {
            let (running, waiting) = (handle.in_flight(), handle.waiting());
            println!("{:>4} ms: {done} done, {running} under way, {waiting} wait", start.elapsed().as_millis());
        }
        if done == 32 {
            handle.set_max(NonZeroU32::new(4).ok_or("no limit")?);
        }
    }
    Ok(())
}
