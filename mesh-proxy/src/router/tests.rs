use super::*;
use crate::spec::{HostPattern, PathPattern, StringMatcher};
use http::{Method, Request};
use mesh_core::spec::Node;
use proptest::{
    prelude::*,
    sample::{Index as Chosen, select},
};
use serde_json::{Value, json};

fn matches(json: Value) -> MatchSpec {
    Node::from(json).deserialize().expect("a good match")
}

fn request(method: &str, host: &str, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).header("host", host).body(()).expect("a good request")
}

#[test]
fn the_first_match_wins() {
    let routes = [
        ("exact", json!({ "host": "Shop.example.", "path": { "exact": "/a" } })),
        ("below", json!({ "host": "*.shop.example" })),
        ("posts", json!({ "path": { "prefix": "/v1" }, "methods": ["POST", "PUT"] })),
        ("v1", json!({ "path": { "prefix": "/v1/" } })),
        ("orders", json!({ "path": { "template": "/users/{id}/orders" } })),
        ("me", json!({ "path": { "exact": "/users/me/orders" } })),
        ("my", json!({ "path": { "exact": "/users/me/items" } })),
        ("files", json!({ "path": { "template": "/files/{*rest}" }, "methods": ["PUT"] })),
        ("numbers", json!({ "path": { "regex": "/n/[0-9]+" } })),
        ("canary", json!({ "path": { "prefix": "/c" }, "headers": { "X-Canary": "true" } })),
        ("version", json!({ "path": { "prefix": "/c" }, "query": { "v": { "prefix": "2." } } })),
        ("root", json!({ "path": { "prefix": "/" }, "methods": ["GET"] })),
        ("options", json!({ "methods": ["OPTIONS"] })),
    ];
    let router = Router::new(routes.map(|(name, json)| (matches(json), name)));
    for (host, path, method, expected) in [
        ("SHOP.example", "/a", "GET", Some("exact")),
        ("shop.example.:80", "/a", "GET", Some("exact")),
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
        ("h", "/users/me/orders", "DELETE", Some("orders")),
        ("h", "/users/me/items", "DELETE", Some("my")),
        ("h", "/users//orders", "DELETE", None),
        ("h", "/files/", "PUT", Some("files")),
        ("h", "/files/a//b", "PUT", Some("files")),
        ("h", "/files", "PUT", None),
        ("h", "/n/12", "DELETE", Some("numbers")),
        ("h", "/n/12/", "DELETE", None),
        ("h", "/c?v=2.1", "DELETE", Some("version")),
        ("h", "/c?v=1", "DELETE", None),
        ("h", "*", "OPTIONS", Some("options")),
        ("", "/", "GET", Some("root")),
    ] {
        let found = router.route(&request(method, host, path)).copied();
        assert_eq!(found, expected, "{method} {host} {path}");
    }
    let mut canary = request("DELETE", "h", "/c/x");
    canary.headers_mut().append("x-canary", "false".parse().expect("a value"));
    assert_eq!(router.route(&canary), None);
    canary.headers_mut().append("x-canary", "true".parse().expect("a value"));
    assert_eq!(router.route(&canary), Some(&"canary"));
}

#[test]
fn a_hostile_head_is_routed() {
    let routes = [json!({ "host": "*.a.b", "path": { "template": "/{x}/{y}" } }), json!({ "host": "a.b" })];
    let router = Router::new(routes.map(|json| (matches(json), ())));
    let hosts = ["a.".repeat(30_000), "A.".repeat(200), "[::1".into(), ":::".into(), "..".into(), "ÄÖ.a.b".into()];
    let paths = ["/".repeat(60_000), "/a".repeat(30_000), "/%/%2".into()];
    for (host, path) in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host, path))) {
        let mut request = Request::get(path.as_str()).body(()).expect("a request");
        if let Ok(host) = host.parse() {
            request.headers_mut().insert("host", host);
        }
        assert_eq!(router.route(&request), None);
    }
}

/// What a router is, without anything that makes it fast.
fn naive(routes: &[MatchSpec], request: &Request<()>) -> Option<usize> {
    routes.iter().position(|matches| {
        let host = host(request).to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let path = request.uri().path();
        let taken = match &matches.host {
            None => true,
            Some(HostPattern::Exact(exact)) => host == exact,
            Some(HostPattern::Below(domain)) => host.len() > domain.len() && host.ends_with(domain.as_str()),
        };
        taken
            && match &matches.path {
                None => true,
                Some(PathPattern::Exact(exact)) => path == exact.0,
                Some(PathPattern::Prefix(prefix)) => path
                    .strip_prefix(prefix.0.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.0.ends_with('/')),
                Some(PathPattern::Template(template)) => template.matches(path),
                Some(PathPattern::Regex(pattern)) => pattern.matches(path.as_bytes()),
            }
            && (matches.methods.is_empty() || matches.methods.contains(request.method()))
            && matches.headers.iter().all(|(name, matcher)| {
                let values: Vec<&str> =
                    request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
                satisfied(matcher, &values)
            })
            && matches.query.iter().all(|(name, matcher)| {
                let pairs = request.uri().query().unwrap_or_default().split('&');
                let values: Vec<&str> = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).collect();
                satisfied(matcher, &values)
            })
    })
}

fn satisfied(matcher: &StringMatcher, values: &[&str]) -> bool {
    match matcher {
        StringMatcher::Present(present) => values.is_empty() != *present,
        StringMatcher::Exact(text) => values.contains(&text.as_str()),
        StringMatcher::Prefix(text) => values.iter().any(|value| value.starts_with(text)),
        StringMatcher::Suffix(text) => values.iter().any(|value| value.ends_with(text)),
        StringMatcher::Regex(pattern) => values.iter().any(|value| pattern.matches(value.as_bytes())),
    }
}

// Few names, so that routes and requests meet.

fn a_host() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["a", "b", "shop"]), 1..4).prop_map(|labels| labels.join("."))
}

fn a_path() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["", "a", "b", "ab", "12"]), 1..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn a_template() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(select(vec!["a", "b", "12", "", "{}", "{}"]), 1..4);
    (segments, any::<bool>()).prop_map(|(segments, rest)| {
        let named =
            segments.iter().enumerate().map(|(number, segment)| segment.replace("{}", &format!("{{v{number}}}")));
        let path = named.map(|segment| format!("/{segment}")).collect::<String>();
        if rest { format!("{path}/{{*rest}}") } else { path }
    })
}

fn a_matcher() -> impl Strategy<Value = Value> {
    select(vec![
        json!("x"),
        json!({ "prefix": "x" }),
        json!({ "suffix": "y" }),
        json!({ "regex": "x|y" }),
        json!({ "present": true }),
        json!({ "present": false }),
    ])
}

fn a_match() -> impl Strategy<Value = MatchSpec> {
    let host = prop_oneof![a_host(), a_host().prop_map(|host| format!("*.{host}"))];
    let path = prop_oneof![
        a_path().prop_map(|path| json!({ "exact": path })),
        a_path().prop_map(|path| json!({ "prefix": path })),
        a_template().prop_map(|path| json!({ "template": path })),
        select(vec!["/a.*", "/.*/b", ".*", "/[0-9]+"]).prop_map(|regex| json!({ "regex": regex })),
    ];
    let rarely = |strategy| prop::option::weighted(0.2, strategy);
    (
        prop::option::of(host),
        prop::option::weighted(0.8, path),
        prop::option::weighted(0.3, select(vec!["GET", "POST"])),
        rarely(a_matcher()),
        rarely(a_matcher()),
    )
        .prop_map(|(host, path, method, header, query)| {
            let methods: Vec<&str> = method.into_iter().collect();
            let named = |name: &str, matcher: Option<Value>| match matcher {
                Some(matcher) => json!({ name: matcher }),
                None => json!({}),
            };
            matches(json!({
                "host": host, "path": path, "methods": methods,
                "headers": named("x-h", header), "query": named("q", query),
            }))
        })
}

fn a_request() -> impl Strategy<Value = Request<()>> {
    let values = || prop::collection::vec(select(vec!["x", "y", "xy", "z"]), 0..3);
    let path = prop_oneof![9 => a_path(), 1 => Just("*".to_owned())];
    (select(vec![Method::GET, Method::POST]), a_host(), any::<bool>(), path, values(), values()).prop_map(
        |(method, host, upper, path, headers, parameters)| {
            let host = if upper { format!("{}.:81", host.to_ascii_uppercase()) } else { host };
            let query: Vec<String> = parameters.iter().map(|value| format!("q={value}")).collect();
            let uri = if path == "*" { path } else { format!("{path}?{}", query.join("&")) };
            let mut request = request(method.as_str(), &host, &uri);
            headers.iter().for_each(|value| _ = request.headers_mut().append("x-h", value.parse().expect("a value")));
            request
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_linear_search_finds(
        routes in prop::collection::vec(a_match(), 0..24),
        requests in prop::collection::vec(a_request(), 1..24),
    ) {
        let router = Router::new(routes.iter().cloned().zip(0_usize..));
        for request in &requests {
            prop_assert_eq!(router.route(request).copied(), naive(&routes, request), "{:?}", request);
        }
    }

    /// Requests made of a route, so that deep templates are met too.
    #[test]
    fn a_path_made_of_a_template_is_found(
        templates in prop::collection::vec(a_template(), 1..12),
        chosen in any::<Chosen>(),
        value in select(vec!["a", "b", "12", "c"]),
    ) {
        let routes: Vec<MatchSpec> =
            templates.iter().map(|template| matches(json!({ "path": { "template": template } }))).collect();
        let mut path = chosen.get(&templates).replace("{*rest}", "r//s");
        (0..4).for_each(|number| path = path.replace(&format!("{{v{number}}}"), value));
        let request = request("GET", "h", &path);
        let router = Router::new(routes.iter().cloned().zip(0_usize..));
        let found = router.route(&request).copied();
        prop_assert!(found.is_some());
        prop_assert_eq!(found, naive(&routes, &request));
    }
}
