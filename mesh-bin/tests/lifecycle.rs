//! From start to end of the program: admin pages, signals, in-flight requests.

mod support;

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::http1::{self, Connection};
use support::origin::{Origin, ok, read_request};
use support::{Mesh, PATIENCE, eventually, free_port, mesh, write_file};

/// A listener before one endpoint; `top` are further keys of the spec.
fn spec(port: u16, upstream: u16, top: &str) -> String {
    format!(
        r#"
workers: 2
{top}
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics ]
    routes: [ {{ name: all, match: {{ path: {{ prefix: / }} }}, cluster: app }} ]
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{upstream}" ] }} }}
"#
    )
}

/// An upstream that says when a request has arrived and answers when told.
struct Held {
    origin: Origin,
    arrived: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

fn held() -> Held {
    let (arrive, arrived) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let ends = Mutex::new((arrive, released));
    let origin = Origin::raw(move |mut stream| {
        let ends = ends.lock().expect("one connection at a time");
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        let _ = ends.0.send(());
        let _ = ends.1.recv();
        stream.write_all(ok("late but whole").as_bytes())
    });
    Held { origin, arrived, release }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn admin_pages() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, Origin::echo().port, ""));
    assert_eq!(http1::get(mesh.admin, "/live").status, 200);
    assert_eq!(http1::get(mesh.admin, "/nothing").status, 404);
    for _ in 0..3 {
        assert_eq!(http1::get(port, "/").status, 200);
    }
    assert_eq!(http1::get(port, "/a%2Fb").status, 400);

    let metrics = mesh.page("/metrics");
    for line in [
        "# TYPE mesh_requests_total counter",
        "# TYPE mesh_request_duration_seconds histogram",
        "# TYPE mesh_requests_in_flight gauge",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is not in\n{metrics}");
    }
    let labels =
        ["listener=\"web\"", "route=\"all\"", "cluster=\"app\"", "status_class=\"2xx\"", "outcome=\"success\""];
    assert_eq!(mesh.metric("mesh_requests_total", &labels), 3.0, "{metrics}");
    assert_eq!(mesh.metric("mesh_request_duration_seconds_count", &labels[..3]), 3.0, "{metrics}");
    assert_eq!(mesh.metric("mesh_requests_in_flight", &[]), 0.0, "{metrics}");
    assert_eq!(mesh.metric("mesh_build_info", &[]), 1.0, "{metrics}");

    let config = mesh.page("/config");
    for part in ["web", "app", "metrics", &port.to_string()] {
        assert!(config.contains(part), "{part} is not in\n{config}");
    }
    let clusters = mesh.page("/clusters");
    for part in ["\"name\": \"app\"", "\"resolved\": true", "\"in_flight\": 0", "\"picks\": 3", "\"eligible\": true"] {
        assert!(clusters.contains(part), "{part} is not in\n{clusters}");
    }
    mesh.stop();
}

/// The admin listener answers only who means it: no rebinding of a name, no page of another site.
#[test]
fn admin_refuses_foreign_hosts_and_origins() {
    let mesh = Mesh::start(&spec(free_port(), free_port(), ""));
    let admin = mesh.admin;
    for headers in
        ["host: evil.test\r\n".to_owned(), format!("host: 127.0.0.1:{admin}\r\norigin: http://evil.test\r\n")]
    {
        let response = http1::send(admin, &format!("GET /config HTTP/1.1\r\n{headers}\r\n"));
        assert!((400..500).contains(&response.status), "{headers}: {}", response.status);
    }
    for host in ["localhost", "127.0.0.1"] {
        let response = http1::send(admin, &format!("GET /ready HTTP/1.1\r\nhost: {host}:{admin}\r\n\r\n"));
        assert_eq!(response.status, 200, "{host}");
    }
    mesh.stop();
}

/// A variable's value works in traffic and stays out of what the program shows.
#[test]
fn variables_are_expanded_but_not_shown() {
    let port = free_port();
    // Cargo sets this one for the test, which hands it on.
    let value = env!("CARGO_PKG_DESCRIPTION");
    let mesh = Mesh::start(&format!(
        r#"
listeners:
  web:
    bind: "127.0.0.1:${{UNSET_PORT:-{port}}}"
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, respond: {{ status: 200, body: "${{CARGO_PKG_DESCRIPTION}} $$5 $x" }} }} ]
"#
    ));
    assert_eq!(http1::get(port, "/").text(), format!("{value} $5 $x"));
    let config = mesh.page("/config");
    assert!(config.contains("${CARGO_PKG_DESCRIPTION}"), "{config}");
    assert!(!config.contains(value), "{config}");
    mesh.stop();
}

#[test]
fn sigterm_ends_after_requests_in_flight() {
    let held = held();
    let port = free_port();
    let mut mesh = Mesh::start(&spec(port, held.origin.port, ""));
    let mut idle = Connection::open(port).expect("a connection");
    let mut busy = Connection::open(port).expect("a connection");
    busy.write(GET).expect("written");
    held.arrived.recv_timeout(PATIENCE).expect("the request is at the upstream");

    mesh.terminate();
    eventually("/ready fails", || mesh.ready() != Some(200));
    eventually("new connections are refused", || TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(idle.is_closed(), "the idle connection");
    held.release.send(()).expect("the upstream waits");
    let response = busy.read_response("GET").expect("the whole answer");
    assert_eq!((response.status, response.text().as_str()), (200, "late but whole"));
    assert_eq!(response.head.get("connection"), Some("close"));
    assert!(mesh.wait().success());
}

#[test]
fn accepting_goes_on_for_the_delay() {
    let port = free_port();
    let mut mesh = Mesh::start(&spec(port, Origin::echo().port, "shutdown: { delay: 2s, timeout: 10s }"));
    let start = Instant::now();
    mesh.terminate();
    eventually("/ready fails", || mesh.ready() != Some(200));
    let answer = http1::try_get(port, "/");
    // A machine that was too slow for the delay says nothing about it.
    if start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(answer.expect("an answer during the delay").status, 200);
    }
    assert!(mesh.wait().success());
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_request_that_never_ends_is_cut_at_the_timeout() {
    let held = held();
    let port = free_port();
    let mut mesh = Mesh::start(&spec(port, held.origin.port, "shutdown: { timeout: 300ms }"));
    let mut busy = Connection::open(port).expect("a connection");
    busy.write(GET).expect("written");
    held.arrived.recv_timeout(PATIENCE).expect("the request is at the upstream");
    mesh.terminate();
    mesh.wait();
    assert!(busy.read_response("GET").is_err(), "the connection was cut");
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let path = write_file("mesh.yaml", &spec(port, free_port(), ""));
    let output = mesh(&["run", "--config", path.to_str().expect("utf-8")]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains(&port.to_string()), "{}", output.stderr);
}

/// Exact over workers and connections: of four times the burst, the burst is admitted.
#[test]
fn a_rate_limit_is_exact_with_two_workers() {
    const BURST: usize = 160;
    const CLIENTS: usize = 16;
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, rate_limit: {{ rate: 1/m, burst: {BURST} }} ]
    routes: [ {{ match: {{ path: {{ prefix: / }} }}, respond: {{ status: 200, body: ok }} }} ]
"#
    ));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                let mut statuses = Vec::new();
                // Several connections each, so that both workers have some.
                for _ in 0..4 {
                    let mut connection = Connection::open(port).expect("a connection");
                    for _ in 0..4 * BURST / CLIENTS / 4 {
                        connection.write(GET).expect("written");
                        statuses.push(connection.read_response("GET").expect("an answer").status);
                    }
                }
                statuses
            })
        })
        .collect();
    let statuses: Vec<u16> = clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    assert_eq!(statuses.len(), 4 * BURST);
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(200), count(429)), (BURST, 3 * BURST));
    assert_eq!(mesh.metric("mesh_rejections_total", &["layer=\"rate_limit\""]), (3 * BURST) as f64);
    mesh.stop();
}

/// What has ended is in the log when the program has: no line waits in a buffer for ever.
#[test]
fn the_access_log_is_whole_when_the_program_ends() {
    let port = free_port();
    let log = write_file("access.log", "");
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline:
      - metrics
      - access_log:
          path: {log:?}
          format: {{ text: "%LISTENER_NAME% %ROUTE_NAME% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %REQ(X-REQUEST-ID):2%- %UPSTREAM_HOST% %UPSTREAM_REQUEST_ATTEMPT_COUNT%" }}
    routes:
      - {{ name: health, match: {{ path: {{ exact: /healthz }} }}, respond: {{ body: fine }} }}
      - {{ name: limited, match: {{ path: {{ exact: /limited }} }}, pipeline: [ rate_limit: {{ rate: 1/h, burst: 1 }} ], respond: {{ body: ok }} }}
      - {{ name: app, match: {{ path: {{ prefix: /app }} }}, cluster: app }}
      - {{ name: dead, match: {{ path: {{ prefix: /dead }} }}, cluster: dead }}
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{origin}" ] }} }}
  dead: {{ discovery: {{ static: [ "127.0.0.1:{dead}" ] }} }}
"#,
        origin = Origin::echo().port,
        dead = free_port(),
    ));
    for path in ["/healthz", "/limited", "/limited", "/nowhere", "/dead"] {
        http1::send(port, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: rid\r\nconnection: close\r\n\r\n"));
    }
    assert_eq!(http1::get(port, "/app").status, 200);
    // what no layer has seen
    assert_eq!(http1::send(port, "GET /no-host HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!(http1::send(port, "no request\r\n\r\n").status, 400);
    // what is no request is answered first, then counted
    eventually("four rejections", || {
        mesh.metric("mesh_requests_total", &["outcome=\"rejected\"", "listener=\"web\""]) == 4.0
    });
    mesh.stop();
    let text = std::fs::read_to_string(&log).expect("the log");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "web health /healthz 200 - 4 ri- - 0",
            "web limited /limited 200 - 2 ri- - 0",
            "web limited /limited 429 RL 0 ri- - 0",
            "web - /nowhere 404 NR 0 ri- - 0",
        ]
    );
    assert!(lines[4].starts_with("web dead /dead 502 UF 0 ri- 127.0.0.1:"), "{}", lines[4]);
    assert!(lines[5].starts_with("web app /app 200 - "), "{}", lines[5]);
    assert_eq!(lines[6..], ["web - /no-host 400 DPE 0 -- - 0", "web - - 400 DPE 0 -- - 0"]);
}
