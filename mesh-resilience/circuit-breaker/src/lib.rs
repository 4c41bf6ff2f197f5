//! Circuit breaking as a `tower::Layer`, judged at the end of the body: what keeps failing is left alone for a while.
//!
//! ```
//! use mesh_circuit_breaker::{CircuitBreakerLayer, State};
//! use mesh_core::{BoxError, Kind, Refusal};
//! use std::{num::NonZeroU32, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let breaker = CircuitBreakerLayer::consecutive_failures(NonZeroU32::MIN.saturating_add(1)).results_only();
//! let handle = breaker.handle();
//! handle.listen(|change| println!("{} -> {}", change.from.as_str(), change.to.as_str()));
//! let mut service = ServiceBuilder::new().layer(breaker).service(service_fn(async |works: bool| {
//!     if works { Ok("well") } else { Err(BoxError::from("ill")) }
//! }));
//!
//! for _ in 0..2 {
//!     assert!(service.ready().await?.call(false).await.is_err());
//! }
//! assert_eq!(handle.state(), State::Open);
//! let refused = service.ready().await?.call(true).await.unwrap_err();
//! assert_eq!(refused.rejection().unwrap().kind(), Kind::CircuitOpen);
//!
//! // when its time is over, the next call is the trial
//! tokio::time::advance(Duration::from_secs(6)).await;
//! assert_eq!(service.ready().await?.call(true).await?, "well");
//! assert_eq!(handle.state(), State::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! In axum, tonic and hyper put `mesh_core::http::governed(breaker)` where the layer goes, without `results_only`:
//! statuses count, a gRPC status in the trailers, and a body that breaks off. A refusal becomes `503` with
//! `retry-after`, or `UNAVAILABLE` with `grpc-retry-pushback-ms`.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `consecutive_failures` | 5, without a `window` | so many failures in a row open it |
//! | `window` | none | `failure_rate` (50%) of the last `calls` (100) opens it, from `min_calls` (20) on |
//! | `open_for` | 5 s | how long, the first time; 1 ms to 300 s |
//! | `half_open.probes` | 1 | calls at once that are let through to try |
//! | `half_open.successes` | `probes` | how many of them must succeed to close; one failure opens again |
//! | `half_open.max_duration` | `open_for` | when probes that have not ended are given up, and others let through |
//! | `force` | none | `open` or `disabled`, by an operator |
//! | `failure.http` | `500`, `502-599` | statuses that count |
//! | `failure.grpc` | 2, 4, 13, 14, 15 | gRPC codes that count |
//! | `failure.transport` | yes | whether calls count that were not answered, or not to the end |
//! | `failure.dropped_after` | none | a call counts whose caller went away after so long |
//!
//! An open breaker stays so for `open_for`, doubled for each further trip in a row, up to 300 s; a trip in a row less
//! is counted for each `open_for` that it was closed. That is multiplied by a number drawn from 0.8 to 1.2, so that a
//! fleet does not try together; and is at least what the answer asked for that opened it, by `retry-after` in seconds or
//! `grpc-retry-pushback-ms`, up to 300 s. There is no timer and no task: the first call after that is the trial.
//!
//! # What counts
//! Ends, not heads: what is answered well and breaks off is a failure. Of our own layers a timeout counts, wherever it
//! stands; a refusal never does. A call whose caller went away is no failure, unless it was after its deadline (one that
//! `mesh-timeout` or `grpc-timeout` set), or after `failure.dropped_after`. Where callers have timeouts of their own that
//! the stack does not see, such as `tokio::time::timeout` around a call, set that: else a server that hangs is never
//! noticed.
//!
//! The end of a call counts only in the state it was admitted in: a late answer from before the trip neither closes nor
//! opens anything. A probe whose caller goes away gives its place back.
//!
//! # At an endpoint
//! [`CircuitBreakerLayer::endpoint`], or `circuit_breaker` in an endpoint's pipeline, ties a breaker to an
//! [`Endpoint`](mesh_core::Endpoint). While it is open the endpoint has the health flag
//! [`CircuitOpen`](mesh_core::HealthFlag::CircuitOpen) and leaves the eligible set of balancers; it comes back at the
//! moment of its trial, leaves while the probes are under way, and comes back for good when they succeed. Such breakers
//! cannot take out every endpoint of a set: where less than half of them (the balancer's `panic_threshold`) would be
//! healthy, the balancer of `mesh-lb` passes over health, and an open breaker lets through what is sent to it all the
//! same, unless it was forced open. What refuses calls when all is down is a breaker before the balancer.
//!
//! # What is shared
//! The breaker, by all clones of a [`CircuitBreakerLayer`] and all services it makes.
//! [`CircuitBreakerLayer::per_service`] gives each service one of its own. [`CircuitBreakerLayer::handle`] reads,
//! forces and retunes it; a change of settings, also by a reload, keeps state, trips and counts.
//!
//! # Observing it
//! Each change of state is an event of `tracing` (a warning when it opens), a call of those who
//! [`listen`](CircuitBreaker::listen), and one more in `mesh_circuit_breaker_transitions_total{to}`. The gauge
//! `mesh_circuit_breaker_state` is 0 closed, 1 open, 2 half-open, 3 forced open, 4 disabled. In a stack of one's own both
//! have the label `breaker`, the [name](CircuitBreakerLayer::named), in a pipeline those of its place. Refusals are
//! counted by the stack, as for every gate: `mesh_rejections_total{layer="circuit_breaker"}`.
//!
//! # What it costs
//! No lock, no allocation and no reading of the clock on the way through a closed breaker. Admission is one load; a
//! success writes one counter where there is a window and nothing where only failures in a row count, the same for a
//! window of 100 calls and one of 100,000 (`cargo bench -p mesh-circuit-breaker --bench instructions`, callgrind, user
//! instructions of what a second layer adds):
//!
//! | | instructions | allocations |
//! | --- | ---: | ---: |
//! | failures in a row, to the result | 92 | 0 |
//! | a window of 100 or of 100,000 calls, to the result | 102 | 0 |
//! | a gate that does nothing, to the result | 46 | 0 |
//! | failures in a row, a window, to the end of a body | 461, 484 | 0 |
//! | `tower-resilience`, a window, to the result | 1,555 | 3 |
//! | `failsafe`, which has no layer: in a row, by rate over time | 50, 318 | 0 |
//!
//! A failure costs some more, and so does a success while there are failures in the window; a change of state takes a
//! lock, as the ends of the probes do. `failure.dropped_after` costs a reading of the clock for each call. Memory: 1.25 KiB
//! and a bit for each call of the window.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `circuit_breaker` in a spec |

#[cfg(feature = "config")]
mod config;
mod failure;
mod gate;
mod layer;
mod observe;
mod policy;
mod ring;
mod settings;
mod sync;
mod word;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use failure::{GrpcCode, ParseFailureError};
pub use gate::{CircuitBreaker, Counts};
pub use layer::{CircuitBreakerLayer, CircuitBreakerPerService};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use mesh_core::units::Statuses;
pub use policy::Transition;
pub use settings::{CircuitBreakerSettings, FailureSettings, Force, HalfOpenSettings, WindowSettings};
pub use word::State;

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
