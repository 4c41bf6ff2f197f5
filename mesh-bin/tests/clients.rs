//! Many clients: idle ones, slow ones, and what each of them costs.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::http1::Connection;
use support::{Mesh, PATIENCE, eventually, free_port};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn sidecar(timeouts: &str) -> (Mesh, u16) {
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    timeouts: {timeouts}
    pipeline: [ metrics ]
    routes: [ {{ respond: {{ body: here }} }} ]
"#
    ));
    (mesh, port)
}

/// What of its memory is there, in KiB.
fn resident(mesh: &Mesh) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mesh.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn idle_connections(count: usize) {
    let (mesh, port) = sidecar("{ idle: 1h }");
    assert_eq!(Connection::open(port).and_then(|mut one| one.exchange(GET)).expect("an answer").status, 200);
    let before = resident(&mesh);
    let open = |_| {
        let mut connection = Connection::open(port).expect("taken");
        assert_eq!(connection.exchange(GET).expect("an answer").status, 200);
        connection
    };
    let mut connections: Vec<Connection> = (0..count).map(open).collect();
    assert_eq!(mesh.metric("mesh_downstream_connections", &[]), count as f64);
    let each = resident(&mesh).saturating_sub(before) as f64 / count as f64;
    assert!(each < 24.0, "{each:.1} KiB for each of {count} connections");
    for connection in &mut connections {
        assert_eq!(connection.exchange(GET).expect("it is still served").text(), "here");
    }
    drop(connections);
    eventually("all are gone", || mesh.metric("mesh_downstream_connections", &[]) == 0.0);
    assert_eq!(Connection::open(port).and_then(|mut one| one.exchange(GET)).expect("an answer").status, 200);
    println!("soak: {count} idle connections | {each:.1} KiB each, all of them answered again");
    mesh.stop();
}

#[test]
fn idle_connections_are_small_and_still_served() {
    idle_connections(800);
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_idle_connections() {
    idle_connections(10_000);
}

/// Heads that come byte by byte are ended by `timeouts.header`, and others are served meanwhile.
fn slow_heads(count: usize, limit: Duration) {
    let (mesh, port) = sidecar(&format!("{{ header: {}ms }}", limit.as_millis()));
    let mut slow: Vec<(TcpStream, Instant)> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("taken");
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").expect("written");
            stream.set_nonblocking(true).expect("an option");
            (stream, Instant::now())
        })
        .collect();
    let mut served = 0;
    let mut other = Connection::open(port).expect("taken");
    let start = Instant::now();
    while !slow.is_empty() {
        assert!(start.elapsed() < limit + PATIENCE, "{} are still read", slow.len());
        assert_eq!(other.exchange(GET).expect("served").status, 200);
        served += 1;
        slow.retain_mut(|(stream, began)| match stream.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // it may be closed at this moment
                let _ = stream.write(b"y");
                true
            }
            _ => {
                // the first of its bytes came after it was connected
                assert!(began.elapsed() >= limit - Duration::from_millis(100), "{:?}", began.elapsed());
                stream.set_nonblocking(false).expect("an option");
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).expect("an answer");
                assert_eq!(&answer, b"HTTP/1.1 408");
                false
            }
        });
        thread::sleep(Duration::from_millis(20));
    }
    let refused = mesh.metric("mesh_rejections_total", &["reason=\"header_timeout\""]);
    assert_eq!(refused, count as f64);
    // and they are requests, as far as the layers that observe are concerned
    assert_eq!(mesh.metric("mesh_requests_total", &["outcome=\"rejected\""]), count as f64);
    println!("soak: {count} heads byte by byte | all ended with 408, {served} others answered meanwhile");
    mesh.stop();
}

#[test]
fn slow_heads_are_ended_and_others_served() {
    slow_heads(50, Duration::from_secs(1));
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_slow_heads() {
    slow_heads(2_000, Duration::from_secs(10));
}
