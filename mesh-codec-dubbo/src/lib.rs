//! Dubbo for proxies, servers and clients: Dubbo2 over a connection as tower services, and Hessian2.
//!
//! A provider and a consumer, with the layers of the workspace or tower's own between them:
//!
//! ```
//! use mesh_codec_dubbo::{Answer, DubboError, Request, Response, client::{self, Client}, server::{self, Server}};
//! use mesh_core::{Endpoint, RequestView, Target};
//! use mesh_net::Drain;
//! use std::sync::Arc;
//! use tokio::net::TcpListener;
//! use tower::{Service, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let endpoint = Endpoint::new(Target::new(listener.local_addr()?));
//! let drain = Drain::new();
//! let watch = drain.watch();
//! tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let shop = service_fn(|call: Request| {
//!         let text = format!("{} of {}", call.method(), call.service());
//!         std::future::ready(Ok::<_, DubboError>(Response::value(&call, |writer| writer.string(&text))))
//!     });
//!     let _ = Server::new(server::Options::default()).serve(stream, Arc::default(), shop, watch).await;
//!     std::io::Result::Ok(())
//! });
//!
//! let mut client = Client::new(&endpoint, client::Options::default());
//! let response = client.call(Request::of("demo.Shop", "order").build()).await?;
//! let Answer::Value(mut value) = response.answer()? else { panic!("{response:?}") };
//! assert_eq!(value.read_text()?.and_then(|text| text.as_str()), Some("order of demo.Shop"));
//! # Ok(()) }
//! ```
//!
//! | part | what it does |
//! | --- | --- |
//! | [`server`] | one accepted connection in, calls out to a service; answers in the order in which they are done; heartbeats, deadlines, graceful end |
//! | [`client`] | calls to one provider over one connection that they share; ids, heartbeats, "read only", reconnecting |
//! | [`Request`], [`Response`] | a call and its answer, read as far as somebody asks; attachments patched in place |
//! | [`Dubbo`] | the protocol of the pipelines of `mesh-core`, with its attributes and its replay |
//! | [`DubboError`] | what a call ends with when there is no answer, and the status that a consumer sees |
//! | [`frame`] | headers, events, and a codec of `tokio_util` |
//! | [`hessian2`] | the serialization: reader and walk, writer, values, serde and JSON |
//!
//! Hessian2 alone: [`hessian2`] needs none of the rest.
//!
//! # What it costs
//! Past values no allocation, and time linear in the bytes. Frames, calls and patches of attachments take none beside the
//! buffers either (`tests/allocations.rs`). Values in memory take up to 80 bytes each, and the bytes of their strings and
//! binaries; [`hessian2::Limits`] bounds them.

mod call;
pub mod client;
mod error;
pub mod frame;
pub mod hessian2;
mod io;
mod protocol;
pub mod server;
#[cfg(feature = "transcode")]
pub mod transcode;

pub use call::{Answer, Request, RequestBuilder, Response, exceptions_fail};
pub use error::{DubboError, UpstreamError, UpstreamErrorKind};
pub use protocol::Dubbo;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
