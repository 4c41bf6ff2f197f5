//! gRPC through the sidecar between the C core's own client and server (PyPI `grpcio`).

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use support::peer::{self, Server};
use support::{Mesh, eventually, free_port};

/// A sidecar before a gRPC server, with the pipeline given.
struct Sidecar {
    mesh: Mesh,
    port: u16,
    _server: Server,
}

impl Sidecar {
    fn start(pipeline: &str) -> Sidecar {
        let server = Server::start("grpc_server.py");
        let port = free_port();
        let mesh = Mesh::start(&spec(port, "http", pipeline, server.port));
        Sidecar { mesh, port, _server: server }
    }

    /// Runs a scenario of `peers/grpc_client.py`.
    fn client(&self, scenario: &[&str]) -> String {
        client(self.port, scenario)
    }
}

fn spec(port: u16, protocol: &str, pipeline: &str, upstream: u16) -> String {
    format!(
        r#"
workers: 2
listeners:
  rpc:
    bind: "127.0.0.1:{port}"
    protocol: {protocol}
    pipeline: [ {pipeline} ]
    routes:
      - match: {{ path: {{ prefix: /demo.Echo }} }}
        cluster: upstream
clusters:
  upstream:
    discovery: {{ static: [ "127.0.0.1:{upstream}" ] }}
"#
    )
}

fn client(port: u16, scenario: &[&str]) -> String {
    let target = format!("127.0.0.1:{port}");
    peer::run(peer::script("grpc_client.py").arg(target).args(scenario))
}

const STOCK: &str = "metrics, timeout: 30s, rate_limit: { rate: 100000/s, burst: 100000 }";

macro_rules! scenarios {
    ($($(#[$doc:meta])* $name:ident: $scenario:expr;)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            let sidecar = Sidecar::start(STOCK);
            sidecar.client(&$scenario);
            sidecar.mesh.stop();
        }
    )*};
}

scenarios! {
    unary: ["unary"];
    client_streaming: ["client_stream"];
    server_streaming: ["server_stream"];
    bidirectional_streaming: ["bidi"];
    metadata_of_all_kinds: ["metadata", "proxied"];
    every_status_with_details_and_trailers: ["statuses"];
    a_status_after_messages: ["late_status"];
    /// `grpc-timeout` arrives shrunk and DEADLINE_EXCEEDED comes back.
    deadlines: ["deadline"];
    messages_of_four_megabytes: ["big"];
    fifty_streams_at_once: ["concurrent"];
    cancellation_reaches_the_server: ["cancel"];
}

/// The same, where the listener takes only gRPC.
#[test]
fn a_grpc_listener() {
    let server = Server::start("grpc_server.py");
    let port = free_port();
    let mesh = Mesh::start(&spec(port, "grpc", STOCK, server.port));
    client(port, &["unary"]);
    client(port, &["statuses"]);
    mesh.stop();
}

#[test]
fn a_refused_call_is_resource_exhausted() {
    let sidecar = Sidecar::start("metrics, rate_limit: { rate: 1/m, burst: 10 }");
    sidecar.client(&["limited", "10"]);
    assert_eq!(sidecar.mesh.metric("mesh_rejections_total", &["layer=\"rate_limit\""]), 30.0);
    sidecar.mesh.stop();
}

#[test]
fn a_rejection_names_its_layer() {
    let sidecar = Sidecar::start("rate_limit: { rate: 1/m, burst: 1 }");
    sidecar.client(&["expect_ok"]);
    let error = sidecar.client(&["expect", "RESOURCE_EXHAUSTED"]);
    assert!(error.contains(r#"["x-mesh-rejected-by", "rate_limit"]"#), "{error}");
}

#[test]
fn no_route_is_unimplemented() {
    let server = Server::start("grpc_server.py");
    let port = free_port();
    let spec = spec(port, "http", STOCK, server.port).replace("/demo.Echo", "/other.Service");
    let mesh = Mesh::start(&spec);
    client(port, &["expect", "UNIMPLEMENTED"]);
    mesh.stop();
}

#[test]
fn a_method_the_server_does_not_know_is_its_own_unimplemented() {
    let sidecar = Sidecar::start(STOCK);
    let error = sidecar.client(&["expect", "UNIMPLEMENTED", "Nope"]);
    assert!(error.contains("Method not found"), "{error}");
}

#[test]
fn nobody_listening_is_unavailable() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, "http", STOCK, free_port()));
    client(port, &["expect", "UNAVAILABLE"]);
    mesh.stop();
}

#[test]
fn a_slow_server_is_deadline_exceeded() {
    let sidecar = Sidecar::start("timeout: 200ms");
    sidecar.client(&["expect", "DEADLINE_EXCEEDED", "HangUnary", "20"]);
    // The response time-out is armed by the end of the request: streams that go on live longer.
    sidecar.client(&["bidi"]);
    sidecar.mesh.stop();
}

/// What each layer refuses with is the status that gRPC clients act on.
#[test]
fn faults_are_the_status_that_was_asked_for() {
    for (abort, status) in [
        ("grpc: 9", "FAILED_PRECONDITION"),
        ("grpc: 16", "UNAUTHENTICATED"),
        ("status: 503", "UNAVAILABLE"),
        ("status: 404", "UNIMPLEMENTED"),
    ] {
        let sidecar = Sidecar::start(&format!("fault_injection: {{ abort: {{ {abort} }} }}"));
        let error = sidecar.client(&["expect", status]);
        assert!(error.contains(r#"["x-mesh-rejected-by", "fault_injection"]"#), "{error}");
        sidecar.mesh.stop();
    }
    let sidecar = Sidecar::start("fault_injection: { delay: { fixed: 300ms }, abort: { grpc: 14 } }");
    sidecar.client(&["expect", "UNAVAILABLE"]);
    sidecar.mesh.stop();
}

#[test]
fn an_open_breaker_is_unavailable_and_says_when_to_come_back() {
    let port = free_port();
    let pipeline = "circuit_breaker: { consecutive_failures: 3, open_for: 60s }";
    let mesh = Mesh::start(&spec(port, "http", pipeline, free_port()));
    for _ in 0..3 {
        let error = client(port, &["expect", "UNAVAILABLE"]);
        assert!(!error.contains("x-mesh-rejected-by"), "{error}");
    }
    let error = client(port, &["expect", "UNAVAILABLE"]);
    assert!(error.contains(r#"["x-mesh-rejected-by", "circuit_breaker"]"#), "{error}");
    assert!(error.contains("grpc-retry-pushback-ms"), "{error}");
    assert_eq!(mesh.metric("mesh_circuit_breaker_state", &[]), 1.0);
    mesh.stop();
}

#[test]
fn a_full_concurrency_limit_is_unavailable() {
    let sidecar = Sidecar::start("concurrency_limit: { max: 1, until_end: true }");
    let mut holder = peer::script("grpc_client.py")
        .args([&format!("127.0.0.1:{}", sidecar.port), "held_open"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "open\n");
    let error = sidecar.client(&["expect", "UNAVAILABLE"]);
    assert!(error.contains(r#"["x-mesh-rejected-by", "concurrency_limit"]"#), "{error}");
    holder.stdin.take().expect("piped").write_all(b"go on\n").expect("the client reads");
    assert!(holder.wait().expect("the client ends").success());
    sidecar.client(&["expect_ok"]);
    sidecar.mesh.stop();
}

#[test]
fn a_stream_that_is_idle_for_too_long_is_deadline_exceeded() {
    let sidecar = Sidecar::start("timeout: { idle: 300ms }");
    sidecar.client(&["expect", "DEADLINE_EXCEEDED", "HangUnary", "20"]);
    sidecar.client(&["cut_off"]);
    sidecar.client(&["bidi"]);
    sidecar.mesh.stop();
}

#[test]
fn metrics_tell_statuses_from_trailers() {
    let sidecar = Sidecar::start(STOCK);
    sidecar.client(&["late_status"]);
    let failures = sidecar.mesh.metric("mesh_requests_total", &["outcome=\"failure\""]);
    assert_eq!(failures, 1.0, "{}", sidecar.mesh.page("/metrics"));
    sidecar.mesh.stop();
}

/// A stream that is open when the end begins is ended by its two sides, not by the sidecar.
#[test]
fn an_open_stream_outlives_sigterm() {
    let mut sidecar = Sidecar::start(STOCK);
    let mut client = peer::script("grpc_client.py")
        .args([&format!("127.0.0.1:{}", sidecar.port), "held_open"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut line = String::new();
    BufReader::new(client.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "open\n");
    sidecar.mesh.terminate();
    eventually("/ready fails", || sidecar.mesh.ready() != Some(200));
    let mut input = client.stdin.take().expect("piped");
    input.write_all(b"go on\n").expect("the client reads");
    assert!(client.wait().expect("the client ends").success());
    assert!(sidecar.mesh.wait().success());
}
