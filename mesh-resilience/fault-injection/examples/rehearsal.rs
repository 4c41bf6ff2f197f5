//! Tries a client that retries against a service that fails and dawdles now and then: the same faults in each run.
//! `cargo run -p mesh-fault-injection --example rehearsal`

use mesh_core::{BoxError, units::Ratio};
use mesh_fault_injection::{Abort, FaultInjectionLayer};
use std::time::Duration;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    fastrand::seed(3);
    let faults = FaultInjectionLayer::new()
        .delay(Duration::from_millis(20), Ratio::from_percent(20).unwrap_or(Ratio::ZERO))
        .abort(Abort::Status(503), Ratio::from_percent(30).unwrap_or(Ratio::ZERO))
        .results_only();
    let mut service =
        ServiceBuilder::new().layer(faults.clone()).service(service_fn(async |n: u32| Ok::<_, BoxError>(n * n)));
    for n in 0..10 {
        let mut attempts = 1;
        let answer = loop {
            match service.ready().await?.call(n).await {
                Ok(answer) => break answer,
                Err(_) if attempts < 20 => attempts += 1,
                Err(error) => return Err(error),
            }
        };
        println!("{n}² = {answer}, after {attempts} attempts");
    }
    let injected = faults.handle().injected();
    println!("{} delays, {} aborts", injected.delays, injected.aborts);
    Ok(())
}
