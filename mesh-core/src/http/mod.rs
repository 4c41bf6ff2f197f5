//! The HTTP face of the contract: for axum, tonic, hyper, and the sidecar itself.
//!
//! [`governed`] puts layers around any service over `http::Request`: innermost the response's body and the error become
//! governed, outermost refusals become HTTP or gRPC answers. The service keeps its own error type.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use mesh_core::{GateLayer, Kind, Rejection, gate_fn, http::{CallBody, governed}};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let no_robots = gate_fn(|request: &mut http::Request<CallBody<Body>>| {
//!     let robot = request.headers().get("user-agent").is_some_and(|agent| agent.as_bytes().starts_with(b"robot"));
//!     if robot { Err(Rejection::new(Kind::Forbidden)) } else { Ok(()) }
//! });
//! let app = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(governed(GateLayer::new(no_robots).named("no_robots")));
//!
//! let request = http::Request::get("/").header("user-agent", "robot/1").body(Body::empty()).unwrap();
//! let response = app.oneshot(request).await.unwrap();
//! assert_eq!((response.status().as_u16(), &response.headers()["x-mesh-rejected-by"]), (403, &"no_robots".parse().unwrap()));
//! # }
//! ```

mod answer;
mod attributes;
mod body;
mod governed;
mod replay;
mod template;
mod view;

pub use answer::{answer, grpc_status, http_status};
pub use attributes::{KNOWN_ATTRIBUTES, http_attribute};
pub use body::{CallBody, GovernedBody};
pub use governed::{Answered, AnsweredFuture, GovernedLayer, Lifted, LiftedFuture, answered, governed, lift};
pub use replay::{Kept, ReplayBody};
pub use template::{PathTemplate, TemplateError, TemplateSegment};
pub use view::{deadline_from_grpc_timeout, host, is_grpc, parse_grpc_timeout};
