//! Which route a request takes. A decision core: no sockets, no pipelines.

use crate::spec::{HostPattern, MatchSpec, PathPattern};
use http::Method;
use mesh_core::Name;

/// Routes in their order; the first that matches wins.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<Route<T>>,
}

/// A route and where it leads.
#[derive(Debug)]
pub(crate) struct Route<T> {
    /// Its name.
    pub name: Name,
    /// What it takes.
    pub matches: MatchSpec,
    /// Where it leads.
    pub target: T,
}

impl<T> Router<T> {
    /// A router over these routes.
    pub(crate) fn new(routes: Vec<Route<T>>) -> Self {
        Self { routes }
    }

    /// The route of a request: its host without the port, its normalised path without the query, its method.
    pub(crate) fn route(&self, host: &str, path: &str, method: &Method) -> Option<&Route<T>> {
        self.routes.iter().find(|route| route.matches.takes(host, path, method))
    }
}

impl MatchSpec {
    fn takes(&self, host: &str, path: &str, method: &Method) -> bool {
        self.path.as_ref().is_none_or(|pattern| pattern.takes(path))
            && self.host.as_ref().is_none_or(|pattern| pattern.takes(host))
            && (self.methods.is_empty() || self.methods.contains(method))
    }
}

impl HostPattern {
    /// Hosts are compared without regard to case; a trailing dot does not count.
    fn takes(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        match self {
            Self::Exact(exact) => host.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Below(domain) => {
                host.len() > domain.len() && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain.as_bytes())
            }
        }
    }
}

impl PathPattern {
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact.0,
            Self::Prefix(prefix) => match path.strip_prefix(prefix.0.as_str()) {
                // whole segments: `/v1` takes `/v1` and `/v1/x`, not `/v10`
                Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.0.ends_with('/'),
                None => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(specs: &[(&'static str, &str)]) -> Router<&'static str> {
        let route = |(name, matches): &(&'static str, &str)| Route {
            name: Name::intern(name),
            matches: mesh_core::spec::Node::from(serde_json::from_str::<serde_json::Value>(matches).unwrap())
                .deserialize()
                .unwrap(),
            target: *name,
        };
        Router::new(specs.iter().map(route).collect())
    }

    #[test]
    fn the_first_match_wins() {
        let router = router(&[
            ("exact", r#"{"host": "Shop.example", "path": {"exact": "/a"}}"#),
            ("below", r#"{"host": "*.shop.example"}"#),
            ("posts", r#"{"path": {"prefix": "/v1"}, "methods": ["POST", "PUT"]}"#),
            ("v1", r#"{"path": {"prefix": "/v1/"}}"#),
            ("root", r#"{"path": {"prefix": "/"}, "methods": ["GET"]}"#),
        ]);
        for (host, path, method, expected) in [
            ("SHOP.example", "/a", "GET", Some("exact")),
            ("shop.example.", "/a", "GET", Some("exact")),
            ("shop.example", "/a/", "GET", Some("root")),
            ("a.shop.example", "/x", "DELETE", Some("below")),
            ("a.b.SHOP.example", "/x", "DELETE", Some("below")),
            ("xshop.example", "/x", "DELETE", None),
            (".shop.example", "/x", "DELETE", None),
            ("h", "/v1", "POST", Some("posts")),
            ("h", "/v1/x", "PUT", Some("posts")),
            ("h", "/v10", "POST", None),
            ("h", "/v1", "DELETE", None),
            ("h", "/v1/", "DELETE", Some("v1")),
            ("", "/", "GET", Some("root")),
        ] {
            let method: Method = method.parse().unwrap();
            let found = router.route(host, path, &method).map(|route| route.target);
            assert_eq!(found, expected, "{method} {host} {path}");
        }
    }
}
