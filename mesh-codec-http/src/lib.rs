//! HTTP/1.1, HTTP/2 and gRPC for proxies: a server side, a pooled upstream side, and one service between them.
//!
//! [`server`] serves a connection with any service from [`Request`] to [`Response`]; [`upstream::Upstream`] is such a
//! service; what stands between them sees heads that [`forward`] has made fit to be passed on. Refusals and failures are
//! [`HttpError`]s, which the server answers.
//!
//! ```
//! use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};
//! use mesh_codec_http::{server::{Options, Server}, upstream::{Upstream, UpstreamOptions}};
//! use mesh_core::{Endpoint, Target};
//! use mesh_net::{Acceptor, Drain, ListenOptions};
//!
//! /// Proxies every connection to one endpoint until the drain starts. Run it on a runtime of one thread.
//! async fn proxy(listen: SocketAddr, endpoint: SocketAddr, drain: Drain) -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::new(Options::default());
//!     let upstream = Upstream::new(&Endpoint::new(Target::new(endpoint)), UpstreamOptions::default());
//!     let listener = ListenOptions::default().bind(listen, NonZeroUsize::MIN)?.into_iter().next().ok_or("no socket")?;
//!     let mut acceptor = Acceptor::new(listener, &drain.watch())?;
//!     while let Some(accepted) = acceptor.accept().await? {
//!         let serving = server.serve(accepted.stream, Arc::new(accepted.peer), upstream.clone(), drain.watch());
//!         tokio::spawn(async move {
//!             let _until_the_end = accepted.guard;
//!             serving.await
//!         });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! | part | what it does |
//! | --- | --- |
//! | [`server`] | one accepted connection in, requests out to a service; errors become answers; header, idle and age limits; graceful end |
//! | [`forward`] | what a proxy does to heads: hop-by-hop fields, `x-forwarded-*`, `x-request-id`, authority, paths, `grpc-timeout`, translation |
//! | [`upstream`] | a request to one endpoint over a pooled connection of the calling thread; one retry where nothing can have happened |
//! | [`Http`] | the protocol of the pipelines, with its replay |
//!
//! # What it costs
//! Nine allocations per proxied HTTP/1.1 request with both sides and a new `x-request-id`, hyper's included, once the
//! connections are warm. Options and their defaults stand at [`server::Options`] and [`upstream::UpstreamOptions`].

mod body;
mod error;
pub mod forward;
mod protocol;
mod replay;
pub mod server;
pub mod upstream;
mod websocket;

pub use body::Body;
pub use error::{HttpError, UpstreamError, UpstreamErrorKind};
pub use protocol::{Http, Request, Response};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
