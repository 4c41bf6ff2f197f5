//! Timeouts and deadlines as a tower layer, told apart from cancellation.

#[cfg(feature = "config")]
mod config;
mod deadline;
mod layer;
mod limits;
mod service;
mod settings;

#[cfg(feature = "config")]
pub use config::register;
pub use layer::{TimeoutHandle, TimeoutLayer};
pub use service::{Timeout, TimeoutFuture};
pub use settings::TimeoutSettings;
