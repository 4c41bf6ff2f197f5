//! Timeouts and deadlines as a `tower::Layer`, told apart from cancellation.
//!
//! ```
//! use mesh_core::{BoxError, Kind, Refusal};
//! use mesh_timeout::TimeoutLayer;
//! use std::{future::pending, time::Duration};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let timeout = TimeoutLayer::new(Duration::from_secs(2)).results_only();
//! let mut service = ServiceBuilder::new()
//!     .layer(timeout.clone())
//!     .service(service_fn(async |hangs: bool| if hangs { pending().await } else { Ok::<_, BoxError>("hello") }));
//!
//! assert_eq!(service.ready().await?.call(false).await?, "hello");
//! let error = service.ready().await?.call(true).await.unwrap_err();
//! assert_eq!(error.rejection().unwrap().kind(), Kind::Timeout);
//!
//! // every clone of the layer reads and changes the same settings, while it runs
//! timeout.handle().set_response(Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```
//!
//! In axum, tonic and hyper put `mesh_core::http::governed(timeout)` where the layer goes, without `results_only()`: a
//! call that takes too long becomes `504`, or `DEADLINE_EXCEEDED`, and a `grpc-timeout` is kept.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `response` | as long as it takes | from the end of the request's body to the head of the response |
//! | `total` | as long as it takes | from the request's arrival to the end of the response's body; of a gRPC call, to its head |
//! | `idle` | as long as it does | nothing moves, neither of the request's body nor of the response's |
//!
//! Beside them the deadline of the request's [`Context`](mesh_core::Context) is kept, always: there a `grpc-timeout` ends
//! up. [`TimeoutLayer::deadline_only`] keeps nothing else, [`TimeoutHandle`] changes all of them.
//!
//! # What counts
//! - **The response** is due `response` after the request's body has been sent on to its end, and not before the layer
//!   was called: a stream that the client is still sending is not cut, a request that waited in a layer further out,
//!   and a second attempt, have the whole time. Who ends a request is whoever sends it on: the codec, or `governed`,
//!   which hands the body to the service as it is and counts it as ended then. A protocol of one's own must call
//!   [`end_request`](mesh_core::Context::end_request) on its contexts: a request that never ends is never due.
//! - **The total** counts from arrival, whatever the request does, and goes on over the response's body. It becomes the
//!   request's deadline, for layers further in that queue or try again, unless that is earlier.
//! - **Idle** is a call in which nothing moves: an upload, a download or a stream that goes on may go on for ever. What
//!   moves after the head is seen as the response's body is read; a body that nobody reads is its reader's matter, not
//!   its upstream's, and is not idle. Frames of a response count to the nanosecond. Those of a request are looked at when
//!   the time is over, so where it is they that stop, the call is given up after one to two times `idle`.
//! - **The deadline** counts from arrival, whatever the request does. A call after its deadline is not made.
//! - **Streams**: once there is a head, a gRPC call obeys `idle` and its own deadline only, an upgrade (`101`) and a
//!   CONNECT only `idle`; any other response `total` and `idle`.
//! - **Cut off**: the body of a response ends with the refusal as its error, so that HTTP/2 resets the stream and HTTP/1.1
//!   closes without the last chunk; that of a gRPC one ends with trailers, `DEADLINE_EXCEEDED`. A [`Tap`](mesh_core::Tap)
//!   does it.
//! - **Waiting for readiness** (`poll_ready`) does not count in a plain tower stack. In a
//!   [`Pipeline`](mesh_core::Pipeline) it does, where a service is waited for after the call.
//!
//! # What others hear
//! Tickets further in end with [`TimedOut`](mesh_core::Outcome::TimedOut) (the call is dropped by
//! [`drop_as`](mesh_core::drop_as)), and so do those further out, who are told of a refusal of kind
//! [`Timeout`](mesh_core::Kind::Timeout): a breaker counts it on either side. If the caller goes away first, all hear
//! *cancelled*. Timeouts are counted in `mesh_rejections_total{layer="timeout",reason="timeout"}`.
//!
//! # What it costs
//! Undisturbed, on one core of a cloud machine (AMD EPYC), beside a service that costs nothing: an answer that is there at
//! once 13 ns, without a timer or an allocation (`tower`'s own 30 ns, since it sets its timer with the call); a call that
//! must be waited for 120 ns and the timer's one allocation (`tower`'s 68 ns, without one); off, and without a deadline,
//! 10 ns. `cargo bench -p mesh-timeout` measures it where you are. In a pipeline it is a service layer: one box more.
//! `total` and `idle` take three allocations more for a response whose body they watch, none for its frames, and none of
//! the frames sets the timer. Dropping the call, or the body, leaves no timer behind.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `timeout` in a spec, its settings as `2s` or `{ response: 2s, total: 30s, idle: 30s }` |

#[cfg(feature = "config")]
mod config;
mod layer;
mod limits;
mod service;
mod settings;
mod tap;

#[cfg(feature = "config")]
pub use config::register;
pub use layer::{TimeoutHandle, TimeoutLayer};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use service::{Timeout, TimeoutFuture};
pub use settings::TimeoutSettings;

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
