//! Fault injection as a `tower::Layer`: calls are delayed, or aborted with a status or a reset, at rates exact to a
//! millionth.
//!
//! ```
//! use mesh_core::{BoxError, Kind, Refusal, units::Ratio};
//! use mesh_fault_injection::{Abort, FaultInjectionLayer};
//! use std::time::Duration;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let faults = FaultInjectionLayer::new()
//!     .delay(Duration::from_millis(100), "50%".parse()?)
//!     .abort(Abort::Status(503), Ratio::ONE)
//!     .results_only();
//! let mut service = ServiceBuilder::new()
//!     .layer(faults.clone())
//!     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)));
//!
//! let aborted = service.ready().await?.call(1).await.unwrap_err();
//! assert_eq!(aborted.rejection().unwrap().kind(), Kind::Fault);
//!
//! // every clone of the layer reads, retunes and switches the same faults, while it runs
//! assert_eq!(faults.handle().injected().aborts, 1);
//! faults.handle().switch(false);
//! assert_eq!(service.ready().await?.call(1).await?, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `delay` | none | `fixed`: how long, and `percent` of the calls |
//! | `abort` | none | [`Abort`]: an HTTP status, a gRPC status or a reset, and `percent` of the calls |
//! | `header` | no | requests may ask for faults of their own, within what is set |
//! | `max_active` | no bound | how many calls may be delayed at once |
//! | `until` | for ever | for how long faults are injected |
//! | `seed` | random | the same requests get the same faults |
//!
//! Delay and abort are drawn for on their own, so a call may be delayed and then aborted. A call is hit if 64 random
//! bits, scaled to a million, are below its parts per million (exact to 2⁻⁴⁴). A delayed call holds nothing of what stands
//! further in, and is not made before its time: whatever measures what is called, further in, sees nothing of the delay.
//!
//! **Asked for.** With `header`, a request that brings `x-envoy-fault-delay-request` (milliseconds),
//! `x-envoy-fault-abort-request` (a status) or `x-envoy-fault-abort-grpc-request` (a gRPC status) gets that fault, and
//! others get none; `x-envoy-fault-delay-request-percentage` and `x-envoy-fault-abort-request-percentage` (of aborts of
//! either sort; whole percent) lower its rate. The delay is never longer, and neither rate higher, than what is set; a kind
//! that is not set cannot be asked for. The headers go no further. With
//! [`results_only`](FaultInjectionLayer::results_only) there are no headers, and nobody asks.
//!
//! **The same again.** With `seed`, what a request suffers depends on nothing but the seed and its `x-request-id`, in this
//! and in any other process. Requests without one are numbered as they come.
//!
//! **For a time.** `until` is how long, from when the layer was made or retuned; after that it is off. A reload that changes
//! nothing gives no more time.
//!
//! **The answer.** In `mesh_core::http::governed` a gRPC request gets a gRPC status and any other an HTTP status, whichever was
//! set: by gRPC's own table. A reset has no answer: where the server is ours (`mesh-codec-http`) the connection is closed
//! hard (RST), the HTTP/2 stream reset; a server of hyper's (axum, tonic) is given a body that fails, and so closes an
//! HTTP/1 connection before a byte was written and resets an HTTP/2 stream; in a client the call fails. Only a HEAD in a server
//! of hyper's, where bodies are not asked for, is answered: 503.
//!
//! # What is shared
//! All state, by all clones of a [`FaultInjectionLayer`] and all services it makes;
//! [`handle`](FaultInjectionLayer::handle) is the state itself. [`FaultInjection::switch`] is the kill switch.
//!
//! # What it costs
//! No allocation and no lock for a call that nothing happens to. Off it is one branch; armed it draws once for both kinds
//! of fault. User instructions that one more layer adds around a small response (`cargo bench -p mesh-fault-injection
//! --bench instructions`, x86-64):
//!
//! | | first layer | second | third |
//! | --- | --- | --- | --- |
//! | off | 47 | 18 | 8 |
//! | armed, nothing drawn | 71 | 42 | 32 |
//! | tower-resilience's chaos layer, armed | 584 | 607 | |
//!
//! With a `seed` or `header` each call is looked at. A fault allocates: an abort its error, a delay its timer.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `fault_injection` in a spec; series `mesh_faults_injected_total{fault}` and `mesh_faults_active`, brought up to date each second |
//!
//! Aborts are also counted like every refusal: `mesh_rejections_total{layer="fault_injection"}`.

#[cfg(feature = "config")]
mod config;
mod draw;
mod faults;
mod layer;
#[cfg(feature = "config")]
mod pausing;
mod service;
mod settings;

#[cfg(feature = "config")]
pub use config::register;
pub use faults::{FaultInjection, Injected};
pub use layer::FaultInjectionLayer;
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use service::{Disturbed, DisturbedFuture};
pub use settings::{Abort, AbortSettings, DelaySettings, FaultSettings};

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
