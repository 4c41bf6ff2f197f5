//! HTTP/1.1, HTTP/2 and gRPC for mesh proxies: server side, per-worker upstream pool, translation

mod body;
mod error;
pub mod forward;
mod protocol;
mod replay;
pub mod server;
pub mod upstream;

pub use body::Body;
pub use error::{HttpError, UpstreamError, UpstreamErrorKind};
pub use protocol::{Http, Request, Response};
