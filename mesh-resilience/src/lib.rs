//! Resilience layers for tower, one feature each. Every layer is a crate of its own that can be used alone; this one
//! only gathers them.
//!
//! | feature | module | layer |
//! | --- | --- | --- |
//! | `timeout` | `timeout`, the crate `mesh-timeout` | gives up calls that take too long, and keeps deadlines |
//! | `rate-limit` | `rate_limit`, the crate `mesh-rate-limit` | admits requests at a rate, exactly, without a lock |
//!
//! The feature `config` turns on the same feature of every layer that is on: settings read from a spec, and
//! `register` for the pipelines of `mesh-core`.

#[cfg(feature = "rate-limit")]
pub use mesh_rate_limit as rate_limit;
#[cfg(feature = "timeout")]
pub use mesh_timeout as timeout;
