//! Two sidecars in a row, as at the way out of one host and into another.

mod support;

use support::http1::Connection;
use support::origin::Origin;
use support::{Mesh, free_port};

/// Two that speak this protocol with each other, before an upstream of HTTP/1.1; the port of the first.
fn chain(protocol: &str) -> ([Mesh; 2], u16) {
    let (near, far, origin) = (free_port(), free_port(), Origin::echo());
    let mesh = |own: u16, next: u16, protocol: &str| {
        Mesh::start(&format!(
            "workers: 2\nlisteners: {{ web: {{ bind: \"127.0.0.1:{own}\", pipeline: [ metrics, timeout: 30s ], \
             routes: [ {{ cluster: next }} ] }} }}\n\
             clusters: {{ next: {{ discovery: {{ static: [ \"127.0.0.1:{next}\" ] }}, protocol: {protocol} }} }}\n"
        ))
    };
    ([mesh(near, far, protocol), mesh(far, origin.port, "http1")], near)
}

/// Bodies of known and of unknown length, one request after the other on one connection.
fn passes(protocol: &str) {
    let (sidecars, port) = chain(protocol);
    let mut connection = Connection::open(port).expect("it listens");
    for size in [0, 1, 1000, 70_000, 1_000_000] {
        let body = "0123456789".repeat(size / 10 + 1)[..size].to_owned();
        let head = "POST /a/b?c=d HTTP/1.1\r\nhost: shop\r\nx-request-id: mine\r\n";
        for request in [
            format!("{head}content-length: {size}\r\n\r\n{body}"),
            match size {
                0 => format!("{head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
                _ => format!("{head}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"),
            },
        ] {
            let answer = connection.exchange(&request).expect("an answer");
            assert_eq!(answer.status, 200);
            let text = answer.text();
            let (echo, back) = text.split_once("\n\n").expect("a head and a body");
            assert!(back == body, "{} of {size} bytes over {protocol}", back.len());
            let lines: Vec<&str> = echo.lines().collect();
            assert_eq!(lines[0], "POST /a/b?c=d HTTP/1.1");
            for line in ["host: shop", "x-request-id: mine", "x-forwarded-for: 127.0.0.1, 127.0.0.1"] {
                assert!(lines.contains(&line), "{line} is not in {echo}");
            }
        }
    }
    // a refusal of the second is an answer like others to the first
    let answer = connection.exchange("GET /a%2Fb HTTP/1.1\r\nhost: shop\r\n\r\n").expect("an answer");
    assert_eq!(answer.status, 400);
    for sidecar in sidecars {
        assert_eq!(sidecar.metric("mesh_requests_in_flight", &[]), 0.0);
        sidecar.stop();
    }
}

#[test]
fn over_http1() {
    passes("http1");
}

#[test]
fn over_http2() {
    passes("http2");
}
