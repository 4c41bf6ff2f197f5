//! Request metrics with bounded series as a `tower::Layer`: how many, how they ended, how long they took, how many are
//! under way.
//!
//! ```
//! use mesh_core::BoxError;
//! use mesh_metrics::MetricsLayer;
//! use metrics_exporter_prometheus::PrometheusBuilder;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let recorder = PrometheusBuilder::new().build_recorder();
//! let scrape = recorder.handle();
//! metrics::set_global_recorder(recorder)?;
//!
//! let mut service = ServiceBuilder::new()
//!     .layer(MetricsLayer::new().results_only())
//!     .service(service_fn(async |n: u32| if n > 2 { Err("too many") } else { Ok(n) }.map_err(BoxError::from)));
//! for n in [1, 2, 3] {
//!     let _ = service.ready().await?.call(n).await;
//! }
//! let page = scrape.render();
//! assert!(page.contains(r#"mesh_requests_total{status_class="none",outcome="success"} 2"#));
//! assert!(page.contains(r#"mesh_requests_total{status_class="none",outcome="failure"} 1"#));
//! # Ok(())
//! # }
//! ```
//!
//! In axum, tonic and hyper put `mesh_core::http::governed(MetricsLayer::new())` where the layer goes: then a call is
//! followed to the end of its body, and statuses are told apart, a gRPC one from the trailers.
//!
//! # Series
//! | metric | labels | |
//! | --- | --- | --- |
//! | `mesh_requests_total` | `listener`, `route`, `cluster`, `protocol`, `status_class`, `outcome` | a counter of requests that have ended |
//! | `mesh_request_duration_seconds` | `listener`, `route`, `cluster`, `protocol` | a histogram, from arrival to the end of the response |
//! | `mesh_requests_in_flight` | those of the place where the layer stands | a gauge of requests that have arrived and not ended |
//!
//! Names come from the request's [`Context`](mesh_core::Context) when it ends, when route and cluster are known; a label
//! without a value is left out. `protocol` is `http`, `grpc` or what the protocol of the pipeline is called;
//! `status_class` is `2xx` and the like, the number of a gRPC status, or `none` where there was no answer; `outcome` is
//! that of [`Outcome`](mesh_core::Outcome): `success`, `failure`, `rejected`, `cancelled`, `timed_out`. A request without a
//! record ([`MetricsLayer::results_only`], [`MetricsLayer::judge`]) has no names, and its time begins with the call.
//!
//! Nothing from the wire becomes a label, so that there are no more series than names in the configuration times some
//! tens. Beyond [`SERIES_LIMIT`] of one gate, what would be new is counted in one series with
//! `otel_metric_overflow="true"`.
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `labels` | none | labels that every series carries, such as `{ team: shop }` |
//!
//! [`Metrics::set_enabled`], by [`MetricsLayer::handle`], switches it off and on while it runs.
//!
//! # Recorders
//! Series go to the recorder of the `metrics` facade; install it **before the first request**, since handles are kept,
//! and do not let it drop series that are idle: what is counted in them later would be lost. The recorder decides on
//! buckets: [`DURATION_BUCKETS`] are made for requests. Prometheus' recorder keeps every sample until it is scraped or
//! its `run_upkeep` is called: call it every few seconds.
//!
//! # What it costs
//! No lock and no allocation of its own. Undisturbed, on one core of a cloud machine (AMD EPYC): one gate more in a run
//! of a pipeline about 80 ns with Prometheus' recorder (370 instructions, 200 of them the recorder's), of which next to
//! nothing is left without a recorder; a plain call 157 ns, of which two readings of the clock are 55; switched off
//! 17 ns. `cargo bench -p mesh-metrics` measures it where you are. Prometheus' recorder allocates a block for some
//! hundred samples. Memory: 2 KiB for a gate with up to some tens of series.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `metrics` in a spec |

#[cfg(feature = "config")]
mod config;
mod gate;
mod layer;
mod series;
mod settings;

#[cfg(feature = "config")]
pub use config::register;
pub use gate::{
    DURATION_BUCKETS, FromCall, Metrics, REQUEST_DURATION_SECONDS, REQUESTS_IN_FLIGHT, REQUESTS_TOTAL, SERIES_LIMIT,
};
pub use layer::MetricsLayer;
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use settings::{LabelError, MetricsSettings};

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
