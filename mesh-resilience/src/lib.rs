//! Resilience layers for tower, one feature each. Every layer is a crate of its own that can be used alone; this one
//! only gathers them.
//!
//! | feature | module | layer |
//! | --- | --- | --- |
//! | `timeout` | `timeout`, the crate `mesh-timeout` | gives up calls that take too long, and keeps deadlines |
//! | `circuit-breaker` | `circuit_breaker`, the crate `mesh-circuit-breaker` | refuses calls to what keeps failing, and tries it again |
//! | `concurrency-limit` | `concurrency_limit`, the crate `mesh-concurrency-limit` | so many calls at once, refused or waiting in turn |
//! | `fault-injection` | `fault_injection`, the crate `mesh-fault-injection` | delays and aborts calls at exact rates |
//! | `rate-limit` | `rate_limit`, the crate `mesh-rate-limit` | admits requests at a rate, exactly, without a lock |
//! | `retry` | `retry`, the crate `mesh-retry` | sends failed calls again, within a budget and to another endpoint |
//!
//! The feature `config` turns on the same feature of every layer that is on: settings read from a spec, and
//! `register` for the pipelines of `mesh-core`.

#[cfg(feature = "circuit-breaker")]
pub use mesh_circuit_breaker as circuit_breaker;
#[cfg(feature = "concurrency-limit")]
pub use mesh_concurrency_limit as concurrency_limit;
#[cfg(feature = "fault-injection")]
pub use mesh_fault_injection as fault_injection;
#[cfg(feature = "rate-limit")]
pub use mesh_rate_limit as rate_limit;
#[cfg(feature = "retry")]
pub use mesh_retry as retry;
#[cfg(feature = "timeout")]
pub use mesh_timeout as timeout;
