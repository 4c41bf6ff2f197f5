//! The running program takes its spec again: by whatever way it is told, without losing a request.

mod support;

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::http1::{self, Connection, Response};
use support::origin::{Origin, ok, read_request};
use support::{Mesh, eventually, free_port, write_file};

/// A listener that answers with `body`.
fn spec(admin: u16, port: u16, body: &str) -> String {
    format!(
        r#"
admin: {{ bind: "127.0.0.1:{admin}" }}
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, rate_limit: {{ rate: 100000/s }} ]
    routes: [ {{ name: all, respond: {{ body: {body} }} }} ]
"#
    )
}

/// Puts another file in the place of this one.
fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).expect("written");
    fs::rename(&next, file).expect("renamed");
}

fn post_reload(admin: u16) -> Response {
    http1::send(admin, &format!("POST /reload HTTP/1.1\r\nhost: localhost:{admin}\r\ncontent-length: 0\r\n\r\n"))
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The answers of one connection that outlasts all reloads.
fn eventually_answers(connection: &mut Connection, body: &str) {
    eventually(body, || {
        let response = connection.exchange(GET).expect("the connection stays");
        assert_eq!(response.status, 200);
        response.text() == body
    });
}

#[test]
fn the_file_replaced_written_and_a_signal() {
    let (admin, port) = (free_port(), free_port());
    let mesh = Mesh::start_whole(&spec(admin, port, "one"), admin);
    let mut connection = Connection::open(port).expect("a connection");
    eventually_answers(&mut connection, "one");
    replace(&mesh.file, &spec(admin, port, "two"));
    eventually_answers(&mut connection, "two");
    fs::write(&mesh.file, spec(admin, port, "three")).expect("written in place");
    eventually_answers(&mut connection, "three");
    assert_eq!(mesh.metric("mesh_config_reloads_total", &["result=\"applied\""]), 2.0);
    // a signal reloads also what is the same
    mesh.signal("-HUP");
    eventually("three reloads", || mesh.metric("mesh_config_reloads_total", &["result=\"applied\""]) == 3.0);
    eventually_answers(&mut connection, "three");
    // a file that is empty or missing for a moment is none that is meant
    fs::write(&mesh.file, "").expect("written");
    fs::remove_file(&mesh.file).expect("removed");
    replace(&mesh.file, &spec(admin, port, "four"));
    eventually_answers(&mut connection, "four");
    assert_eq!(mesh.metric("mesh_config_reloads_total", &["result=\"refused\""]), 0.0);
    let output = mesh.output();
    for part in ["reloaded: ", "SIGHUP", "the file has changed", "routes: 1 changed (web/all)"] {
        assert!(output.contains(part), "{part} is not in\n{output}");
    }
    mesh.stop();
}

/// As Kubernetes mounts a config map: mesh.yaml -> ..data/mesh.yaml, ..data -> ..1
#[test]
fn a_directory_swapped_by_its_link() {
    let (admin, port) = (free_port(), free_port());
    let first = write_file("unused", "");
    let directory = first.parent().expect("it has one");
    let version = |number: u32, body: &str| {
        let name = format!("..{number}");
        fs::create_dir(directory.join(&name)).expect("made");
        fs::write(directory.join(&name).join("mesh.yaml"), spec(admin, port, body)).expect("written");
        symlink(&name, directory.join("..next")).expect("linked");
        fs::rename(directory.join("..next"), directory.join("..data")).expect("renamed");
    };
    version(1, "one");
    symlink("..data/mesh.yaml", directory.join("mesh.yaml")).expect("linked");
    let mesh = Mesh::start_file(directory.join("mesh.yaml"), admin);
    let mut connection = Connection::open(port).expect("a connection");
    eventually_answers(&mut connection, "one");
    for (number, body) in [(2, "two"), (3, "three")] {
        version(number, body);
        fs::remove_dir_all(directory.join(format!("..{}", number - 1))).expect("removed");
        eventually_answers(&mut connection, body);
    }
    mesh.stop();
}

#[test]
fn on_demand_with_a_report_or_with_every_fault() {
    let (admin, port) = (free_port(), free_port());
    let mesh = Mesh::start_whole(&spec(admin, port, "one"), admin);
    let good = post_reload(admin);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(good.head.get("content-type"), Some("application/json"));
    for part in ["\"kept\": [\n      \"web\"\n    ]", "\"listeners.web: rate_limit\"", "\"reset\": []"] {
        assert!(good.text().contains(part), "{part} is not in\n{}", good.text());
    }

    // refused whole, every fault in its place; as by `mesh check`
    let bad =
        spec(admin, port, "two").replace("rate: 100000/s", "rat: 1/s").replace("name: all", "name: all, cluster: x");
    replace(&mesh.file, &bad);
    eventually("the change is seen", || mesh.metric("mesh_config_reloads_total", &["result=\"refused\""]) == 1.0);
    let refused = post_reload(admin);
    assert_eq!(refused.status, 422, "{}", refused.text());
    for part in
        ["\"line\": 7", "unknown key `rat`", "did you mean `rate`?", "\"line\": 8", "`cluster` or `respond`, not both"]
    {
        assert!(refused.text().contains(part), "{part} is not in\n{}", refused.text());
    }
    assert!(mesh.output().contains("unknown key `rat`"), "{}", mesh.output());
    assert_eq!(http1::get(port, "/").text(), "one");
    assert!(mesh.page("/config").contains("\"one\""));
    assert_eq!(mesh.metric("mesh_config_reloads_total", &["result=\"refused\""]), 2.0);

    // a port that somebody has
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let _holder = std::net::TcpListener::bind(taken).expect("again");
    replace(&mesh.file, &spec(admin, taken.port(), "two"));
    eventually("it is refused", || post_reload(admin).status == 409);
    assert_eq!(http1::get(port, "/").text(), "one");

    // who may not
    let asked =
        |head: &str| http1::send(admin, &format!("{head}\r\nhost: localhost:{admin}\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(asked("GET /reload HTTP/1.1").status, 405);
    assert_eq!(asked("POST /reload HTTP/1.1\r\norigin: http://evil.test").status, 403);
    let form = "POST /reload HTTP/1.1\r\ncontent-type: text/plain\r\ncontent-length: 1";
    assert_eq!(http1::send(admin, &format!("{form}\r\nhost: localhost:{admin}\r\n\r\nx")).status, 415);
    assert_eq!(asked("POST /ready HTTP/1.1").status, 405);
    mesh.stop();
}

#[test]
fn not_while_it_ends() {
    let (admin, port) = (free_port(), free_port());
    let text = |body| format!("{}\nshutdown: {{ delay: 3s }}", spec(admin, port, body));
    let mut mesh = Mesh::start_whole(&text("one"), admin);
    mesh.terminate();
    eventually("/ready fails", || mesh.ready() == Some(503));
    assert_eq!(post_reload(admin).status, 409);
    mesh.signal("-HUP");
    replace(&mesh.file, &text("two"));
    assert_eq!(http1::get(port, "/").text(), "one");
    assert!(mesh.wait().success());
}

/// Reloads that change a route, a limit, a cluster and a listener, while clients ask without a pause.
#[test]
fn under_load_nothing_is_lost_and_no_connection_ends() {
    const RELOADS: usize = 30;
    let (admin, port, other) = (free_port(), free_port(), free_port());
    let (one, two) = (Origin::echo().port, Origin::echo().port);
    let text = |round: usize| {
        let other = if round.is_multiple_of(2) {
            // of an address that nobody else takes ports of while it is away
            format!("  other: {{ bind: \"127.0.0.2:{other}\", routes: [ {{ cluster: app }} ] }}\n")
        } else {
            String::new()
        };
        format!(
            r#"
admin: {{ bind: "127.0.0.1:{admin}" }}
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, rate_limit: {{ rate: {rate}/s, burst: 1000000 }} ]
    routes:
      - {{ match: {{ path: {{ prefix: /r{round} }} }}, respond: {{ body: other }} }}
      - {{ name: all, cluster: app, pipeline: [ timeout: {timeout}s ] }}
{other}clusters:
  app:
    discovery: {{ static: [ "127.0.0.1:{one}"{endpoint} ] }}
    endpoint_pipeline: [ circuit_breaker: {failures} ]
"#,
            rate = 1_000_000 + round,
            timeout = 20 + round % 3,
            failures = 5 + round % 2,
            endpoint = if round.is_multiple_of(3) { format!(", \"127.0.0.1:{two}\"") } else { String::new() },
        )
    };
    let mesh = Mesh::start_whole(&text(0), admin);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                let mut connection = Connection::open(port).expect("a connection");
                while !stop.load(Ordering::Acquire) {
                    let response = connection.exchange(GET).expect("the connection stays");
                    assert_eq!((response.status, response.head.get("connection")), (200, None));
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for round in 1..=RELOADS {
        let before = answered.load(Ordering::Acquire);
        replace(&mesh.file, &text(round));
        let response = post_reload(admin);
        assert_eq!(response.status, 200, "{}", response.text());
        eventually("it goes on", || answered.load(Ordering::Acquire) > before + 8);
    }
    stop.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().expect("no error"));
    assert_eq!(mesh.metric("mesh_requests_total", &["outcome=\"success\""]), answered.load(Ordering::Acquire) as f64);
    mesh.stop();
}

/// Long before they would have been idle for too long; those to others stay.
#[test]
fn idle_connections_to_an_endpoint_that_left_are_closed() {
    let closed = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let [gone, stays] = closed.each_ref().map(|closed| {
        let closed = closed.clone();
        Origin::raw(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while read_request(&mut reader, &mut stream).is_ok() {
                stream.write_all(ok("here").as_bytes())?;
            }
            closed.fetch_add(1, Ordering::AcqRel);
            Ok(())
        })
    });
    let (admin, port) = (free_port(), free_port());
    let spec = |endpoints: &[&Origin]| {
        let endpoints: Vec<_> = endpoints.iter().map(|origin| format!("\"127.0.0.1:{}\"", origin.port)).collect();
        format!(
            "admin: {{ bind: \"127.0.0.1:{admin}\" }}\nworkers: 1\n\
             listeners: {{ web: {{ bind: \"127.0.0.1:{port}\", routes: [ {{ cluster: app }} ] }} }}\n\
             clusters: {{ app: {{ discovery: {{ static: [ {} ] }}, load_balancer: round_robin }} }}\n",
            endpoints.join(", ")
        )
    };
    let mesh = Mesh::start_whole(&spec(&[&gone, &stays]), admin);
    let mut connection = Connection::open(port).expect("a connection");
    for _ in 0..4 {
        assert_eq!(connection.exchange(GET).expect("an answer").text(), "here");
    }
    eventually("one to each", || mesh.metric("mesh_upstream_connections", &["state=\"idle\""]) == 2.0);
    replace(&mesh.file, &spec(&[&stays]));
    eventually("the one is closed", || closed[0].load(Ordering::Acquire) == 1);
    eventually("the other is left", || mesh.metric("mesh_upstream_connections", &["state=\"idle\""]) == 1.0);
    assert_eq!(closed[1].load(Ordering::Acquire), 0);
    mesh.stop();
}
