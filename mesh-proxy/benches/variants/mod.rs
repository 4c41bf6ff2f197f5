//! What is measured: the route of a request, in a table of one route and in one of 10,000 on 1,000 hosts.

use http::Request;
use mesh_core::spec::Node;
use mesh_proxy::{router::Router, spec::MatchSpec};
use serde_json::{Value, json};
use std::hint::black_box;

/// Its name, and a function that makes its table and gives one that routes so many requests.
pub(crate) type Variant = (&'static str, fn() -> Box<dyn FnMut(u64)>);

pub(crate) const VARIANTS: [Variant; 10] = [
    ("one route, prefix /", || routed(vec![matches(json!({ "path": { "prefix": "/" } }))], "h", "/orders/7", Some(0))),
    ("10,000: exact path", || of_the_last_host("/healthz", Some(0))),
    ("10,000: prefix", || of_the_last_host("/api/v1/orders/7/items", Some(2))),
    ("10,000: template with two variables", || of_the_last_host("/api/v2/users/7/orders/8", Some(4))),
    ("10,000: by header, not met, then the last", || of_the_last_host("/canary/x", Some(9))),
    ("10,000: by parameter", || of_the_last_host("/search?q=a%20b&v=2", Some(7))),
    ("10,000: the last of its host", || of_the_last_host("/a/rather/long/path/that/nothing/else/takes", Some(9))),
    ("10,000: host in upper case", || routed(table(), "SHOP-999.EXAMPLE.COM:8080", "/healthz", Some(9_990))),
    ("10,000: any host below a domain", || routed(table(), "eu.shop-3.example.org", "/healthz", Some(10_003))),
    ("10,000: no such host", || routed(table(), "nobody.example.com", "/healthz", None)),
];

/// Ten routes for each of 1,000 hosts, and behind them ten for domains, which costs each request a look.
fn table() -> Vec<MatchSpec> {
    let hosts = (0..1_000).flat_map(|host| {
        [
            json!({ "path": { "exact": "/healthz" } }),
            json!({ "path": { "prefix": "/api/v1/users" } }),
            json!({ "path": { "prefix": "/api/v1/orders" } }),
            json!({ "path": { "template": "/api/v2/users/{id}" } }),
            json!({ "path": { "template": "/api/v2/users/{id}/orders/{order}" } }),
            json!({ "path": { "exact": "/login" }, "methods": ["POST"] }),
            json!({ "path": { "prefix": "/canary" }, "headers": { "x-canary": "true" } }),
            json!({ "path": { "exact": "/search" }, "query": { "v": "2" } }),
            json!({ "path": { "template": "/files/{*rest}" } }),
            json!({ "path": { "prefix": "/" } }),
        ]
        .map(|json| on(json, format!("shop-{host}.example.com")))
    });
    let domains = (0..10).map(|host| on(json!({ "path": { "prefix": "/" } }), format!("*.shop-{host}.example.org")));
    hosts.chain(domains).map(matches).collect()
}

fn on(mut json: Value, host: String) -> Value {
    json["host"] = host.into();
    json
}

fn matches(json: Value) -> MatchSpec {
    Node::from(json).deserialize().expect("a good match")
}

fn of_the_last_host(uri: &str, expected: Option<usize>) -> Box<dyn FnMut(u64)> {
    routed(table(), "shop-999.example.com", uri, expected.map(|route| 9_990 + route))
}

fn routed(table: Vec<MatchSpec>, host: &str, uri: &str, expected: Option<usize>) -> Box<dyn FnMut(u64)> {
    let router = Router::new(table.into_iter().zip(0_usize..));
    let request = Request::get(uri)
        .header("host", host)
        .header("user-agent", "bench/1")
        .header("accept", "*/*")
        .header("x-request-id", "7")
        .body(())
        .expect("a request");
    assert_eq!(router.route(&request).copied(), expected, "{host} {uri}");
    Box::new(move |calls| (0..calls).for_each(|_| _ = black_box(router.route(black_box(&request)))))
}
