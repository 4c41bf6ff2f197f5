//! Observability layers for tower, one feature each. Every layer is a crate of its own that can be used alone; this
//! one only gathers them.
//!
//! | feature | module | layer |
//! | --- | --- | --- |
//! | `access-log` | `access_log`, the crate `mesh-access-log` | writes a line for each request that has ended: text with Envoy's operators, or JSON |
//! | `metrics` | `metrics`, the crate `mesh-metrics` | counts requests and measures how long they take, in bounded series |
//! | `trace` | `trace`, the crate `mesh-trace` | carries W3C and B3 trace headers on, records a span for the requests that are sampled |
//!
//! The feature `config` turns on the same feature of every layer that is on: settings read from a spec, and
//! `register` for the pipelines of `mesh-core`.

#[cfg(feature = "access-log")]
pub use mesh_access_log as access_log;
#[cfg(feature = "metrics")]
pub use mesh_metrics as metrics;
#[cfg(feature = "trace")]
pub use mesh_trace as trace;
