//! The power of two choices over endpoints that a discovery names, of which one is slow and one refuses.
//! `cargo run -p mesh-lb --example two_choices`

use mesh_core::{BoxError, Endpoint, Endpoints, Target, Update};
use mesh_lb::{BalanceLayer, Load, Policy};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};

fn target(port: u16) -> Target {
    Target::new(SocketAddr::from(([127, 0, 0, 1], port)))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    for policy in [Policy::Random, Policy::p2c(Load::LeastRequest), Policy::default()] {
        // what a registry would say: any stream of updates is a discovery
        let (says, hears) = mpsc::unbounded_channel();
        let (endpoints, driver) = Endpoints::new(Updates(hears));
        let _driver = driver.spawn();
        says.send(Update::Set((9001..=9004).map(target).collect()))?;

        let shop = BalanceLayer::new(endpoints.clone(), policy).results_only().layer(|endpoint: &Arc<Endpoint>| {
            let port = endpoint.address().to_string();
            service_fn(move |_order: u32| {
                let (slow, refuses) = (port.ends_with('1'), port.ends_with('2'));
                async move {
                    if refuses {
                        return Err(BoxError::from("out of stock"));
                    }
                    tokio::time::sleep(Duration::from_millis(if slow { 20 } else { 2 })).await;
                    Ok(())
                }
            })
        });
        // four at once; clones share what is known of the endpoints
        for order in 0..25 {
            let calls = [0, 1, 2, 3].map(|buyer| tokio::spawn(shop.clone().oneshot(4 * order + buyer)));
            for call in calls {
                let _ = call.await?;
            }
        }
        println!("{policy:?}");
        for endpoint in endpoints.load().endpoints() {
            println!("  {}: {} picks, {} failures", endpoint.address(), endpoint.picks(), endpoint.failures());
        }
    }
    Ok(())
}

struct Updates(mpsc::UnboundedReceiver<Update>);

impl futures_core::Stream for Updates {
    type Item = Update;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Update>> {
        self.0.poll_recv(cx)
    }
}
