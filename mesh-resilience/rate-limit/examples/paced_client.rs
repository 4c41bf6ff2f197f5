//! A client that keeps its own limit: it asks as fast as it may, comes back when it was told to, and is retuned on the
//! way. `cargo run -p mesh-rate-limit --example paced_client`

use mesh_core::{BoxError, Refusal};
use mesh_rate_limit::{Quota, RateLimitLayer};
use std::{num::NonZeroU32, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let limit = RateLimitLayer::new("50/s".parse()?).burst(NonZeroU32::MIN.saturating_add(4));
    let handle = limit.handle();
    let mut server =
        ServiceBuilder::new().layer(limit).service(service_fn(async |n: u32| Ok::<_, BoxError>(format!("answer {n}"))));

    let start = Instant::now();
    for n in 0..20 {
        loop {
            match server.ready().await?.call(n).await {
                Ok(answer) => break println!("{:>4} ms  {answer}", start.elapsed().as_millis()),
                Err(error) => match error.rejection().and_then(|rejection| rejection.retry_after_hint()) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error),
                },
            }
        }
        if n == 9 {
            handle.set_quota(Quota::new("200/s".parse()?).with_burst(NonZeroU32::MIN));
            println!("         now {}", handle.quota().ok_or("off")?);
        }
    }
    Ok(())
}
