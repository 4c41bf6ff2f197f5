//! The end of the program under load: nothing that has begun is lost, and what goes out outlives what comes in.

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use support::http1::{self, Connection};
use support::origin::{Origin, ok, read_request};
use support::{Mesh, PATIENCE, eventually, free_port};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// An application behind `in` that needs `out` for its answer.
#[test]
fn what_goes_out_outlives_what_comes_in() {
    let (ingress, egress) = (free_port(), free_port());
    let (arrive, arrived) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let ends = Mutex::new((arrive, released));
    let application = Origin::raw(move |mut stream| {
        let ends = ends.lock().expect("one connection at a time");
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        let _ = ends.0.send(());
        let _ = ends.1.recv();
        let answer = http1::get(egress, "/").text();
        stream.write_all(ok(&answer).as_bytes())
    });
    let mut mesh = Mesh::start(&format!(
        r#"
listeners:
  in: {{ bind: "127.0.0.1:{ingress}", routes: [ {{ cluster: application }} ] }}
  out: {{ bind: "127.0.0.1:{egress}", drain: last, routes: [ {{ respond: {{ body: from outside }} }} ] }}
clusters:
  application: {{ discovery: {{ static: [ "127.0.0.1:{}" ] }} }}
"#,
        application.port
    ));
    let mut busy = Connection::open(ingress).expect("a connection");
    let mut idle = Connection::open(egress).expect("a connection");
    assert_eq!(idle.exchange(GET).expect("an answer").text(), "from outside");
    busy.write(GET.as_bytes()).expect("written");
    arrived.recv_timeout(PATIENCE).expect("the request is at the application");
    mesh.terminate();
    eventually("nothing new comes in", || TcpStream::connect(("127.0.0.1", ingress)).is_err());
    assert_eq!(idle.exchange(GET).expect("the connection stays").text(), "from outside");
    release.send(()).expect("the application waits");
    let answer = busy.read_response("GET").expect("the whole answer");
    assert_eq!((answer.text().as_str(), answer.head.get("connection")), ("from outside", Some("close")));
    assert!(idle.is_closed());
    assert!(mesh.wait().success());
}

#[test]
fn one_deadline_for_all() {
    let (ingress, egress) = (free_port(), free_port());
    let (arrive, arrived) = mpsc::channel();
    let arrive = Mutex::new(arrive);
    let application = Origin::raw(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, &mut stream)?;
        let _ = arrive.lock().expect("never poisoned").send(());
        // until the other side goes away
        stream.read(&mut [0]).map(drop)
    });
    let mut mesh = Mesh::start(&format!(
        r#"
shutdown: {{ timeout: 1s }}
listeners:
  in: {{ bind: "127.0.0.1:{ingress}", routes: [ {{ cluster: application }} ] }}
  out: {{ bind: "127.0.0.1:{egress}", drain: last, routes: [ {{ cluster: application }} ] }}
clusters:
  application: {{ discovery: {{ static: [ "127.0.0.1:{}" ] }} }}
"#,
        application.port
    ));
    let mut connections = [ingress, egress].map(|port| Connection::open(port).expect("a connection"));
    for connection in &mut connections {
        connection.write(GET.as_bytes()).expect("written");
        arrived.recv_timeout(PATIENCE).expect("the request is at the application");
    }
    let start = Instant::now();
    mesh.terminate();
    mesh.wait();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    for mut connection in connections {
        assert!(connection.read_response("GET").is_err(), "it was cut");
    }
}

/// A frame of HTTP/2: its type, its flags, its payload.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], payload))
}

fn write_frame(stream: &mut TcpStream, kind: u8, flags: u8, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
    stream.write_all(&[&head[..], payload].concat()).expect("written");
}

#[test]
fn an_idle_http2_connection_is_told_to_go_away_at_once() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    let port = free_port();
    let mut mesh = Mesh::start(&format!(
        "listeners:\n  web: {{ bind: \"127.0.0.1:{port}\", routes: [ {{ respond: {{ body: ok }} }} ] }}\n"
    ));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("written");
    write_frame(&mut stream, SETTINGS, 0, &[]);
    // it knows us when it has acknowledged our settings
    while let Some((kind, flags, _)) = read_frame(&mut stream) {
        match (kind, flags & ACK) {
            (SETTINGS, 0) => write_frame(&mut stream, SETTINGS, ACK, &[]),
            (SETTINGS, _) => break,
            _ => {}
        }
    }
    mesh.terminate();
    let mut told = false;
    while let Some((kind, flags, payload)) = read_frame(&mut stream) {
        match (kind, flags & ACK) {
            (PING, 0) => write_frame(&mut stream, PING, ACK, &payload),
            (GOAWAY, _) => {
                assert_eq!(payload[4..8], [0; 4], "no error");
                told = true;
            }
            _ => {}
        }
    }
    assert!(told, "the connection was closed without a word");
    assert!(mesh.wait().success());
}

/// Clients with a connection of their own, and clients that make one for each request until `/ready` fails, as behind a
/// balancer. Nobody's request is lost, and who has a connection is told that it ends.
#[test]
fn sigterm_under_load_loses_nothing() {
    sigterm_under_load();
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_sigterm() {
    let requests: usize = (0..20).map(|_| sigterm_under_load()).sum();
    println!("soak: SIGTERM under load, 20 times | {requests} requests, none lost");
}

/// How many requests there were.
fn sigterm_under_load() -> usize {
    let port = free_port();
    let origin = Origin::echo();
    let mut mesh = Mesh::start(&format!(
        r#"
workers: 2
shutdown: {{ delay: 1s }}
listeners:
  web: {{ bind: "127.0.0.1:{port}", routes: [ {{ cluster: app }} ] }}
clusters: {{ app: {{ discovery: {{ static: [ "127.0.0.1:{}" ] }} }} }}
"#,
        origin.port
    ));
    let (answered, unready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let client = |keeps: bool| {
        let (answered, unready) = (answered.clone(), unready.clone());
        thread::spawn(move || {
            loop {
                let mut connection = Connection::open(port).expect("it still listens");
                loop {
                    let response = connection.exchange(GET).expect("no request is lost");
                    assert_eq!(response.status, 200);
                    answered.fetch_add(1, Ordering::AcqRel);
                    if response.head.get("connection") == Some("close") {
                        assert!(keeps, "those that make a new one have stopped before");
                        return;
                    }
                    if !keeps {
                        break;
                    }
                }
                if unready.load(Ordering::Acquire) {
                    return;
                }
            }
        })
    };
    let clients: Vec<_> = [true, true, false, false].into_iter().map(client).collect();
    eventually("a load", || answered.load(Ordering::Acquire) > 200);
    mesh.terminate();
    eventually("/ready fails", || mesh.ready() == Some(503));
    unready.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().expect("nothing lost"));
    assert!(mesh.wait().success());
    answered.load(Ordering::Acquire)
}
