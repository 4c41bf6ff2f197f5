//! The Hessian 2.0 serialization, as Dubbo uses it.

mod error;
mod limits;

pub use error::{Error, ErrorKind, Limit};
pub use limits::Limits;
