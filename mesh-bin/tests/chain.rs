//! Two sidecars in a row, as at the way out of one host and into another.

mod support;

use std::io::{self, BufReader, Write};
use std::net::Shutdown;

use support::http1::{Connection, status_of};
use support::origin::{Origin, read_request};
use support::{Mesh, eventually, free_port};

/// Two that speak this protocol with each other, before an upstream of HTTP/1.1; the port of the first.
fn chain(protocol: &str, origin: &Origin) -> ([Mesh; 2], u16) {
    let (near, far) = (free_port(), free_port());
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
    let (sidecars, port) = chain(protocol, &Origin::echo());
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

/// A WebSocket, which is something else between two that speak HTTP/2.
#[test]
fn a_tunnel_goes_through_both() {
    let origin = Origin::raw(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let request = read_request(&mut reader, &mut stream)?;
        assert_eq!((request.method(), request.head.get("upgrade")), ("GET", Some("websocket")));
        let key = request.head.get("sec-websocket-key").unwrap_or_default();
        let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
        stream.write_all(format!("{switched}x-key: {key}\r\n\r\n").as_bytes())?;
        io::copy(&mut reader, &mut stream)?;
        stream.shutdown(Shutdown::Write)
    });
    for protocol in ["http1", "http2"] {
        let (sidecars, port) = chain(protocol, &origin);
        let mut connection = Connection::open(port).expect("it listens");
        let asked = "GET /chat HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
        connection.write(format!("{asked}sec-websocket-key: mine\r\n\r\n").as_bytes()).expect("written");
        let head = connection.read_head().expect("a head");
        assert_eq!(status_of(&head).expect("a status"), 101, "{protocol}: {head:?}");
        assert_eq!((head.get("upgrade"), head.get("x-key")), (Some("websocket"), Some("mine")), "{protocol}");
        for message in ["hello", &"x".repeat(200_000)] {
            connection.write(message.as_bytes()).expect("written");
            assert!(connection.read_exact(message.len()).expect("back") == message.as_bytes(), "{protocol}");
        }
        drop(connection);
        for sidecar in sidecars {
            eventually("the tunnel has ended", || sidecar.metric("mesh_requests_in_flight", &[]) == 0.0);
            sidecar.stop();
        }
    }
}
