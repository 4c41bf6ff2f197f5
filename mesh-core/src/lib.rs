//! The layer contract of service governance, and the pipeline model made of it.
//!
//! A *gate* looks at a request, admits or refuses it, and hears how it ended: rate limits, breakers, concurrency
//! limits, metrics and traces are gates. [`GateLayer`] makes any gate a `tower::Layer`; [`Pipeline`] passes a whole
//! run of them in one loop, in an order that is data. What must wait, repeat or replace is an ordinary tower service.
//! Nothing here knows a protocol: HTTP comes with the feature `http`, others implement [`RequestView`], [`Head`] and
//! [`Governed`].
//!
//! ```
//! use mesh_core::{BoxError, GateLayer, Kind, Refusal, Rejection, gate_fn};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let odd_only = gate_fn(|n: &mut u32| if *n % 2 == 1 { Ok(()) } else { Err(Rejection::new(Kind::Forbidden)) });
//! let mut service = ServiceBuilder::new()
//!     .layer(GateLayer::new(odd_only).results_only())
//!     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n * 10)));
//!
//! assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 10);
//! let error = service.ready().await.unwrap().call(2).await.unwrap_err();
//! assert_eq!(error.rejection().unwrap().kind(), Kind::Forbidden);
//! # }
//! ```
//!
//! | feature | brings |
//! | --- | --- |
//! | `http` | [`governed`](http::governed): the contract for `http::Request` and `http::Response`, so for axum, tonic and hyper |
//! | `config` | [`spec`] and [`Registry`]: layers by name, settings read from a tree that keeps positions |
//!
//! What it costs is measured by the `benches` of the workspace and stated in `benches/results`.

mod attribute;
mod context;
mod endpoint;
mod endpoints;
mod gate;
mod gate_layer;
mod guards;
mod health;
mod live;
mod name;
mod open;
mod outcome;
pub mod pipeline;
mod reach;
mod rejection;
mod run;
mod slots;
#[cfg(feature = "config")]
pub mod spec;
pub mod time;
pub mod units;
mod view;

#[cfg(feature = "http")]
pub mod http;

pub use attribute::{Attribute, AttributeError, Scope};
pub use context::{Context, TraceContext};
pub use endpoint::{Address, Endpoint, EndpointId, EndpointState, Presence, Target};
pub use endpoints::{DriverHandle, EndpointSet, Endpoints, EndpointsDriver, Subscription, Update};
pub use gate::{At, Gate, GateFn, Hears, Pause, PausingGate, Ticket, Watch, gate_fn};
pub use gate_layer::{GateLayer, Gated, GatedFuture};
pub use guards::{Governed, Guards, Tap};
pub use health::{Health, HealthFlag};
pub use name::Name;
pub use open::Open;
pub use outcome::{Cause, Classifier, Code, End, Outcome, Side, Verdict, drop_as};
#[cfg(feature = "config")]
pub use pipeline::Registry;
pub use pipeline::{Pipeline, Protocol, Replay, Stage};
pub use reach::{NoContext, Reach, Record, ResultsOnly, Whole};
pub use rejection::{Answer, Kind, Refusable, Refusal, Rejection};
pub use slots::{Slots, thread_number};
pub use time::{Clock, Nanos, Timer};
pub use view::{Credentials, Head, HttpHead, Peer, RequestView};

/// The error of plain tower stacks.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
