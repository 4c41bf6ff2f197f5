//! HTTP to Dubbo: a request with JSON becomes a generic call, and its result JSON again.

mod argument;
mod call;
mod java_type;
mod mapping;
mod source;

pub use call::{BadRequest, Call, CallOptions, Received};
pub use java_type::{JavaType, JavaTypeError};
pub use mapping::{Generic, Mapping, Parameter};
pub use source::Source;
