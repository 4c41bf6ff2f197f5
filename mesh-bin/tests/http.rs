//! HTTP/1.1 through the sidecar, byte by byte.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::sync::mpsc;

use support::http1::{self, Connection, status_of};
use support::origin::{Origin, ok, read_request};
use support::{Mesh, eventually, free_port};

/// A listener with these extra keys before one cluster with one endpoint.
fn sidecar(upstream: u16, listener: &str) -> (Mesh, u16) {
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]
{listener}
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{upstream}" ] }} }}
"#
    ));
    (mesh, port)
}

/// `GET /` with these further lines, as the echo of what arrived at the upstream.
fn echoed(port: u16, headers: &str) -> String {
    let response = http1::send(port, &format!("GET / HTTP/1.1\r\nhost: a.test\r\n{headers}\r\n"));
    assert_eq!(response.status, 200, "{}", response.text());
    response.text()
}

fn value<'a>(echo: &'a str, name: &str) -> Option<&'a str> {
    let mut values = echo.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let first = values.next();
    assert_eq!(values.next(), None, "more than one {name} in {echo}");
    first
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let echo = echoed(
        port,
        "connection: keep-alive, x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nte: gzip\r\nx-public: 2\r\n",
    );
    for name in ["x-private", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(value(&echo, name), None, "{echo}");
    }
    assert_eq!(value(&echo, "x-public"), Some("2"), "{echo}");
    mesh.stop();

    let origin = Origin::start(|_| {
        "HTTP/1.1 200 OK\r\nconnection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
         x-public: 2\r\ncontent-length: 2\r\n\r\nok"
            .to_owned()
    });
    let (mesh, port) = sidecar(origin.port, "");
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(response.text(), "ok");
    for name in ["x-private", "keep-alive"] {
        assert_eq!(response.head.get(name), None);
    }
    assert_eq!(response.head.get("x-public"), Some("2"));
    mesh.stop();
}

#[test]
fn forwarded_fields_are_appended_or_left() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let echo = echoed(port, "");
    assert_eq!(value(&echo, "x-forwarded-for"), Some("127.0.0.1"), "{echo}");
    assert_eq!(value(&echo, "x-forwarded-proto"), Some("http"), "{echo}");
    assert_eq!(value(&echo, "host"), Some("a.test"), "{echo}");
    let echo = echoed(port, "x-forwarded-for: 192.0.2.1\r\n");
    assert_eq!(value(&echo, "x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"), "{echo}");
    mesh.stop();

    let (mesh, port) = sidecar(Origin::echo().port, "    forwarded: off\n");
    assert!(!echoed(port, "").contains("x-forwarded-"));
    let echo = echoed(port, "x-forwarded-for: 192.0.2.1\r\n");
    assert_eq!(value(&echo, "x-forwarded-for"), Some("192.0.2.1"), "{echo}");
    mesh.stop();
}

#[test]
fn a_request_id_is_made_where_absent() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let ids: BTreeSet<String> =
        (0..10).map(|_| value(&echoed(port, ""), "x-request-id").expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 10, "all differ: {ids:?}");
    assert!(ids.iter().all(|id| id.len() >= 16), "{ids:?}");
    let echo = echoed(port, "x-request-id: mine\r\n");
    assert_eq!(value(&echo, "x-request-id"), Some("mine"));
    mesh.stop();

    let (mesh, port) = sidecar(Origin::echo().port, "    request_id: off\n");
    assert_eq!(value(&echoed(port, ""), "x-request-id"), None);
    mesh.stop();
}

#[test]
fn routes_match_in_their_order() {
    let port = free_port();
    let respond = |name: &str| format!("respond: {{ status: 200, body: {name} }}");
    let mesh = Mesh::start(&format!(
        r#"
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes:
      - match: {{ host: exact.test, path: {{ prefix: / }} }}
        {exact}
      - match: {{ host: "*.wild.test", path: {{ prefix: / }} }}
        {wild}
      - match: {{ path: {{ exact: /only }}, methods: [PUT, DELETE] }}
        {methods}
      - match: {{ path: {{ exact: /only }} }}
        {path}
      - match: {{ path: {{ prefix: /api/v1 }} }}
        {prefix}
      - match: {{ path: {{ exact: /teapot }} }}
        respond: {{ status: 418, headers: {{ x-kind: tea, content-type: text/plain }}, body: short }}
"#,
        exact = respond("exact"),
        wild = respond("wild"),
        methods = respond("methods"),
        path = respond("path"),
        prefix = respond("prefix"),
    ));
    let ask = |method: &str, host: &str, target: &str| {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let response = http1::send(port, &request);
        if response.status == 404 { "none".to_owned() } else { response.text() }
    };
    for (method, host, target, answer) in [
        ("GET", "exact.test", "/", "exact"),
        ("GET", "EXACT.Test:8080", "/x?y", "exact"),
        ("GET", "other.test", "http://exact.test/", "exact"),
        ("GET", "a.wild.test", "/", "wild"),
        ("GET", "a.b.WILD.test", "/", "wild"),
        ("GET", "wild.test", "/", "none"),
        ("PUT", "a", "/only", "methods"),
        ("GET", "a", "/only", "path"),
        ("GET", "a", "/only?q=1", "path"),
        ("GET", "a", "/only/", "none"),
        ("GET", "a", "/Only", "none"),
        ("GET", "a", "/api/v1", "prefix"),
        ("GET", "a", "/api/v1/", "prefix"),
        ("GET", "a", "/api/v1/users", "prefix"),
        ("GET", "a", "/api/v12", "none"),
        ("GET", "a", "/x/../api/./v1", "prefix"),
    ] {
        assert_eq!(ask(method, host, target), answer, "{method} {host} {target}");
    }
    let response = http1::send(port, "GET /teapot HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (418, "short"));
    assert_eq!(response.head.get("x-kind"), Some("tea"));
    let response = http1::send(port, "HEAD /teapot HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.body.len()), (418, 0));
    assert_eq!(response.head.get("content-length"), Some("5"));
    mesh.stop();
}

#[test]
fn the_upstream_gets_the_normalised_path() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    for (sent, arrives) in [("/a/./b/../c?d=../e", "/a/c?d=../e"), ("/../../x", "/x"), ("/a//b", "/a//b"), ("/", "/")] {
        let response = http1::send(port, &format!("GET {sent} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let line = format!("GET {arrives} HTTP/1.1\n");
        assert!(response.text().starts_with(&line), "{sent}: {}", response.text());
    }
    for refused in ["/a%2Fb", "/a%2fb", "/a%5Cb", "/a%00b"] {
        let response = http1::send(port, &format!("GET {refused} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(response.status, 400, "{refused}");
    }
    mesh.stop();
}

#[test]
fn many_requests_on_one_connection() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let mut connection = Connection::open(port).expect("a connection");
    for number in 0..50 {
        let request = format!("POST /{number} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
        let response = connection.exchange(&request).expect("an answer");
        assert!(response.text().starts_with(&format!("POST /{number} ")));
        assert!(response.text().ends_with("\nabc"));
    }
    // Two in one write: answered in their order.
    connection.write(b"GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
    for path in ["/one", "/two"] {
        let response = connection.read_response("GET").expect("an answer");
        assert!(response.text().starts_with(&format!("GET {path} ")), "{}", response.text());
    }
    // A close that was asked for.
    let response = connection.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("an answer");
    assert_eq!(response.head.get("connection"), Some("close"));
    assert!(connection.is_closed());
    // HTTP/1.0 closes by itself.
    let mut connection = Connection::open(port).expect("a connection");
    let response = connection.exchange("GET / HTTP/1.0\r\nhost: a\r\n\r\n").expect("an answer");
    assert_eq!(response.status, 200);
    assert!(connection.is_closed());
    mesh.stop();
}

#[test]
fn chunked_both_ways() {
    let origin = Origin::start(|request| {
        assert_eq!(request.head.get("transfer-encoding"), Some("chunked"));
        assert_eq!(request.head.get("content-length"), None);
        let body = String::from_utf8(request.body).expect("utf-8");
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n1\r\n!\r\n0\r\n\r\n",
            body.len()
        )
    });
    let (mesh, port) = sidecar(origin.port, "");
    let response = http1::send(
        port,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    );
    assert!(response.chunked);
    assert_eq!(response.text(), "hello world!");
    mesh.stop();
}

/// What the upstream has sent of its body is at the client before the rest exists.
#[test]
fn a_body_streams() {
    let (go, wait) = mpsc::sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        let _ = wait.lock().expect("one connection").recv();
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n")
    });
    let (mesh, port) = sidecar(origin.port, "");
    let mut connection = Connection::open(port).expect("a connection");
    connection.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
    let head = connection.read_head().expect("a head before the body's end");
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    assert_eq!(connection.read_exact(10).expect("the first chunk"), b"5\r\nfirst\r\n");
    go.send(()).expect("the upstream waits");
    assert_eq!(connection.read_exact(14).expect("the rest"), b"4\r\nlast\r\n0\r\n\r\n");
    mesh.stop();
}

#[test]
fn expect_100_continue() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let mut connection = Connection::open(port).expect("a connection");
    connection
        .write(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .expect("written");
    let interim = connection.read_head().expect("an interim response before the body");
    assert_eq!(status_of(&interim).expect("a status"), 100);
    connection.write(b"hello").expect("written");
    let response = connection.read_response("POST").expect("an answer");
    assert!(response.text().ends_with("\n\nhello"), "{}", response.text());
    mesh.stop();
}

#[test]
fn answers_of_the_sidecar_itself() {
    // Nobody listens there.
    let (mesh, port) = sidecar(free_port(), "");
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.head.get("x-mesh-rejected-by")), (502, None));
    mesh.stop();

    // An upstream that resets, and one that does not speak HTTP.
    for answer in ["", "SSH-2.0-OpenSSH\r\n"] {
        let origin = Origin::raw(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            read_request(&mut reader, &mut stream)?;
            stream.write_all(answer.as_bytes())
        });
        let (mesh, port) = sidecar(origin.port, "");
        let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(response.status, 502, "{answer:?}");
        mesh.stop();
    }

    // No route.
    let port = free_port();
    let mesh = Mesh::start(&format!(
        "listeners: {{ web: {{ bind: \"127.0.0.1:{port}\", routes: [ {{ match: {{ path: {{ exact: /x }} }}, respond: {{ status: 200 }} }} ] }} }}"
    ));
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.head.get("x-mesh-rejected-by")), (404, None));
    // Not HTTP at all: an answer, then the end of the connection.
    let response = http1::send(port, "THIS IS NOT HTTP\r\n\r\n");
    assert_eq!(response.status, 400);
    mesh.stop();
}

#[test]
fn a_refusal_names_its_layer() {
    let (mesh, port) = sidecar(Origin::echo().port, "    pipeline: [ metrics, rate_limit: { rate: 1/m, burst: 1 } ]\n");
    echoed(port, "");
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(response.status, 429);
    assert_eq!(response.head.get("x-mesh-rejected-by"), Some("rate_limit"));
    let seconds: u32 = response.head.get("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    mesh.stop();
}

#[test]
fn a_shadowed_refusal_is_only_marked() {
    let (mesh, port) =
        sidecar(Origin::echo().port, "    pipeline: [ metrics, rate_limit: { rate: 1/m, burst: 1, shadow: true } ]\n");
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(http1::send(port, request).head.get("x-mesh-shadow"), None);
    let response = http1::send(port, request);
    assert_eq!(response.status, 200);
    assert_eq!(response.head.get("x-mesh-shadow"), Some("rate_limit"));
    mesh.stop();
}

#[test]
fn a_slow_upstream_is_a_timeout() {
    let origin = Origin::raw(|mut stream| {
        // Silent until the sidecar gives up.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(drop)
    });
    let (mesh, port) = sidecar(origin.port, "    pipeline: [ metrics, timeout: 200ms ]\n");
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(response.status, 504);
    assert_eq!(response.head.get("x-mesh-rejected-by"), Some("timeout"));
    assert_eq!(mesh.metric("mesh_requests_total", &["outcome=\"timed_out\""]), 1.0);
    mesh.stop();
}

#[test]
fn the_upstream_cannot_claim_a_refusal() {
    let origin = Origin::start(|_| {
        "HTTP/1.1 429 Too Many Requests\r\nx-mesh-rejected-by: rate_limit\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let (mesh, port) = sidecar(origin.port, "");
    let response = http1::send(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((response.status, response.head.get("x-mesh-rejected-by")), (429, None));
    mesh.stop();
}

/// The race of keep-alive: an upstream that closes after each answer without a word.
#[test]
fn an_idle_connection_closed_by_the_upstream_is_no_failure() {
    let origin = Origin::raw(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        stream.write_all(ok("once").as_bytes())
    });
    let (mesh, port) = sidecar(origin.port, "");
    let mut connection = Connection::open(port).expect("a connection");
    for number in 0..200 {
        let response = connection.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("an answer");
        assert_eq!(response.status, 200, "request {number}: {}", response.text());
    }
    mesh.stop();
}

#[test]
fn a_connection_to_the_upstream_is_used_again() {
    let (report, connections) = mpsc::channel();
    let report = std::sync::Mutex::new(report);
    let origin = Origin::raw(move |mut stream| {
        let _ = report.lock().expect("no panic").send(());
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            read_request(&mut reader, &mut stream)?;
            stream.write_all(ok("again").as_bytes())?;
        }
    });
    let (mesh, port) = sidecar(origin.port, "");
    let mut connection = Connection::open(port).expect("a connection");
    for _ in 0..20 {
        connection.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("an answer");
    }
    assert_eq!(connections.try_iter().count(), 1);
    mesh.stop();
}

/// A client that goes away takes its upstream request with it.
#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    let (report, events) = mpsc::channel();
    let report = std::sync::Mutex::new(report);
    let origin = Origin::raw(move |mut stream| {
        let report = report.lock().expect("one connection");
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        let _ = report.send("arrived");
        let mut rest = Vec::new();
        let end = reader.read_to_end(&mut rest).map(drop);
        let _ = report.send("closed");
        end
    });
    let (mesh, port) = sidecar(origin.port, "    pipeline: [ metrics ]\n");
    let mut connection = Connection::open(port).expect("a connection");
    connection.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
    assert_eq!(events.recv_timeout(support::PATIENCE), Ok("arrived"));
    drop(connection);
    assert_eq!(events.recv_timeout(support::PATIENCE), Ok("closed"));
    eventually("the request counts as cancelled", || {
        mesh.metric("mesh_requests_total", &["outcome=\"cancelled\""]) == 1.0
    });
    mesh.stop();
}

/// An upstream that dies within its body: the client must not take what it has for the whole.
#[test]
fn a_cut_body_is_not_a_whole_one() {
    for head in ["content-length: 100\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let origin = Origin::raw(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            read_request(&mut reader, &mut stream)?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes())
        });
        let (mesh, port) = sidecar(origin.port, "    pipeline: [ metrics ]\n");
        let mut connection = Connection::open(port).expect("a connection");
        let result = connection.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(result.is_err(), "{result:?}");
        assert_eq!(mesh.metric("mesh_requests_total", &["outcome=\"failure\""]), 1.0);
        mesh.stop();
    }
}

#[test]
fn round_robin_and_weights() {
    let origins: Vec<Origin> = (0..3).map(|name| Origin::start(move |_| ok(&name.to_string()))).collect();
    let count = |cluster: &str, requests: u32| {
        let port = free_port();
        let mesh = Mesh::start(&format!(
            "workers: 1\nlisteners: {{ web: {{ bind: \"127.0.0.1:{port}\", routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ] }} }}\n\
             clusters: {{ app: {cluster} }}\n"
        ));
        let mut connection = Connection::open(port).expect("a connection");
        let mut counts = BTreeMap::<String, u32>::new();
        for _ in 0..requests {
            let response = connection.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("an answer");
            *counts.entry(response.text()).or_default() += 1;
        }
        mesh.stop();
        counts
    };
    let list = |weights: [u32; 3]| {
        let list: Vec<String> = origins
            .iter()
            .zip(weights)
            .map(|(origin, weight)| format!("{{ address: \"127.0.0.1:{}\", weight: {weight} }}", origin.port))
            .collect();
        format!("discovery: {{ static: [ {} ] }}", list.join(", "))
    };
    let even = count(&format!("{{ {}, load_balancer: round_robin }}", list([1, 1, 1])), 30);
    assert!(even.len() == 3 && even.values().all(|count| *count == 10), "{even:?}");
    // 500 of 600 expected, with a deviation of 9.
    let weighted = count(&format!("{{ {}, load_balancer: random }}", list([10, 1, 1])), 600);
    assert!(weighted.len() == 3 && (420..=570).contains(&weighted["0"]), "{weighted:?}");
}

#[test]
fn pipelines_stand_at_all_four_places() {
    let port = free_port();
    let upstream = Origin::echo().port;
    let limit = "pipeline: [ rate_limit: { rate: 1/m, burst: 1 } ]";
    for (listener, route, cluster, endpoint) in [
        (limit, "", "", ""),
        ("", limit, "", ""),
        ("", "", limit, ""),
        ("", "", "", "endpoint_pipeline: [ rate_limit: { rate: 1/m, burst: 1 } ]"),
    ] {
        let mesh = Mesh::start(&format!(
            r#"
listeners:
  web:
    bind: "127.0.0.1:{port}"
    {listener}
    routes:
      - match: {{ path: {{ prefix: / }} }}
        cluster: app
        {route}
clusters:
  app:
    discovery: {{ static: [ "127.0.0.1:{upstream}" ] }}
    {cluster}
    {endpoint}
"#
        ));
        let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let place = [listener, route, cluster, endpoint];
        assert_eq!(http1::send(port, request).status, 200, "{place:?}");
        assert_eq!(http1::send(port, request).status, 429, "{place:?}");
        mesh.stop();
    }
}

#[test]
fn too_many_or_too_large_header_fields() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(100 * 1024));
    for headers in [many, large] {
        let response = http1::send(port, &format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n"));
        assert_eq!(response.status, 431);
    }
    mesh.stop();
}

/// Framing that two parsers could read in two ways is refused.
#[test]
fn ambiguous_framing_is_refused() {
    let (mesh, port) = sidecar(Origin::echo().port, "");
    for headers in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: +1\r\n",
        "x y: 1\r\n",
        "x\x01: 1\r\n",
    ] {
        let response = http1::send(port, &format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n0\r\n\r\n"));
        assert_eq!(response.status, 400, "{headers:?}");
    }
    mesh.stop();
}
