//! What routes do with requests, through the sidecar: match, rewrite, redirect, change headers, split.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use support::http1::{self, Response};
use support::origin::{Origin, ok};
use support::{Mesh, free_port, mesh};

/// A sidecar whose one listener has these keys, with clusters `a` and `b`, which show what arrived.
fn sidecar(listener: &str) -> (Mesh, u16) {
    let (port, echo) = (free_port(), Origin::echo().port);
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    request_id: off
    forwarded: off
{listener}
clusters:
  a: {{ discovery: {{ static: [ "127.0.0.1:{echo}" ] }} }}
  b: {{ discovery: {{ static: [ "127.0.0.1:{echo}" ] }} }}
"#
    ));
    (mesh, port)
}

fn ask(port: u16, method: &str, target: &str, headers: &str) -> Response {
    http1::send(port, &format!("{method} {target} HTTP/1.1\r\nhost: shop.test:8080\r\n{headers}\r\n"))
}

#[test]
fn headers_parameters_templates_and_expressions() {
    let (mesh, port) = sidecar(
        r#"    routes:
      - { match: { headers: { x-canary: "true", x-debug: { present: false } } }, respond: { body: canary } }
      - { match: { query: { v: { regex: "2\\.[0-9]+" } } }, respond: { body: version } }
      - { match: { path: { template: "/users/{id}" } }, respond: { body: user } }
      - { match: { path: { regex: "/n/[0-9]+" } }, respond: { body: number } }
      - { match: { path: { prefix: /admin } }, respond: { body: admin } }
"#,
    );
    for (target, headers, expected) in [
        ("/x", "x-canary: true\r\n", "canary"),
        ("/x", "x-canary: false\r\nx-canary: true\r\n", "canary"),
        ("/users/1", "x-canary: true\r\nx-debug: 1\r\n", "user"),
        ("/x?a=b&v=2.11", "", "version"),
        ("/x?%76=%32.1", "", "version"),
        ("/users/1?v=2.", "", "user"),
        ("/n/5", "", "number"),
        ("/%61dmin", "", "admin"),
        ("/x/..//admin", "", "none"),
        ("/n/5/", "", "none"),
        ("/x", "", "none"),
    ] {
        let response = ask(port, "GET", target, headers);
        let text = if response.status == 404 { "none".into() } else { response.text() };
        assert_eq!(text, expected, "{target} {headers}");
    }
    mesh.stop();
}

#[test]
fn slashes_are_merged_where_the_listener_says_so() {
    let routes = r#"    routes: [ { match: { path: { prefix: /api/v1 } }, cluster: a } ]
"#;
    let (mesh, port) = sidecar(&format!("    merge_slashes: on\n{routes}"));
    let echo = ask(port, "GET", "//api///v1//x/?q=//", "").text();
    assert!(echo.starts_with("GET /api/v1/x/?q=// HTTP/1.1\n"), "{echo}");
    mesh.stop();
    let (mesh, port) = sidecar(routes);
    assert_eq!(ask(port, "GET", "/api//v1", "").status, 404);
    let echo = ask(port, "GET", "/api/v1//x", "").text();
    assert!(echo.starts_with("GET /api/v1//x HTTP/1.1\n"), "{echo}");
    mesh.stop();
}

#[test]
fn a_route_changes_what_goes_on_and_what_comes_back() {
    let (mesh, port) = sidecar(
        r#"    routes:
      - match: { path: { prefix: /v1 } }
        cluster: a
        rewrite: { prefix: /, host: "orders.internal:81" }
        pipeline: [ timeout: 10s ]
        headers:
          request: { set: { x-lane: canary }, add: { x-tag: two }, remove: [ X-Debug ] }
          response: { set: { content-type: text/x-echo }, add: { x-served-by: mesh }, remove: [ x-none ] }
      - match: { path: { exact: /old } }
        cluster: b
        rewrite: { prefix: /new }
      - match: { path: { exact: /healthz } }
        respond: { body: ok }
        headers: { response: { set: { cache-control: no-store } } }
"#,
    );
    let response = ask(port, "GET", "/v1/x?q=/v1", "x-debug: 1\r\nx-lane: main\r\nx-tag: one\r\n");
    let echo = response.text();
    let lines: Vec<&str> = echo.lines().collect();
    assert_eq!(lines[0], "GET /x?q=/v1 HTTP/1.1", "{echo}");
    for line in ["host: orders.internal:81", "x-lane: canary", "x-tag: one", "x-tag: two"] {
        assert_eq!(lines.iter().filter(|other| **other == line).count(), 1, "{line}: {echo}");
    }
    assert!(!echo.contains("x-debug") && !echo.contains("main"), "{echo}");
    assert_eq!(response.head.get("content-type"), Some("text/x-echo"));
    assert_eq!(response.head.get("x-served-by"), Some("mesh"));
    for (target, arrives) in [("/v1", "/"), ("/v1/", "/"), ("/old?a", "/new?a")] {
        let echo = ask(port, "GET", target, "").text();
        assert!(echo.starts_with(&format!("GET {arrives} HTTP/1.1\n")), "{target}: {echo}");
    }
    assert_eq!(ask(port, "GET", "/healthz", "").head.get("cache-control"), Some("no-store"));
    mesh.stop();
}

/// The same over HTTP/2, where the host stands in the URI: in over HTTP/1, on over HTTP/2, on over HTTP/1.
#[test]
fn a_host_is_rewritten_over_http2() {
    let (first, second, echo) = (free_port(), free_port(), Origin::echo().port);
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  first:
    bind: "127.0.0.1:{first}"
    routes: [ {{ cluster: second, rewrite: {{ host: first.internal }} }} ]
  second:
    bind: "127.0.0.1:{second}"
    protocol: http2
    routes:
      - {{ match: {{ host: first.internal, path: {{ prefix: /a }} }}, cluster: echo, rewrite: {{ host: "second.internal:7", prefix: /b }} }}
clusters:
  second: {{ discovery: {{ static: [ "127.0.0.1:{second}" ] }}, protocol: http2 }}
  echo: {{ discovery: {{ static: [ "127.0.0.1:{echo}" ] }}, protocol: http1 }}
"#
    ));
    let echo = ask(first, "GET", "/a/x", "").text();
    assert!(echo.starts_with("GET /b/x HTTP/1.1\n"), "{echo}");
    assert_eq!(echo.lines().filter(|line| line.starts_with("host: ")).collect::<Vec<_>>(), ["host: second.internal:7"]);
    mesh.stop();
}

#[test]
fn redirects() {
    let (mesh, port) = sidecar(
        r#"    routes:
      - match: { path: { template: "/users/{id}/orders" } }
        redirect: { path: "/orders?user={id}" }
      - match: { path: { prefix: /secure } }
        redirect: { scheme: https, status: 301 }
        headers: { response: { set: { cache-control: no-store } } }
      - match: { path: { template: "/old/{*rest}" } }
        redirect: { host: new.test, path: "/{rest}", status: 302 }
      - match: { path: { template: "/open/{*rest}" } }
        redirect: { path: "/{rest}" }
"#,
    );
    for (target, status, location) in [
        ("/users/7/orders?x=1", 308, "/orders?user=7"),
        ("/users/a&b=c/orders", 308, "/orders?user=a%26b%3Dc"),
        ("/secure/x?y=1", 301, "https://shop.test/secure/x?y=1"),
        ("/old/a/b?c", 302, "//new.test/a/b?c"),
        ("/open//evil.test/x", 308, "/evil.test/x"),
    ] {
        let response = ask(port, "GET", target, "");
        assert_eq!((response.status, response.head.get("location")), (status, Some(location)), "{target}");
        assert_eq!(response.head.get("content-length"), Some("0"), "{target}");
    }
    assert_eq!(ask(port, "GET", "/secure", "").head.get("cache-control"), Some("no-store"));
    assert_eq!(ask(port, "HEAD", "/users/7/orders", "").status, 308);
    mesh.stop();
}

/// Each attempt of a request goes where the first one went, and every cluster gets its part.
#[test]
fn a_split_is_drawn_once_per_request() {
    type Seen = Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>;
    let seen: Seen = Arc::default();
    let origin = |name: &'static str| {
        let seen = seen.clone();
        let origin = Origin::start(move |request| {
            let id = request.head.get("x-request-id").unwrap_or_default().to_owned();
            seen.lock().expect("no panic").entry(id).or_default().push(name);
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned()
        });
        origin.port
    };
    let (port, a, b) = (free_port(), origin("a"), origin("b"));
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes:
      - split: {{ a: 1, b: 1, nobody: 0 }}
        pipeline: [ retry: {{ attempts: 3, on: [ 5xx ], budget: 100%, backoff: {{ base: 1ms, max: 1ms }} }} ]
clusters:
  a: {{ discovery: {{ static: [ "127.0.0.1:{a}" ] }} }}
  b: {{ discovery: {{ static: [ "127.0.0.1:{b}" ] }} }}
  nobody: {{ discovery: {{ static: [] }} }}
"#
    ));
    for number in 0..100 {
        let response = ask(port, "GET", "/", &format!("x-request-id: {number}\r\n"));
        assert_eq!(response.head.get("x-mesh-rejected-by"), None);
    }
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.len(), 100);
    assert!(seen.values().any(|attempts| attempts.len() == 3), "nothing was tried again");
    let mut clusters = BTreeSet::new();
    for (id, attempts) in seen.iter() {
        assert!(attempts.iter().all(|name| *name == attempts[0]), "{id}: {attempts:?}");
        clusters.insert(attempts[0]);
    }
    assert_eq!(clusters.len(), 2, "one of two after 100 draws");
    mesh.stop();
}

/// `examples/routing.yaml` does what its comments say.
#[test]
fn the_example() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/routing.yaml");
    let text = fs::read_to_string(&file).expect("the example");
    let explained = mesh(&["explain", &file.display().to_string()]);
    for part in [
        "route canary: host *.shop.example, path /v1…, GET|POST, header x-canary = true → cluster canary, prefix becomes /",
        "route orders-of-user: path /users/{id}/orders → redirect 308 to /orders?user={id}",
        "route shop: path /… → split stable 95/100, canary 5/100",
        "merge_slashes: on",
    ] {
        assert!(explained.stdout.contains(part), "{part} is not in\n{}", explained.stdout);
    }
    let origin = |name: &'static str| {
        Origin::start(move |request| {
            ok(&format!("{name} {} {}", request.target(), request.head.get("x-lane").unwrap_or("-")))
        })
        .port
    };
    let (port, stable, canary) = (free_port(), origin("stable"), origin("canary"));
    let mut spec = text.split_once("listeners:").map(|(_, rest)| format!("listeners:{rest}")).expect("listeners");
    for (from, to) in [("15001", port), ("15011", stable), ("15012", canary)] {
        assert!(spec.contains(from), "{from}");
        spec = spec.replace(from, &to.to_string());
    }
    let mesh = Mesh::start(&spec);
    let ask = |host: &str, target: &str, headers: &str| {
        http1::send(port, &format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"))
    };
    let canary = ask("eu.shop.example", "/v1/items", "x-canary: true\r\n");
    assert_eq!((canary.text().as_str(), canary.head.get("x-served-by")), ("canary /items canary", Some("mesh")));
    assert_eq!(ask("a", "/users/7/orders", "").head.get("location"), Some("/orders?user=7"));
    assert_eq!(ask("a", "/secure/x?y", "").head.get("location"), Some("https://a/secure/x?y"));
    assert_eq!(ask("a", "/img/1.png?w=200", "").text(), "small\n");
    assert_eq!(ask("a", "/img/1.png?w=2000", "").text().split(' ').nth(1), Some("/img/1.png?w=2000"));
    assert_eq!(ask("a", "/x", "").status, 200);
    mesh.stop();
}
