//! Endpoints over time: service discovery as streams of changes.
//!
//! ```
//! use mesh_core::Target;
//! use mesh_discovery::Static;
//!
//! let source = Static::new([Target::new("127.0.0.1:9001".parse::<mesh_core::Address>()?).with_weight(2)])?;
//! assert_eq!(source.endpoints().load().endpoints()[0].weight(), 2);
//! # Ok::<(), mesh_core::BoxError>(())
//! ```
//!
//! | source | |
//! | --- | --- |
//! | [`Static`] | endpoints that never change |
//!
//! A source says what it knows as a stream of [`Update`]s: all there is first, then all again or the changes.
//! [`Endpoints`](mesh_core::Endpoints) makes one set of it at a time, in which an endpoint keeps its number, counts and
//! health over changes of its weight and for a minute after it left.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `DiscoverySettings`: the sources read from a spec, as `{ static: [ "127.0.0.1:9001" ] }` |

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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
