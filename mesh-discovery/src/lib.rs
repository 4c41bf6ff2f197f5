//! Endpoints over time: service discovery as streams of changes.

#[cfg(feature = "config")]
mod config;
mod fixed;

#[cfg(all(test, feature = "config"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::DiscoverySettings;
pub use fixed::{DuplicateAddress, Static};

use futures_core::Stream;
use mesh_core::Update;
use std::pin::Pin;

/// What a source says of its endpoints, for as long as it is polled.
///
/// A source that has nothing more to say ends; what it said last stays good.
pub type Updates = Pin<Box<dyn Stream<Item = Update> + Send>>;

/// A source of endpoints.
///
/// What becomes of the updates is [`Endpoints`](mesh_core::Endpoints)' part: `Endpoints::new(source.updates())` gives
/// the set and the driver that keeps it up to date.
pub trait Discovery: Send + Sync {
    /// Begins to look. The first update says all that is known; dropping the stream ends the search.
    fn updates(&self) -> Updates;
}
