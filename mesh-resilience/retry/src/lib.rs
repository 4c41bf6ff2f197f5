//! Retries as a `tower::Layer`: within a budget, to another endpoint, with the body replayed.
//!
//! ```
//! use mesh_core::BoxError;
//! use mesh_retry::RetryLayer;
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let calls = AtomicU32::new(0);
//! let flaky = service_fn(|order: u32| {
//!     let call = calls.fetch_add(1, Relaxed);
//!     async move { if call < 2 { Err(BoxError::from("not yet")) } else { Ok(order * 10) } }
//! });
//!
//! let retry = RetryLayer::new().results_only();
//! let mut service = retry.layer(flaky);
//! assert_eq!(service.ready().await?.call(7).await?, 70);
//! assert_eq!(calls.load(Relaxed), 3);
//!
//! // the budget, and the settings, of every clone of the layer
//! assert!(retry.handle().balance() < Some(10));
//! # Ok(())
//! # }
//! ```
//!
//! What the layer stands over is said by name:
//!
//! | | requests | tried again |
//! | --- | --- | --- |
//! | [`results_only`](RetryLayer::results_only) | any that are `Clone` | an error that blames what is called |
//! | [`judge`](RetryLayer::judge) | any that are `Clone` | that, and a response that a function says has failed |
//! | `bodies(axum::body::Body::new)` (feature `http`) | HTTP and gRPC inside `mesh_core::http::governed` | by conditions and methods |
//! | [`protocol`](RetryLayer::protocol) | those of a [`Protocol`](mesh_core::Protocol), by its `replay` | by conditions and methods |
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `attempts` | 3 | how often a request is sent at the most, the first time included; 1: off |
//! | `on` | `connect-failure`, `refused-stream`, `reset`, `unavailable` | what is tried again: [`Condition`], by Envoy's names |
//! | `methods` | GET, HEAD, OPTIONS, TRACE, PUT, DELETE | what may be sent again after it may have been acted on; `*`: all |
//! | `budget` | 20 % of all requests, and 10 a second | [`BudgetSettings`]; `off`: as many as `attempts` allow |
//! | `backoff` | up to 25 ms, doubling up to 250 ms | [`BackoffSettings`]: full jitter |
//! | `max_body` | 64 KiB | how much of a request's body is kept |
//!
//! In a spec: `retry: 3`, or
//! `retry: { attempts: 3, on: [gateway-error, unavailable], methods: [GET], budget: 20%, backoff: { base: 25ms, max: 250ms }, max_body: 64KiB }`,
//! with `budget: { ratio: 20%, reserve: 10, ttl: 10s }` in full.
//!
//! # What is tried again
//! - **What was not acted on**, whatever its method: no connection, a refused stream, where `on` has them; and always a
//!   refusal of ours that [may go elsewhere](mesh_core::Rejection::may_go_elsewhere), such as a breaker at an endpoint:
//!   at once, and without a cost to the budget, since nothing was sent.
//! - **What may have been acted on** only where `methods` has its method. Of gRPC requests `on` alone decides. A protocol
//!   that is neither has no methods among the defaults: name those that may be repeated.
//! - **Never** once the head of an answer has been handed out, so a gRPC call only by a status in the head, as in Envoy
//!   (*trailers-only*, as servers send it for a call that failed before its first message; one in trailers behind a head
//!   goes on to the client, without messages before it, too); and no other refusal of ours (a rate limit, a full
//!   limiter), which would only be repeated.
//! - The body streams through as it is, and what has been read of it is kept. When that is more than `max_body` the
//!   request can no longer be sent again. In an `http` stack each attempt has the same body, trailers included.
//! - `retry-after` in seconds (a date there is passed over: no layer reads the clock on the wall) and
//!   `grpc-retry-pushback-ms` are waited for if that is over before the deadline (without
//!   one: up to 5 s), else the answer is given as it is. So is an answer where the wait, drawn or asked for, would pass
//!   the deadline. After the deadline no attempt begins, not even the first.
//!
//! The budget is shared by all that comes of one layer value. Over any time *t*, exactly: retries ≤ ratio · requests +
//! reserve · (*t* + 1 s). Requests that were refused by ours without being sent earn nothing.
//!
//! # What others hear
//! The answer of a failed attempt is dropped, so that tickets further in hear its failure; those further out hear the
//! last one. A balancer below finds in the [`Context`](mesh_core::Context) which endpoints were tried, and leaves them for
//! others. Dropping the call drops the attempt, or the wait for the next one, and its timer. `mesh_retries_total{result}`
//! counts retries that came to something (`success`), that failed too (`failure`), and that were wanted and not made:
//! `no_budget`, `no_replay` (too much of the body was read), `no_time`. The layer's place in a stack: inside timeouts and
//! breakers of the service, outside the balancer. Its requests carry no count of attempts in a header: retries at
//! several hops are bounded by the budget of each.
//!
//! # What it costs
//! A call that succeeds at once sets no timer, takes no lock, reads no clock (one reading where it has a deadline) and
//! clones no service; what is needed for another attempt is boxed when there is one. User instructions that a second layer
//! adds to such a call (`cargo bench -p mesh-retry --bench instructions`, callgrind):
//!
//! | | instructions | allocations |
//! | --- | ---: | ---: |
//! | plain messages, `results_only` | 125 | 0 |
//! | `tower::retry` with the same policy and its `TpsBudget` | 211 | 0 |
//! | HTTP, a GET without headers or body, most of it the copy of its head | 1,060 | 0 |
//!
//! An HTTP request's head is cloned for each call, which allocates where there are headers (five times for two of them); a
//! body costs six allocations more and a copy of what is kept. In a pipeline there is the box of a service layer, and that of the
//! protocol's `Replay`. With `attempts` of 1 a poll is the poll of what is below.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `retry` in a spec |
//! | `http` | `RetryLayer::bodies`: HTTP requests of any body type, for axum, tonic and hyper |

#[cfg(feature = "http")]
mod bodies;
mod budget;
mod conditions;
#[cfg(feature = "config")]
mod config;
mod layer;
mod policy;
mod repeat;
mod service;
mod settings;
mod sync;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "http")]
pub use bodies::{Bodies, Causes, Unknown};
pub use conditions::{Condition, Conditions};
#[cfg(feature = "config")]
pub use config::register;
pub use layer::{RetryHandle, RetryLayer};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use policy::Verdict;
pub use repeat::{Judged, Repeat, Results, Spoken, Unchosen};
pub use service::{Retry, RetryFuture};
pub use settings::{BackoffSettings, BudgetSettings, RetrySettings};

/// The README's code runs.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
