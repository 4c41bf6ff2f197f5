//! Retries as a `tower::Layer`.

#[cfg(feature = "http")]
mod bodies;
mod budget;
mod conditions;
#[cfg(feature = "config")]
mod config;
mod layer;
mod policy;
mod repeat;
mod service;
mod settings;
mod sync;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "http")]
pub use bodies::{Bodies, Causes, Unknown};
pub use conditions::{Condition, Conditions};
#[cfg(feature = "config")]
pub use config::register;
pub use layer::{RetryHandle, RetryLayer};
pub use policy::Verdict;
pub use repeat::{Judged, Repeat, Results, Spoken, Unchosen};
pub use service::{Retry, RetryFuture};
pub use settings::{BackoffSettings, BudgetSettings, RetrySettings};
