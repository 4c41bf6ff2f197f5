//! Endpoints by DNS: A, AAAA and SRV records, kept as long as they live.
//!
//! ```no_run
//! use mesh_core::Endpoints;
//! use mesh_discovery::Discovery;
//! use mesh_discovery_dns::{Dns, DnsSettings};
//!
//! # async fn run() {
//! let orders = Dns::new(DnsSettings::host("orders.default.svc", 8080));
//! let (endpoints, driver) = Endpoints::new(orders.updates());
//! let _driver = driver.spawn();
//! // or a balanced service in one go: `mesh_discovery::DiscoverLayer::new(orders)`
//! # }
//! ```
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | [`query`](DnsSettings::query) | | a name whose addresses (A, AAAA) are the endpoints, at one port; or a service (SRV) |
//! | [`server`](DnsSettings::server) | those of the system | who is asked |
//! | [`family`](DnsSettings::family) | `prefer_ip4` | IPv4 or else IPv6; `ip4`, `ip6` or `both` |
//! | [`min_ttl`](DnsSettings::min_ttl) | 1 s | an answer is good for at least so long |
//! | [`max_ttl`](DnsSettings::max_ttl) | 5 min | and at most so long |
//! | [`grace`](DnsSettings::grace) | 30 s | how long endpoints stay when the name has none any more |
//! | [`timeout`](DnsSettings::timeout) | 2 s | how long a server may take |
//!
//! # When it asks
//! At once, and then whenever the shortest TTL of an answer is over, between `min_ttl` and `max_ttl`, and up to a tenth
//! of that later: at random, so that not all who began together ask together, and never earlier, since a cache in
//! between would only give what it has left. There is no cache here. The whole set is said after each answer; it is
//! ordered by address, so one that did not change is no change.
//!
//! # What it makes of an answer
//! - **Records.** They are the endpoints. Of a service the targets with the lowest priority are, each at its port, at
//!   all its addresses with the weight of its record; weight 0 beside others gets a hundredth of weight 1 (RFC 2782: "a
//!   very small chance"), and where two targets share an address the weights add up.
//! - **No answer, or that of a server in trouble** (time-out, `SERVFAIL`, `REFUSED`, ...): nobody knows, so what is known
//!   stays, for as long as it takes. It is asked again after 100 ms, growing to 10 s, with jitter. Each question of a
//!   query is remembered by itself: where the addresses of one target cannot be asked, its last ones stay while
//!   the others change.
//! - **No such name, or no such records** (`NXDOMAIN`, an empty answer): there are none. A name that never had any has
//!   an empty set at once, so calls are refused and need not wait. A name that had some keeps them for `grace`, in which
//!   it is asked again: one deployment that leaves a name empty for a moment, or one server that starts before its
//!   zone does, is no reason to throw every call away. Endpoints that are really gone refuse connections, and a balancer
//!   or breaker above sees that. Of the two ways in use this is the middle one: Envoy drains a cluster at once, gRPC
//!   and linkerd keep the last endpoints for ever. Such an answer is good for the time it says, 5 s where it says none,
//!   and 30 s at the most.
//!
//! Changes between these are logged, once each.
//!
//! # Names
//! With the servers of the system, the search list and the hosts file count as they do for other programs, except that
//! a failure never moves the search on to the next domain. With a `server` of one's own names are complete.
//!
//! # What it costs
//! Nothing per request. A set costs one question for each TTL (with `both` families two, of a service one more for each
//! target), asked where its driver runs; an answer that changes nothing makes no new set.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | [`register`]: `{ dns: { name: orders.default.svc, port: 8080 } }`, `{ dns: { srv: _grpc._tcp.orders } }` in a spec |

mod client;
#[cfg(feature = "config")]
mod config;
mod resolve;
mod schedule;
mod settings;
mod source;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use settings::{DnsQuery, DnsSettings, Family};
pub use source::Dns;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
