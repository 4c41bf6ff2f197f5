//! Which route a request takes. A decision core: no sockets, no pipelines, no clock.
//!
//! The first route that matches wins, whatever makes it fast: hosts are looked up in a table, paths in a tree of their
//! segments, and only the routes found there are asked for their methods, header fields, parameters and regular
//! expressions. So the cost depends on how long host and path are and on how many routes have the same ones, not on
//! how many routes there are; only routes with a regular expression for their path are tried one by one. Nothing is
//! allocated.
//!
//! ```
//! use mesh_core::spec::Node;
//! use mesh_proxy::{router::Router, spec::MatchSpec};
//!
//! let matches = |json: serde_json::Value| Node::from(json).deserialize::<MatchSpec>();
//! let router = Router::new([
//!     (matches(serde_json::json!({ "host": "*.shop.example", "path": { "template": "/users/{id}" } }))?, "users"),
//!     (matches(serde_json::json!({ "path": { "prefix": "/" } }))?, "everything"),
//! ]);
//! let request = http::Request::get("/users/7").header("host", "eu.shop.example:8080").body(()).unwrap();
//! assert_eq!(router.route(&request), Some(&"users"));
//! # Ok::<(), mesh_core::spec::Invalid>(())
//! ```
//!
//! # What it costs
//! To find a route, with four header fields in the request (`cargo bench -p mesh-proxy --bench instructions` and
//! `--bench routing`; nanoseconds on a busy virtual machine):
//!
//! | routes | instructions | ns |
//! | --- | ---: | ---: |
//! | one, prefix `/` | 221 | 44 |
//! | 10,000 on 1,000 hosts: an exact path | 1,377 | 154 |
//! | … a prefix of three segments | 1,795 | 190 |
//! | … a template with two variables, five segments | 2,350 | 267 |
//! | … a header asked for in vain, then the last route of the host | 1,611 | 164 |
//! | … a domain's route | 1,341 | 148 |
//! | … no such host | 873 | 85 |

mod build;
mod conditions;
mod index;

use crate::spec::MatchSpec;
use build::Builder;
use conditions::Conditions;
use index::Index;
use mesh_core::http::host;

/// Routes in their order; the first that matches wins.
#[derive(Debug)]
pub struct Router<T> {
    index: Index,
    routes: Vec<Route<T>>,
}

#[derive(Debug)]
struct Route<T> {
    /// What the index does not know; most routes have nothing of it.
    conditions: Option<Box<Conditions>>,
    target: T,
}

impl<T> Router<T> {
    /// A router over these routes: what each takes, and where it leads.
    ///
    /// # Panics
    /// There are more than four billion.
    pub fn new(routes: impl IntoIterator<Item = (MatchSpec, T)>) -> Self {
        let mut builder = Builder::default();
        let routes = routes.into_iter().zip(0_u32..).map(|((matches, target), ordinal)| {
            builder.insert(ordinal, matches.host.as_ref(), matches.path.as_ref());
            Route { conditions: Conditions::of(matches).map(Box::new), target }
        });
        let routes = routes.collect();
        Self { index: builder.build(), routes }
    }

    /// The route of a request whose path is [normal](mesh_codec_http::forward::normalise).
    pub fn route<B>(&self, request: &http::Request<B>) -> Option<&T> {
        let holds = |ordinal: u32| {
            self.routes[ordinal as usize].conditions.as_deref().is_none_or(|conditions| conditions.hold(request))
        };
        let ordinal = self.index.find(|| host(request), request.uri().path(), holds)?;
        Some(&self.routes[ordinal as usize].target)
    }
}

#[cfg(test)]
mod tests;
