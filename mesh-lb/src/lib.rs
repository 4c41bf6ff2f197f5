//! Load balancing as a tower service, over sets of endpoints that change.
//!
//! ```
//! use mesh_core::{BoxError, Endpoint, Endpoints, Target};
//! use mesh_lb::{BalanceLayer, Policy};
//! use std::{net::SocketAddr, sync::Arc};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let targets = (9001..=9003).map(|port: u16| Target::new(SocketAddr::from(([127, 0, 0, 1], port))));
//! let balancer = BalanceLayer::new(Endpoints::fixed(targets), Policy::RoundRobin).results_only();
//!
//! // a balancer is applied to the function that gives the service of an endpoint
//! let mut service = balancer.layer(|endpoint: &Arc<Endpoint>| {
//!     let name = endpoint.address().to_string();
//!     service_fn(move |_order: u32| std::future::ready(Ok::<_, BoxError>(name.clone())))
//! });
//! let mut answers = Vec::new();
//! for order in 0..3 {
//!     answers.push(service.ready().await?.call(order).await?);
//! }
//! answers.sort();
//! assert_eq!(answers, ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]);
//!
//! // the layer is also the handle of all that it has made
//! balancer.set_policy(Policy::Random);
//! assert!(balancer.endpoints().load().endpoints().iter().all(|endpoint| endpoint.picks() == 1));
//! # Ok(())
//! # }
//! ```
//!
//! Sets that change come from [`Endpoints::new`](mesh_core::Endpoints::new) over any stream of updates, those of
//! `mesh-discovery` for instance; a plain list of services is balanced by [`Balance::over`].
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | [`Policy`] | `Random` | how an endpoint is chosen |
//! | [`first_result`](BalanceLayer::first_result) | 5 s | how long calls wait at the most until discovery has said something |
//! | reach | to the end of the body | [`results_only`](BalanceLayer::results_only) and [`judge`](BalanceLayer::judge) take any response |
//!
//! # Which endpoint
//! One that the policy chooses by weight; weight 0 is never chosen unless all are 0. One that is not eligible (an open
//! breaker, a failed check: [`Health`](mesh_core::Health)) is left out, and one that this request has tried before
//! ([`Context`](mesh_core::Context)) is avoided while there is another. Such a choice is made again, up to three
//! times, and then all endpoints are gone through from there; what an endpoint that is out would have got is so spread
//! over the others by their weights. Where nothing is left the call is refused with
//! [`Kind::NoEndpoint`](mesh_core::Kind::NoEndpoint), and [`NoEndpoint`] as its source.
//!
//! # What is shared
//! The endpoints with their counts and health, by everybody who has the same [`Endpoints`](mesh_core::Endpoints). The
//! table that picks are made from, by all clones of a [`BalanceLayer`] and all services it makes: one layer for all
//! workers, one service for each. The turn of round robin and the service of each endpoint, by the clones of a
//! [`Balance`].
//!
//! # What it costs
//! No lock and no allocation, the same number of instructions for three endpoints and ten thousand (`cargo bench -p
//! mesh-lb --bench instructions`, callgrind; a service of 7 instructions that answers at once is included):
//!
//! | | instructions | allocations |
//! | --- | ---: | ---: |
//! | any policy, by weight or not, to the result | 280–289 | 0 |
//! | to the end of a body, above the 188 of the message itself | 697 | 0 |
//! | to the result, the balancer cloned for each call as axum does | 647 | 1 |
//! | tower's `p2c::Balance`, least request, which cannot be cloned | 1,873–1,904 | 1 |
//!
//! A change of the set costs time in proportion to its endpoints, on the thread that drives the set. A call that finds
//! its endpoint's service not ready, or no endpoint known yet, allocates one box and waits.
//!
//! # HTTP
//! Each endpoint's service is lifted, and the whole answers refusals: `answered(balancer.layer(|endpoint| lift(..)))`
//! with `lift` and `answered` of `mesh_core::http`; other layers stand between the two. It is then a service like any
//! other, for an axum `Router` or under a tonic client.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | [`Policy`] read from a spec: `random`, `round_robin` |

mod alias;
mod balance;
mod baseline;
#[cfg(feature = "config")]
mod config;
mod error;
mod estimate;
mod future;
mod layer;
mod policy;
mod published;
mod rotation;
mod seat;
mod services;
mod sync;
mod table;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use balance::Balance;
pub use error::NoEndpoint;
pub use future::BalanceFuture;
pub use layer::BalanceLayer;
pub use policy::{Load, PeakEwma, Policy};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
