//! Exact, lock-free rate limiting as a `tower::Layer`: a token bucket (GCRA) in one atomic word.
//!
//! ```
//! use mesh_core::{BoxError, Refusal};
//! use mesh_rate_limit::RateLimitLayer;
//! use std::{num::NonZeroU32, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let limit = RateLimitLayer::new("10/s".parse()?).burst(NonZeroU32::MIN.saturating_add(1));
//! let mut service = ServiceBuilder::new()
//!     .layer(limit.clone())
//!     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)));
//!
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! assert_eq!(service.ready().await?.call(2).await?, 3);
//! let refused = service.ready().await?.call(3).await.unwrap_err();
//! assert_eq!(refused.rejection().unwrap().retry_after_hint(), Some(Duration::from_millis(100)));
//!
//! // every clone of the layer reads and retunes the same bucket, while it runs
//! limit.handle().set_quota(None);
//! assert_eq!(service.ready().await?.call(4).await?, 5);
//! # Ok(())
//! # }
//! ```
//!
//! In axum, tonic and hyper put `mesh_core::http::governed(limit)` where the layer goes: a refusal becomes
//! `429` with `retry-after`, or `RESOURCE_EXHAUSTED` with `grpc-retry-pushback-ms`.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `rate` | required | requests in the long run: `100/s`, `60/m`, `100/10s`; from one in 584 years to 10¹⁶ per second |
//! | `burst` | what `rate` gives in a second, rounded up | requests at once after a rest, 1 to 2³² − 1 |
//!
//! In every window of length `L` at most `burst + rate · L` requests are admitted, whatever the threads and however
//! late they are scheduled. Nothing waits: what is too much is refused at once, and told when to come back, to the
//! nanosecond. Time is the clock of `mesh-core`, so `tokio::time::pause` rules it in tests.
//!
//! # What is shared
//! The bucket, by all clones of a [`RateLimitLayer`] and all services it makes. [`RateLimitLayer::per_service`] gives
//! each service one of its own. [`RateLimitLayer::handle`] reads and retunes it; a change never refills it: what was
//! admitted and not paid back yet counts against the new burst (see [`Gcra::set_quota`]). A reload of a pipeline
//! retunes in the same way.
//!
//! # What it costs
//! No lock and no allocation, admitted or refused. Undisturbed, on one core of a cloud machine (AMD EPYC): the decision
//! 8 ns admitted, 7 ns refused, 1 ns off (60, 140 and 13 instructions; `governor` 5 and 6 ns); a call of the whole layer
//! 48, 73 and 11 ns, of which 27 are the reading of the clock, that a pipeline needs once for all its gates. `cargo bench
//! -p mesh-rate-limit` measures it where you are. A refusal writes nothing shared, so a flooded limit scales with the
//! cores; an admission moves one cache line between them. Memory: 384 bytes.
//!
//! # Parts
//! [`Gcra`] is the decision core alone, for limits of other things than requests (bytes, rows, tokens: `check` takes
//! any number of cells, and [`Gcra::settle`] corrects an estimate afterwards). [`RateLimit`] makes it a
//! [`Gate`](mesh_core::Gate) for a [`Pipeline`](mesh_core::Pipeline); [`RateLimitLayer`] is that gate's tower face.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `rate_limit` in a spec, its settings as `100/s` or `{ rate, burst }` |
//! | `tracing` | an event when the quota changes |
//!
//! Refusals are counted by the stack, for every gate alike: `mesh_rejections_total{layer="rate_limit"}`.

#[cfg(feature = "config")]
mod config;
mod gate;
mod layer;
mod policy;
mod quota;
mod settings;
mod sync;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::RateLimit;
pub use layer::{RateLimitLayer, RateLimitPerService};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use policy::{Decision, Gcra, Room};
pub use quota::Quota;
pub use settings::RateLimitSettings;

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
