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
//! | [`Policy`] | [`P2c`](Policy::P2c) by [`PeakEwma`] | how an endpoint is chosen |
//! | [`PeakEwma::decay`] | 10 s | how long an estimate of latency lasts |
//! | [`PeakEwma::rise`] | 50 % | how far one slower sample moves it |
//! | [`PeakEwma::penalty`] | 1 s | what a failed call counts for at the least |
//! | [`PeakEwma::default_rtt`] | 30 ms | what is expected while nothing is known |
//! | [`panic_threshold`](BalanceLayer::panic_threshold) | 50 % | with fewer endpoints healthy, health is passed over |
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
//! # Power of two choices
//! [`Policy::P2c`], the default, draws two endpoints and takes the one with less [`Load`], which is calls in flight
//! ([`Load::LeastRequest`]) or those times how long an answer takes ([`Load::PeakEwma`]):
//!
//! | a call that | in flight | latency (`peak_ewma`) | failures (`least_request`) |
//! | --- | --- | --- | --- |
//! | is answered | to the end of its body | a sample, from the pick to the head | halve every 10 s, whatever is answered |
//! | fails, or is refused by a layer of the endpoint | so | a slow sample: `penalty` or twice the median | one more call in flight |
//! | is dropped | to the drop | counts if it is above the estimate | |
//! | is dropped as [timed out](mesh_core::drop_as) | to the drop | as a failure | as a failure |
//!
//! So failing fast does not attract: of ten endpoints one that refuses gets 0.5 % of 20 calls a second and 0.03 % of
//! 1000. An endpoint of which nothing is known is taken to need the median of the others, and one that is not asked
//! fades towards it. The median is looked for once a second by one of the calls, among 101 endpoints at the most, so
//! for ten thousand in the same time as for a hundred. What is known is kept with the
//! [`Endpoint`](mesh_core::Endpoint): over a change of weight, and for 60 s after it has left its set.
//!
//! Under every policy an endpoint whose failure says `retry-after` (in seconds; a date is passed over) or
//! `grpc-retry-pushback-ms` (in a head without a body) is left alone until then, 300 s at the most, unless it is the last
//! one that is healthy: [`HealthFlag::Pushback`](mesh_core::HealthFlag::Pushback).
//!
//! # Panic
//! What speaks against an endpoint (its breaker is open, a check failed, it asked to be left alone) takes it out. Where
//! less than half of a set would be left, health is passed over and all are picked from, as in Envoy: see
//! [`BalanceLayer::panic_threshold`]. The healthy are counted ten times a second at the most, and only while calls meet
//! endpoints that are not.
//!
//! Queues are as short as theory says (`tests/p2c.rs`: the real service in virtual time, 400 servers): a mean time of
//! 1.26, 1.95, 2.61 and 3.36 service times at 50, 80, 90 and 95 % load, where random choice takes 2, 5, 10 and 20.
//!
//! # What is shared
//! The endpoints with their counts, health and what is known of them, by everybody who has the same
//! [`Endpoints`](mesh_core::Endpoints). The table that picks are made from, by all clones of a [`BalanceLayer`] and all
//! services it makes: one layer for all workers, one service for each. The turn of round robin and the service of each
//! endpoint, by the clones of a [`Balance`].
//!
//! # What it costs
//! No lock and no allocation, the same number of instructions for three endpoints and ten thousand. What is counted is
//! a whole call of the layer in a hot loop, from `poll_ready` over the pick to the result and the end of the count in
//! flight, over a service that answers at once, whose own 11 instructions are taken off (`cargo bench --profile release
//! -p mesh-lb --bench instructions`, callgrind; the optimisation is that of a program that is shipped):
//!
//! | | instructions | allocations |
//! | --- | ---: | ---: |
//! | `p2c`, least request, 3 or 10,000 endpoints | 90 | 0 |
//! | by weight | 188 | 0 |
//! | tower's `p2c::Balance`, least request, 10,000 endpoints, which cannot be cloned | 1,445 | 1 |
//! | `p2c`, peak-EWMA, 10,000 endpoints, where [a turn has one moment](mesh_core::time::set_answers) | 178 | 0 |
//! | the same, 3 endpoints | 156 | 0 |
//! | by weight, 10,000 endpoints | 268 | 0 |
//! | by tokio's clock, which is read twice, 10,000 endpoints | 415 | 0 |
//! | of which the two readings | 242 | 0 |
//! | tower's, peak-EWMA, 10,000 endpoints | 2,498 | 1 |
//! | random or in turn, by weight or not | 145–152 | 0 |
//! | to the end of a body, above the 159 of the message itself: least request | 603 | 0 |
//! | the same, peak-EWMA, by tokio's clock | 932 | 0 |
//!
//! The first rows are those of a path of its own: any two of equal weight, nothing speaks against either, neither has
//! failed of late, the call was not tried before. An endpoint that was not asked for a sixteenth of
//! [`PeakEwma::decay`] costs some more to look at. Of each of the two one pair of cache lines is read beside the
//! table; the one that is picked is written.
//!
//! A clone, as axum makes one for each call, takes about 710 more and one allocation. A change of the set costs time in
//! proportion to its endpoints, on the thread that drives the set. A call that finds its endpoint's service not ready,
//! or no endpoint known yet, allocates one box and waits; a refusal allocates one box more than the rejection.
//!
//! # HTTP
//! Each endpoint's service is lifted, and the whole answers refusals: `answered(balancer.layer(|endpoint| lift(..)))`
//! with `lift` and `answered` of `mesh_core::http`; other layers stand between the two. It is then a service like any
//! other, for an axum `Router` or under a tonic client.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | [`Policy`] read from a spec: `random`, `round_robin`, `p2c`, `{ p2c: { load: least_request } }`, `{ p2c: { load: peak_ewma, decay: 10s, rise: 50%, penalty: 1s, default_rtt: 30ms } }` |

mod alias;
mod balance;
mod baseline;
#[cfg(feature = "config")]
mod config;
mod error;
mod estimate;
mod future;
mod layer;
mod panic;
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
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use panic::PANIC_THRESHOLD;
pub use policy::{Load, PeakEwma, Policy};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
