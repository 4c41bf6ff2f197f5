//! Calls and their answers.

mod argument;
mod attachments;
mod build;
mod descriptor;
mod recycled;
mod request;
mod response;

pub(crate) use argument::argument;
pub use build::RequestBuilder;
pub use request::Request;
pub(crate) use response::failure;
pub use response::{Answer, Response, exceptions_fail};
