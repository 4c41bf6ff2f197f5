//! The engine of the mesh sidecar as a library: a declarative spec in, listeners, routes and clusters out, made of
//! the layers that are registered.
//!
//! ```no_run
//! use mesh_proxy::{Engine, Layers, Plan, read};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "
//! listeners:
//!   web:
//!     bind: 127.0.0.1:8080
//!     routes: [ { respond: { body: hello } } ]
//! ";
//! let faults = |faults: Vec<read::Diagnostic>| format!("{faults:?}");
//! let document = read::read(text, "inline", &|_| None).map_err(faults)?;
//! let plan = Plan::check(&document, &Layers::stock()).map_err(faults)?;
//! let engine = Engine::start(plan)?; // its workers answer from now on
//! # drop(engine);
//! # Ok(()) }
//! ```
//!
//! | feature (all on by default) | layer |
//! | --- | --- |
//! | `access-log` | `access_log` |
//! | `circuit-breaker` | `circuit_breaker` |
//! | `concurrency-limit` | `concurrency_limit` |
//! | `fault-injection` | `fault_injection` |
//! | `metrics` | `metrics` |
//! | `rate-limit` | `rate_limit` |
//! | `retry` | `retry` |
//! | `timeout` | `timeout` |
//! | `trace` | `tracing` |
//!
//! `dns`, `etcd` and `file` are sources of endpoints.
//!
//! # Where things are
//! [`read`] turns YAML into a tree with positions, [`spec`] the tree into types, [`Plan`] checks them as a whole
//! against the registered [`Layers`], [`Engine`] runs a plan and takes another in its place, [`Reloader`] reads it anew.
//! [`admin`] shows what runs.

pub mod admin;
mod engine;
mod explain;
mod layers;
mod plan;
pub mod process;
pub mod read;
mod reference;
mod reload;
pub mod router;
mod schema;
pub mod spec;

pub use engine::{
    Changes, ClusterStatus, EndpointStatus, Engine, ListenerStatus, Reason, ReloadError, ReloadReport, RouteStatus,
    StartError,
};
pub use explain::{explain, explain_json, explain_mermaid};
pub use layers::Layers;
pub use mesh_codec_http::{Body, Http, HttpError, Request, Response};
pub use plan::Plan;
pub use reference::reference;
pub use reload::{Refused, Reloader};
pub use schema::{describe, schema};
