//! Trace context and request spans as a `tower::Layer`: W3C and B3 headers are carried on, a span is recorded for the
//! requests that are sampled.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use mesh_core::{http::governed, units::Ratio};
//! use mesh_trace::TraceLayer;
//! use tower::ServiceExt;
//! # use std::io::Write;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // spans go to whoever subscribes to the target `mesh_trace` at DEBUG
//! # struct Sub; impl tracing::Subscriber for Sub {
//! #   fn enabled(&self, _: &tracing::Metadata<'_>) -> bool { true }
//! #   fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id { tracing::span::Id::from_u64(1) }
//! #   fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
//! #   fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
//! #   fn event(&self, _: &tracing::Event<'_>) {} fn enter(&self, _: &tracing::span::Id) {} fn exit(&self, _: &tracing::span::Id) {} }
//! # let _subscriber = tracing::subscriber::set_default(Sub);
//! let app = Router::new()
//!     .route("/", get(async |headers: http::HeaderMap| headers["traceparent"].to_str().unwrap().to_owned()))
//!     .layer(governed(TraceLayer::new().sample(Ratio::ONE)));
//!
//! let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
//! let request = http::Request::get("/").header("traceparent", caller).body(Body::empty()).unwrap();
//! let seen = app.oneshot(request).await.unwrap().into_body();
//! let seen = axum::body::to_bytes(seen, 100).await.unwrap();
//! // the same trace, and our span as the parent of what comes next
//! assert_eq!((&seen[..36], seen.len()), (&caller.as_bytes()[..36], 55));
//! assert_ne!(&seen[..], caller.as_bytes());
//! # }
//! ```
//!
//! Around a client, a tonic channel say, `TraceLayer::new().kind(SpanKind::Client)` continues the trace whose headers
//! the request carries: what a server behind this layer received, copied to what it sends.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `sample` | `1%` | the part of the traces that begin here which is recorded, exact to 1 ppm |
//! | `parent` | `follow` | `follow`: a caller's decision is followed; `ignore`: the ratio decides on every trace |
//! | `propagate` | `[w3c, b3, b3_multi]` | the headers that are read: the first that are there and valid |
//!
//! Always is `100%` with `ignore`, never `0%` with `ignore`, only what callers record `0%` with `follow`.
//!
//! # What goes on
//! - **A trace that is not recorded** goes on untouched: not a byte of its headers is written.
//! - **One that is recorded** goes on with the same id and this span as the parent, in all headers of `propagate` that it
//!   came with. `tracestate` goes on as it came.
//! - **One that begins here** is written as the first of `propagate`, recorded or not, so that all hops decide on the same
//!   random bits and logs agree on its id; where it is recorded, `tracestate` says with which threshold (`ot=th:…`).
//! - **Where nobody takes spans**, by the filter of `tracing`'s subscriber, no trace begins and none is changed: no
//!   request gets a parent that no one will ever see.
//!
//! Sampling is OpenTelemetry's consistent probability sampling: the last 56 bits of the trace id (or `rv` of `tracestate`)
//! against a threshold. Whoever samples 10 % records all that one with 1 % does. Headers that break their
//! format are as good as absent: a `traceparent` that comes twice, in upper case, with ids of zeros.
//!
//! # Spans
//! One per recorded request, target [`TARGET`], level DEBUG, opened when the request is admitted and closed with the
//! response's body: also when the call is dropped or panics. Fields follow OpenTelemetry's semantic conventions.
//!
//! | | fields |
//! | --- | --- |
//! | all | `otel.name`, `otel.kind`, `otel.status_code`, `error.type`, `mesh.listener`, `mesh.route`, `mesh.cluster`, `mesh.rejected_by` |
//! | HTTP, gRPC | `http.request.method`, `url.scheme`, `url.path`, `server.address`, `server.port`, `client.address`, `network.protocol.name`, `network.protocol.version` |
//! | HTTP | `http.response.status_code` |
//! | gRPC | `rpc.system`, `rpc.service`, `rpc.method`, `rpc.grpc.status_code`, from the trailers |
//! | other protocols | `rpc.system`, `rpc.service`, `rpc.method` |
//!
//! `error.type` is the status, the reason of a refusal (`rate_limited`), `cancelled`, `timeout` or `transport`. The query
//! is not recorded. The inner service does not run inside the span: a gate stands beside a call, not around it.
//!
//! **To OpenTelemetry**: `tracing-opentelemetry` exports these spans as they are; for the *ids* to be those that were
//! propagated its id generator asks [`opening`].
//!
//! # What it costs
//! No allocation and no lock for a request that is not recorded. Beside what any gate costs where it stands, in
//! instructions: 280 to read a `traceparent` that is not sampled from among four headers (25 for each more: a look at all
//! names costs less than to look up one), whose ids become numbers only where somebody asks for them; 30 where a layer
//! further out has read it, 220 where there is no header at all, one branch when off. OpenTelemetry's propagator takes
//! 3,500 and four allocations to read that header alone. `cargo bench -p mesh-trace --bench instructions` counts.
//! A recorded one costs what the subscriber makes of a span, some microseconds, and two to six allocations for headers.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `tracing` in a spec, its settings as `5%` or a mapping |

pub mod b3;
#[cfg(feature = "config")]
mod config;
mod gate;
mod hex;
mod layer;
mod opening;
mod propagation;
mod sample;
mod settings;
mod span;
mod tracestate;
pub mod w3c;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::{REJECTIONS, Trace};
pub use layer::TraceLayer;
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use opening::{Opening, opening};
pub use propagation::Propagation;
pub use sample::Parent;
pub use settings::{TraceSettings, TraceSettingsError};
pub use span::{SpanKind, TARGET};

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
