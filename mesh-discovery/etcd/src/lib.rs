//! Endpoints by etcd: a watched prefix, and registration under a lease.
//!
//! ```no_run
//! use mesh_core::{Endpoints, Target};
//! use mesh_discovery::{Discovery, Registrar};
//! use mesh_discovery_etcd::{Etcd, EtcdRegistrar, EtcdRegistrarSettings, EtcdSettings};
//! use std::net::SocketAddr;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mesh_core::BoxError> {
//! let servers = ["http://etcd-0:2379", "http://etcd-1:2379", "http://etcd-2:2379"];
//!
//! // who else is there: the set is always the last one that was good
//! let source = Etcd::new(EtcdSettings::new(servers, "/services/orders/"))?;
//! let (endpoints, driver) = Endpoints::new(source.updates());
//! tokio::spawn(driver);
//!
//! // and this one, until it drains
//! let registrar = EtcdRegistrar::new(EtcdRegistrarSettings::new(servers, "/services/orders/"))?;
//! let registration = registrar.register(Target::new(SocketAddr::from(([10, 0, 0, 7], 8080))));
//! // … serve …
//! registration.deregister().await;
//! # drop(endpoints);
//! # Ok(())
//! # }
//! ```
//!
//! # Keys and values
//! Each key under the prefix is an endpoint. What comes after the prefix is free; the registrar writes the address.
//! The value is JSON, or the address alone:
//!
//! ```text
//! /services/orders/10.0.0.7:8080   {"address":"10.0.0.7:8080","weight":2,"zone":"a","metadata":{"version":"7"}}
//! /services/orders/b               10.0.0.8:8080
//! ```
//!
//! `weight` is 1 when it is left out; other fields are left alone. A value that is neither is logged and skipped, and
//! the others go on; when the key had a good value before, that stays. Of two keys with the same address the first
//! counts.
//!
//! # Settings
//! As a source ([`EtcdSettings`]), in a spec `discovery: { etcd: { … } }`:
//!
//! | key | default | |
//! | --- | --- | --- |
//! | `endpoints` | required | the servers of one cluster, each `http://HOST:PORT` |
//! | `prefix` | required | ends with a separator: `/services/orders/` |
//! | `user`, `password` | none | whom to log in as |
//! | `grace` | `60s` | see [below](#when-etcd-forgets) |
//!
//! As a registrar ([`EtcdRegistrarSettings`]) there are `endpoints`, `prefix`, `user` and `password` again, and:
//!
//! | key | default | |
//! | --- | --- | --- |
//! | `id` | the address | the key is the prefix and this |
//! | `ttl` | `10s` | how long the key outlives an instance that died; renewed after a third of it |
//!
//! There is no TLS: a server `https://…` is refused when the settings are read.
//!
//! # When etcd fails
//! **The last good set stays**, for as long as it takes. The source asks for all keys at one revision, says them, and
//! watches from the next revision on. A call that is not answered within 5 s, and a connection on which a ping is not
//! answered (asked every 10 s, given 5 s), counts as lost; so does a server that is cut off from its leader. Then the
//! next server is tried, after a jittered backoff from 100 ms to 10 s, and asked for all keys anew. A watch that asks
//! for a revision which was compacted away asks for all keys anew too, and nothing is dropped in between.
//!
//! # When etcd forgets
//! An etcd that comes back without its data says that there are no endpoints, and then that there are the few that
//! have registered so far. Neither is the truth. So what a fresh answer lacks is believed gone only when etcd can be
//! believed to remember:
//!
//! - **The history was lost** when it is another cluster, when the revision, the election term or the revision of a key
//!   is smaller than it was. What is there is used at once; what is lacking is *held*: until something is there under
//!   the prefix, and `grace` has passed since. As long as nothing is there it is held without limit.
//! - **Nothing at all is left** under the prefix after a gap in what was heard, in the same history: all is held for
//!   `grace`.
//! - Otherwise what is lacking is gone at once. So is, always, what is deleted or expires under a watch: an etcd that
//!   tells of a deletion remembers.
//!
//! A key that appears again is no longer held.
//!
//! # Costs
//! One connection per source and per registration, one task or two for each; nothing per request. A change costs its
//! own size, not that of the set.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | the settings read from a spec, and `register` |
//! | `interop` | the tests of this crate against a real etcd |

mod client;
#[cfg(feature = "config")]
mod config;
mod outage;
mod registrar;
mod settings;
mod source;
mod value;
mod view;

#[cfg(feature = "config")]
pub use config::register;
pub use registrar::EtcdRegistrar;
pub use settings::{EtcdRegistrarSettings, EtcdSettings, SettingsError};
pub use source::Etcd;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
