//! Concurrency limits as a `tower::Layer`: so many calls at once, counted to the response or to the end of its body;
//! one too many is refused, or waits for its turn.
//!
//! ```
//! use mesh_concurrency_limit::ConcurrencyLimitLayer;
//! use mesh_core::{BoxError, Kind, Refusal};
//! use std::num::NonZeroU32;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let limit = ConcurrencyLimitLayer::new(NonZeroU32::MIN);
//! let mut service = ServiceBuilder::new()
//!     .layer(limit.clone())
//!     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)));
//!
//! let first = service.ready().await?.call(1);
//! let refused = service.ready().await?.call(2).await.unwrap_err();
//! assert_eq!(refused.rejection().unwrap().kind(), Kind::Saturated);
//! assert_eq!(first.await?, 2);
//!
//! // every clone of the layer reads and retunes the same limit, while it runs
//! assert_eq!((limit.handle().in_flight(), limit.handle().max()), (0, 1));
//! limit.handle().set_max(NonZeroU32::MIN.saturating_add(9));
//! # Ok(())
//! # }
//! ```
//!
//! In axum, tonic and hyper put `mesh_core::http::governed(limit)` where the layer goes: a refusal becomes `503`, or
//! `UNAVAILABLE`.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `max` | required | calls at once, from 1 |
//! | `until_end` | no | [`until_end`](ConcurrencyLimitLayer::until_end): a call counts to the end of the response's body; a limit in front of streams bounds nothing otherwise |
//! | `wait` | refuse at once | [`wait`](ConcurrencyLimitLayer::wait): first come, first served, this long at the most and not past the request's deadline (then `504` or `DEADLINE_EXCEEDED`) |
//! | `queue` | `max` | [`queue`](QueueLayer::queue): how many may wait |
//! | | | [`back_pressure`](ConcurrencyLimitLayer::back_pressure): not ready while there is no permit, as tower's own layer |
//!
//! A permit is taken in `call`, never in `poll_ready`: an idle clone that was polled ready holds none, which is how
//! tower's layer can come to a standstill. While somebody waits, a newcomer is not let past.
//!
//! # What is shared
//! The permits, by all clones of a [`ConcurrencyLimitLayer`] and all services it makes.
//! [`per_service`](ConcurrencyLimitLayer::per_service) gives each service its own.
//! [`handle`](ConcurrencyLimitLayer::handle) reads and retunes them; lowered below what is under way, nobody is admitted
//! until enough have ended. A reload of a pipeline retunes in the same way.
//!
//! # What it costs
//! No lock and no allocation on the way through: a compare-and-swap to take a permit, a subtraction to give it back; who
//! is refused has written nothing shared. A second layer over a small response adds 78 user instructions, one that waits
//! 138 where nobody does, tower's own 212 (`cargo bench -p mesh-concurrency-limit --bench instructions`). A call that
//! waits allocates a box, its place and a timer. Memory: 256 bytes for a limit.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `concurrency_limit` in a spec, its settings as `100` or `{ max, wait, until_end }`; gauges `mesh_concurrency_in_flight`, `_waiting`, `_max`, sampled each second |
//! | `tracing` | an event when the limit changes |
//!
//! Refusals are counted by the stack, for every gate alike: `mesh_rejections_total{layer="concurrency_limit"}`.

#[cfg(feature = "config")]
mod config;
mod gate;
mod layer;
mod permits;
mod service;
mod settings;
mod sync;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::ConcurrencyLimit;
pub use layer::{ConcurrencyLimitLayer, ConcurrencyLimitPerService, QueueLayer};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use service::{Queued, QueuedFuture};
pub use settings::{ConcurrencyLimitSettings, Wait};

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
