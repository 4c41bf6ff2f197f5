//! Endpoints over time: service discovery as streams of changes.
//!
//! ```
//! use mesh_core::{Endpoints, Target};
//! use mesh_discovery::{Discovery, Static};
//! use std::net::SocketAddr;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mesh_core::BoxError> {
//! let source = Static::new([Target::new(SocketAddr::from(([127, 0, 0, 1], 9001))).with_weight(2)])?;
//!
//! // any source gives a set, and the driver that keeps it up to date while it is polled
//! let (endpoints, driver) = Endpoints::new(source.updates());
//! let _driver = driver.spawn();
//! let set = endpoints.resolved(std::time::Duration::from_secs(5)).await.ok_or("nothing is known")?;
//! assert_eq!(set.endpoints()[0].weight(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Sources
//! | source | |
//! | --- | --- |
//! | [`Static`] | endpoints that never change |
#![cfg_attr(feature = "file", doc = "| [`File`] | a file that lists endpoints, watched (feature `file`) |")]
#![cfg_attr(not(feature = "file"), doc = "| `File` | a file that lists endpoints, watched (feature `file`) |")]
//! | `mesh-discovery-dns` | A, AAAA and SRV records |
//! | `mesh-discovery-etcd` | a watched prefix of etcd |
//!
//! One of your own implements [`Discovery`], whose contract says what a source owes; [`updates`] makes it of an async
//! loop, and [`Backoff`] says how long to wait for a registry that is down. A [`Registrar`] is the other direction: it
//! makes this service known.
//!
//! # What becomes of it
//! A source says what it knows as a stream of [`Update`]s: all there is first, then all again or the changes.
//! [`Endpoints`](mesh_core::Endpoints) makes one set of it at a time, in which an endpoint keeps its number, counts and
//! health over changes of its weight and for a minute after it left. The first change shows at once and those that
//! follow closely together, 10 ms later; what changes nothing makes no new set; when the source or its driver is
//! gone, the last set stays. A balancer such as `mesh-lb` works on the set, and [`DiscoverLayer`] puts the two into
//! any tower stack.
//!
//! # What it costs
//! Nothing per request, but for [`DiscoverLayer`]: one branch. A source runs where its driver does, off the path of
//! requests.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `Sources`: sources and registrars by name, read from a spec, as `{ static: [ "127.0.0.1:9001" ] }` |
//! | `file` | `File`, and its reading of JSON; another format is a function of its text |

mod backoff;
#[cfg(feature = "config")]
mod config;
#[cfg(feature = "file")]
mod file;
mod fixed;
mod layer;
mod registrar;
#[cfg(feature = "config")]
mod sources;
mod stream;

#[cfg(all(test, feature = "config"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

pub use backoff::Backoff;
#[cfg(feature = "config")]
pub use config::register;
#[cfg(feature = "file")]
pub use file::{File, FileSettings, FileWatch, ReadFile, read_json, register_file};
pub use fixed::{DuplicateAddress, Static};
pub use layer::{DiscoverLayer, Discovered, DiscoveredFuture};
/// Outcomes, refusals and endpoints, in the version that fits: a stack need not name that crate.
pub use mesh_core;
pub use registrar::{Leave, Registrar, Registration};
#[cfg(feature = "config")]
pub use sources::{Checked, CheckedRegistrar, CheckedSource, Sources};
pub use stream::{Say, updates};

use futures_core::Stream;
use mesh_core::{Target, Update};
use std::{pin::Pin, sync::Arc};

/// What a source says of its endpoints, for as long as it is polled. [`updates`] makes one of an async function.
///
/// A source that has nothing more to say ends; what it said last stays good.
pub type Updates = Pin<Box<dyn Stream<Item = Update> + Send>>;

/// A source of endpoints.
///
/// What becomes of the updates is [`Endpoints`](mesh_core::Endpoints)' part: `Endpoints::new(source.updates())` gives
/// the set and the driver that keeps it up to date, gathers changes that follow each other closely, and drops what
/// changes nothing.
///
/// # Contract
/// - **The first update is a [`Set`](Update::Set)**: all that is known. After it come changes, or whole sets again. Order
///   is kept, so a source sorts what its registry gives in no order; an address that is there twice counts once.
/// - **Nothing is said before something is known.** An empty set is an answer ("there are none"); a registry that does
///   not answer is silence, and who balances waits for the first result as long as it is told to.
/// - **A failure is not a change.** A source logs it (once for each change of state, not for each try), tries again
///   after a [`Backoff`], and says nothing meanwhile: the last good set stays. After a gap in what it has heard it
///   says a whole set again.
/// - **It ends only when nothing can change any more.** No error ends it.
/// - **Dropping the stream ends the search**: connections, timers and tasks go with it. Each call of `updates` is a
///   search of its own.
pub trait Discovery: Send + Sync {
    /// Begins to look, when the stream is polled first; inside a tokio runtime, unless the source says otherwise.
    fn updates(&self) -> Updates;

    /// The endpoints, where they never change: such a set needs no driver. Default: `None`, they may change.
    fn fixed(&self) -> Option<&[Target]> {
        None
    }
}

/// Whatever a shared one does.
impl<D: Discovery + ?Sized> Discovery for Arc<D> {
    fn updates(&self) -> Updates {
        (**self).updates()
    }

    fn fixed(&self) -> Option<&[Target]> {
        (**self).fixed()
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
