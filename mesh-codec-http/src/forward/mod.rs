//! What a proxy does to the head of a message that it passes on. Pure functions over `http` types; no I/O.
//!
//! Each thing is done once, at one place:
//!
//! | who | when | does |
//! | --- | --- | --- |
//! | server side | a request came | [`received`]: hop-by-hop fields go, `x-forwarded-*` and `x-request-id` are written, `host` is settled |
//! | router | before it matches | [`normalise`] of the path |
//! | upstream side | before a request is sent | [`to_http1`] or [`to_http2`], then [`shrink_grpc_timeout`] |
//! | upstream side | a response came | [`strip_response`]: hop-by-hop fields and `x-mesh-rejected-by` go |
//!
//! So between the two sides a message holds end-to-end fields only, and what the layers see is what the upstream gets.
//! The form of a request in between is the one it came in: HTTP/1 ones have a path in their URI and the authority in
//! `host` (an absolute form has been taken apart), HTTP/2 ones have both in their URI and no `host` (unless there was
//! no `:authority`). Where both sides speak the same version nothing is rebuilt.
//!
//! The names of a head are looked at in one pass that allocates nothing; the map is searched only for what was found.

mod deadline;
mod fields;
mod path;
mod received;
mod request_id;
mod response;
mod translate;

pub use deadline::{format_grpc_timeout, shrink_grpc_timeout};
pub use path::{Malformed, Slashes, normalise};
pub use received::{Forwarded, ReceivedHead, RequestId, Rules, received};
pub use response::strip_response;
pub use translate::{to_http1, to_http2};
