//! A set of endpoints that changes while calls go on. `cargo run -p mesh-lb --example changing_set`

use mesh_core::{BoxError, Endpoint, Endpoints, Target, Update};
use mesh_lb::{BalanceLayer, Policy};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tower::{Layer, Service, ServiceExt, service_fn};

fn target(port: u16, weight: u32) -> Target {
    Target::new(SocketAddr::from(([127, 0, 0, 1], port))).with_weight(weight)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    // what a registry would say: any stream of updates is a discovery
    let (says, hears) = tokio::sync::mpsc::unbounded_channel();
    let updates = Updates(hears);
    let (endpoints, driver) = Endpoints::new(updates);
    let _driver = driver.spawn();

    // the service of an endpoint: here one that tells its address; a client with a connection elsewhere
    let mut shop =
        BalanceLayer::new(endpoints.clone(), Policy::RoundRobin).results_only().layer(|endpoint: &Arc<Endpoint>| {
            let name = endpoint.address().to_string();
            service_fn(move |_order: u32| std::future::ready(Ok::<_, BoxError>(name.clone())))
        });

    says.send(Update::Set(vec![target(9001, 1), target(9002, 3)]))?;
    println!("{:?}", ask(&mut shop, 8).await?);

    says.send(Update::Change { upsert: vec![target(9003, 4)], remove: vec![target(9001, 1).address] })?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    println!("{:?}", ask(&mut shop, 7).await?);

    for endpoint in endpoints.load().endpoints() {
        println!("{}: {} picks, {} in flight", endpoint.address(), endpoint.picks(), endpoint.in_flight());
    }
    Ok(())
}

/// How many of so many calls each endpoint answers. The first waits until there are endpoints.
async fn ask<S>(shop: &mut S, calls: u32) -> Result<BTreeMap<String, u32>, BoxError>
where
    S: Service<u32, Response = String, Error = BoxError>,
{
    let mut answered = BTreeMap::new();
    for order in 0..calls {
        *answered.entry(shop.ready().await?.call(order).await?).or_default() += 1;
    }
    Ok(answered)
}

struct Updates(tokio::sync::mpsc::UnboundedReceiver<Update>);

impl futures_core::Stream for Updates {
    type Item = Update;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Update>> {
        self.0.poll_recv(cx)
    }
}
