//! A client of a server that breaks down and recovers: how many calls reach it, with a breaker between the two.
//! `cargo run -p mesh-circuit-breaker --example flaky_server`

use mesh_circuit_breaker::{CircuitBreakerLayer, HalfOpenSettings};
use mesh_core::{BoxError, Refusal};
use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Runs the example.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let start = Instant::now();
    let breaker = CircuitBreakerLayer::consecutive_failures(NonZeroU32::MIN.saturating_add(2))
        .open_for(Duration::from_millis(50))
        .half_open(HalfOpenSettings { successes: NonZeroU32::new(2), ..HalfOpenSettings::default() })
        .named("flaky server")
        .results_only();
    breaker.handle().listen(move |change| {
        let (from, to) = (change.from.as_str(), change.to.as_str());
        println!("{:>4} ms  {from} -> {to} {:?}", start.elapsed().as_millis(), change.open_for.unwrap_or_default());
    });

    // out of order from the 20th millisecond to the 120th
    let mut server = ServiceBuilder::new().layer(breaker).service(service_fn(async |n: u32| {
        if (20..120).contains(&start.elapsed().as_millis()) { Err(BoxError::from("out of order")) } else { Ok(n) }
    }));
    let (mut well, mut ill, mut refused) = (0, 0, 0);
    for n in 0..200 {
        match server.ready().await?.call(n).await {
            Ok(_) => well += 1,
            Err(error) if error.rejection().is_some() => refused += 1,
            Err(_) => ill += 1,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{well} answered, {ill} failed, {refused} spared");
    Ok(())
}
