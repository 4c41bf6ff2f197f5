//! The answer that leads to another place.

use crate::spec::{LocationPart, RedirectSpec};
use http::{HeaderValue, header::LOCATION};
use mesh_codec_http::{Request, Response};
use mesh_core::{
    Kind, Rejection,
    http::{GovernedBody, PathTemplate, host},
};

/// A redirect, with the template that its variables come from.
#[derive(Debug)]
pub(super) struct Redirect {
    pub(super) spec: RedirectSpec,
    pub(super) template: Option<PathTemplate>,
}

impl Redirect {
    pub(super) fn answer(&self, request: &Request) -> Result<Response, Rejection> {
        let location = HeaderValue::try_from(self.location(request))
            .map_err(|error| Rejection::new(Kind::Malformed).because(error))?;
        let head_only = *request.method() == http::Method::HEAD;
        let mut response = http::Response::new(GovernedBody::own("").bodyless(head_only));
        *response.status_mut() = self.spec.status;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// A whole URI if it names a scheme, one without a scheme if it names a host, else a path (RFC 9110, section
    /// 10.2.2): what it does not name stays as the client used it, whatever stands between us.
    fn location<B>(&self, request: &http::Request<B>) -> String {
        let mut location = String::with_capacity(128);
        if let Some(scheme) = self.spec.scheme {
            location.push_str(scheme.as_str());
            location.push(':');
        }
        let names_host = self.spec.scheme.is_some() || self.spec.host.is_some();
        if names_host {
            location.push_str("//");
            match &self.spec.host {
                Some(authority) => location.push_str(authority.as_str()),
                // the port belongs to the scheme that is left
                None => location.push_str(host(request)),
            }
        }
        let start = location.len();
        let query = self.push_path(&mut location, request.uri().path());
        if !names_host {
            // `//other.example`, from a variable, would be another host
            let slashes = location[start..].bytes().take_while(|byte| *byte == b'/').count();
            location.drain(start..start + slashes.saturating_sub(1));
        }
        if let Some(query) = request.uri().query().filter(|_| !query) {
            location.push('?');
            location.push_str(query);
        }
        location
    }

    /// Whether there is a query in it.
    fn push_path(&self, location: &mut String, path: &str) -> bool {
        let Some(parts) = self.spec.path.as_ref().map(|path| path.parts()) else {
            // `*` and the empty path of a CONNECT are no places
            location.push_str(if path.starts_with('/') { path } else { "/" });
            return false;
        };
        let mut query = false;
        for part in parts {
            match part {
                LocationPart::Literal(text) => {
                    query |= text.contains('?');
                    location.push_str(text);
                }
                LocationPart::Variable(name) => {
                    let value = self.template.as_ref().and_then(|template| template.variable(path, name));
                    match value.unwrap_or_default() {
                        value if query => push_parameter(location, value),
                        value => location.push_str(value),
                    }
                }
            }
        }
        query
    }
}

/// A part of a path as the value of a parameter: what separates parameters there does not do so here.
fn push_parameter(location: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => location.push_str("%26"),
            '+' => location.push_str("%2B"),
            ';' => location.push_str("%3B"),
            '=' => location.push_str("%3D"),
            other => location.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::spec::Node;
    use serde_json::json;

    fn location(redirect: serde_json::Value, template: Option<&str>, uri: &str) -> String {
        let template = template.map(|template| template.parse().expect("a template"));
        let redirect = Redirect { spec: Node::from(redirect).deserialize().expect("good"), template };
        redirect.location(&http::Request::get(uri).header("host", "shop.example:8080").body(()).expect("good"))
    }

    #[test]
    fn what_it_does_not_name_stays() {
        for (redirect, uri, expected) in [
            (json!({ "path": "/new" }), "/old?a=1", "/new?a=1"),
            (json!({ "path": "/new?b=2" }), "/old?a=1", "/new?b=2"),
            (json!({ "host": "other.example:81" }), "/old?a=1", "//other.example:81/old?a=1"),
            (json!({ "scheme": "https" }), "/old?a=1", "https://shop.example/old?a=1"),
            (json!({ "scheme": "https", "host": "a.b", "path": "/x" }), "/", "https://a.b/x"),
            (json!({ "scheme": "https" }), "//x", "https://shop.example//x"),
            (json!({ "scheme": "https" }), "*", "https://shop.example/"),
        ] {
            assert_eq!(location(redirect.clone(), None, uri), expected, "{redirect} {uri}");
        }
    }

    #[test]
    fn variables_lead_nowhere_else() {
        for (template, path, uri, expected) in [
            ("/users/{id}/orders", "/orders?user={id}", "/users/7/orders", "/orders?user=7"),
            (
                "/users/{id}/orders",
                "/orders?user={id}&x=1",
                "/users/7&x=2+=;/orders",
                "/orders?user=7%26x%3D2%2B%3D%3B&x=1",
            ),
            ("/users/{id}", "/{id}", "/users/a%20b", "/a%20b"),
            ("/old/{*rest}", "/new/{rest}", "/old/a/b?q", "/new/a/b?q"),
            ("/old/{*rest}", "/new/{rest}", "/old/", "/new/"),
            ("/old/{*rest}", "/{rest}", "/old//evil.example/x", "/evil.example/x"),
        ] {
            assert_eq!(location(json!({ "path": path }), Some(template), uri), expected, "{template} {path} {uri}");
        }
    }
}
