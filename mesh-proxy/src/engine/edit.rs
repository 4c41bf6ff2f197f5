//! What a route changes of a request before it goes on, made ready when the configuration is.

use crate::spec::{AbsolutePath, HeaderOps, PathPattern, RouteSpec};
use bytes::Bytes;
use http::{
    HeaderValue,
    header::HOST,
    uri::{Authority, PathAndQuery, Uri},
};
use mesh_codec_http::Request;
use mesh_core::{Kind, Rejection};

/// `rewrite` and `headers.request`. Done once, before the layers of the route: they see what the upstream gets, and so
/// does a cluster that one of them falls back to.
#[derive(Debug)]
pub(super) struct RequestEdit {
    prefix: Option<PrefixRewrite>,
    host: Option<(Authority, HeaderValue)>,
    headers: HeaderOps,
}

/// The first part of a path, and what stands in its place.
#[derive(Debug)]
struct PrefixRewrite {
    /// How many bytes of the path go; a slash at their end is not counted.
    matched: usize,
    by: AbsolutePath,
}

impl RequestEdit {
    /// `None`: the route changes nothing.
    pub(super) fn of(spec: &RouteSpec) -> Option<Self> {
        let matched = match &spec.matches.path {
            Some(PathPattern::Prefix(path) | PathPattern::Exact(path)) => path.0.strip_suffix('/').unwrap_or(&path.0),
            _ => "",
        };
        let prefix = spec.rewrite.prefix.clone().map(|by| PrefixRewrite { matched: matched.len(), by });
        let host = spec.rewrite.host.as_ref().and_then(|authority| {
            // what an authority may have, a field may have
            Some((authority.clone(), HeaderValue::from_str(authority.as_str()).ok()?))
        });
        let headers = spec.headers.request.clone();
        (prefix.is_some() || host.is_some() || !headers.is_empty()).then_some(Self { prefix, host, headers })
    }

    /// Allocates where a path is rewritten.
    pub(super) fn apply(&self, request: &mut Request) -> Result<(), Rejection> {
        self.headers.apply(request.headers_mut());
        if let Some(prefix) = &self.prefix {
            let path = prefix.apply(request.uri().path());
            set_path(request, path)?;
        }
        if let Some((authority, value)) = &self.host {
            // where it stands is what tells HTTP/1 from HTTP/2
            if request.uri().authority().is_some() {
                let mut parts = std::mem::take(request.uri_mut()).into_parts();
                parts.authority = Some(authority.clone());
                *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
            } else {
                request.headers_mut().insert(HOST, value.clone());
            }
        }
        Ok(())
    }
}

impl PrefixRewrite {
    /// There is one slash between the two parts, whichever of them brings it.
    fn apply(&self, path: &str) -> String {
        let by = self.by.0.as_str();
        match path.get(self.matched..).unwrap_or_default() {
            "" => by.to_owned(),
            rest => {
                let by = by.strip_suffix('/').unwrap_or(by);
                [by, rest].concat()
            }
        }
    }
}

/// Another path, the same query.
pub(super) fn set_path(request: &mut Request, mut path: String) -> Result<(), Rejection> {
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let path = PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|error| malformed(error.into()))?;
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
    Ok(())
}

fn malformed(error: http::Error) -> Rejection {
    Rejection::new(Kind::Malformed).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_whole_segments() {
        for (matched, by, path, expected) in [
            ("/v1", "/", "/v1/x", "/x"),
            ("/v1", "/", "/v1", "/"),
            ("/v1", "/", "/v1/", "/"),
            ("/v1/", "/", "/v1/x", "/x"),
            ("/v1", "/v2", "/v1/x/y", "/v2/x/y"),
            ("/v1", "/v2/", "/v1/x", "/v2/x"),
            ("/v1", "/v2", "/v1", "/v2"),
            ("/v1", "/v2/", "/v1", "/v2/"),
            ("/v1/", "/v2", "/v1/", "/v2/"),
            ("/", "/app", "/x", "/app/x"),
            ("/", "/app", "/", "/app/"),
            ("/v1", "/", "/v1//x", "//x"),
        ] {
            let prefix = PrefixRewrite {
                matched: matched.strip_suffix('/').unwrap_or(matched).len(),
                by: AbsolutePath(by.to_owned()),
            };
            assert_eq!(prefix.apply(path), expected, "{matched} by {by} in {path}");
        }
    }
}
