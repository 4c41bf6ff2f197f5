//! Short runs of the load generators; a single error is a failure.

mod support;

use support::peer::{program, run};
use support::{Mesh, free_port};

/// Three endpoints that name themselves, behind the stock layers, on two workers.
fn sidecar() -> (Mesh, u16) {
    let port = free_port();
    let upstreams = [free_port(), free_port(), free_port()];
    let mut spec = format!(
        r#"
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, timeout: 10s, rate_limit: {{ rate: 1000000/s, burst: 1000000 }} ]
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]
"#
    );
    for upstream in upstreams {
        spec.push_str(&format!(
            r#"  app-{upstream}:
    bind: "127.0.0.1:{upstream}"
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, respond: {{ status: 200, body: "{upstream}" }} }} ]
"#
        ));
    }
    let list = upstreams.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
    spec.push_str(&format!("clusters:\n  app: {{ discovery: {{ static: [ {list} ] }} }}\n"));
    (Mesh::start(&spec), port)
}

#[test]
fn wrk_over_http1() {
    let (mesh, port) = sidecar();
    let url = format!("http://127.0.0.1:{port}/");
    let report = run(program("wrk").args(["-t1", "-c32", "-d3s", &url]));
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    let requests = mesh.metric("mesh_requests_total", &["listener=\"web\"", "outcome=\"success\""]);
    assert!(requests > 100.0, "{requests} requests\n{report}");
    mesh.stop();
}

#[test]
fn wrk_with_a_connection_per_request() {
    let (mesh, port) = sidecar();
    let url = format!("http://127.0.0.1:{port}/");
    let report = run(program("wrk").args(["-t1", "-c8", "-d1s", "-H", "connection: close", &url]));
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    mesh.stop();
}

#[test]
fn h2load_over_http2() {
    let (mesh, port) = sidecar();
    let url = format!("http://127.0.0.1:{port}/");
    let report = run(program("h2load").args(["-n", "10000", "-c", "4", "-m", "25", &url]));
    assert!(report.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    mesh.stop();
}

#[test]
fn h2load_over_http1() {
    let (mesh, port) = sidecar();
    let url = format!("http://127.0.0.1:{port}/");
    let report = run(program("h2load").args(["--h1", "-n", "10000", "-c", "16", &url]));
    assert!(report.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    mesh.stop();
}
