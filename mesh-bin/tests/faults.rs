//! One endpoint of three fails under load: that costs what was in flight on it, and with a retry nothing.

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use support::http1::Connection;
use support::origin::{Origin, ok};
use support::{Mesh, eventually, free_port};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Its process is killed.
    Killed,
    /// Its process is stopped: the kernel takes connections for it still.
    Hangs,
    /// It resets each connection, in place of an answer.
    Resets,
    /// It closes its half of each connection, in place of an answer.
    HalfCloses,
}

/// An endpoint in the test's hands.
struct Endpoint {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    present: Mutex<Present>,
    changed: Condvar,
}

#[derive(Default)]
struct Present {
    holds: bool,
    /// Requests that have come and are not answered.
    held: usize,
    fault: Option<Fault>,
}

impl Endpoint {
    fn start() -> Endpoint {
        let state = Arc::new(State::default());
        let served = state.clone();
        let origin = Origin::raw(move |mut stream| {
            loop {
                read_all_but_one_byte(&mut stream)?;
                match served.turn() {
                    None => {
                        stream.read_exact(&mut [0])?;
                        stream.write_all(ok("here").as_bytes())?;
                    }
                    Some(Fault::HalfCloses) => {
                        stream.shutdown(Shutdown::Write)?;
                        return stream.read_to_end(&mut Vec::new()).map(drop);
                    }
                    // to close with something unread resets
                    Some(_) => return Ok(()),
                }
            }
        });
        Endpoint { port: origin.port, state }
    }

    /// From now on what comes is not answered.
    fn hold(&self) {
        self.state.present.lock().expect("no panic").holds = true;
    }

    fn held(&self) -> usize {
        self.state.present.lock().expect("no panic").held
    }

    /// What is held meets its fate, and so does all that comes.
    fn release(&self, fault: Option<Fault>) {
        let mut present = self.state.present.lock().expect("no panic");
        (present.holds, present.fault) = (false, fault);
        self.state.changed.notify_all();
    }
}

impl State {
    /// A request has come: what is to become of it?
    fn turn(&self) -> Option<Fault> {
        let mut present = self.present.lock().expect("no panic");
        present.held += 1;
        let mut present = self.changed.wait_while(present, |present| present.holds).expect("no panic");
        present.held -= 1;
        present.fault
    }
}

/// Reads a head but for its last byte.
fn read_all_but_one_byte(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let length = stream.peek(&mut bytes)?;
        if bytes[..length].ends_with(b"\r\n\r\n") {
            return stream.read_exact(&mut bytes[..length - 1]);
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        thread::yield_now();
    }
}

/// A sidecar before these endpoints, each of which gets a third, and none that has failed.
fn sidecar(ports: [u16; 3], protocol: &str, retry: bool) -> (Mesh, u16) {
    let port = free_port();
    let retry = if retry {
        "retry: { attempts: 3, budget: 100%, on: [ connect-failure, refused-stream, reset, gateway-error ] }"
    } else {
        ""
    };
    let endpoints = ports.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
    let mesh = Mesh::start(&format!(
        r#"
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ {retry} ]
    routes: [ {{ cluster: app }} ]
clusters:
  app:
    discovery: {{ static: [ {endpoints} ] }}
    protocol: {protocol}
    load_balancer: round_robin
    connect: {{ timeout: 2s }}
    endpoint_pipeline: [ circuit_breaker: {{ consecutive_failures: 1, open_for: 5m }}, timeout: {{ response: 5s }} ]
"#
    ));
    (mesh, port)
}

/// Clients that send one request after the other, each on a connection of its own.
struct Load {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<Vec<u16>>>,
}

impl Load {
    fn start(port: u16, clients: usize) -> Load {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let client = |_| {
            let (answered, stop) = (answered.clone(), stop.clone());
            thread::spawn(move || {
                let mut connection = Connection::open(port).expect("it listens");
                let mut failures = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    match connection.exchange(GET).expect("an answer, be it a bad one").status {
                        200 => _ = answered.fetch_add(1, Ordering::AcqRel),
                        status => failures.push(status),
                    }
                }
                failures
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { answered, stop, clients }
    }

    fn goes_on_for(&self, requests: usize) {
        let until = self.answered.load(Ordering::Acquire) + requests;
        eventually("the load goes on", || self.answered.load(Ordering::Acquire) >= until);
    }

    /// The failures that each client has met, and how many answers there were.
    fn stop(self) -> (Vec<Vec<u16>>, usize) {
        self.stop.store(true, Ordering::Release);
        let failures = self.clients.into_iter().map(|client| client.join().expect("answered")).collect();
        (failures, self.answered.load(Ordering::Acquire))
    }
}

/// Every client has a request on the endpoint when that fails.
fn fails_under_load(fault: Fault, clients: usize) {
    for retry in [false, true] {
        let endpoints = [Endpoint::start(), Endpoint::start(), Endpoint::start()];
        let bad = &endpoints[0];
        // what is to be killed or stopped is a process, which relays to it
        let process = matches!(fault, Fault::Killed | Fault::Hangs).then(|| {
            let port = free_port();
            let mesh = Mesh::start(&format!(
                "workers: 1\nlisteners: {{ r: {{ bind: \"127.0.0.1:{port}\", protocol: tcp, cluster: c }} }}\n\
                 clusters: {{ c: {{ discovery: {{ static: [ \"127.0.0.1:{}\" ] }} }} }}\n",
                bad.port
            ));
            (mesh, port)
        });
        let bad_port = process.as_ref().map_or(bad.port, |(_, port)| *port);
        let (mesh, port) = sidecar([bad_port, endpoints[1].port, endpoints[2].port], "http1", retry);
        let load = Load::start(port, clients);
        load.goes_on_for(10 * clients);
        bad.hold();
        eventually("each client waits for it", || bad.held() == clients);
        match (&process, fault) {
            (Some((process, _)), Fault::Killed) => process.signal("-KILL"),
            (Some((process, _)), _) => process.signal("-STOP"),
            (None, fault) => bad.release(Some(fault)),
        }
        load.goes_on_for(40 * clients);
        let (failures, answered) = load.stop();
        let cost: usize = failures.iter().map(Vec::len).sum();
        let expected = if retry { 0 } else { clients };
        assert!(failures.iter().all(|failures| failures.len() <= 1), "{fault:?}: {failures:?}");
        assert_eq!(cost, expected, "{fault:?}, retry {retry}: {failures:?}");
        let status = if fault == Fault::Hangs { 504 } else { 502 };
        assert!(failures.iter().flatten().all(|failure| *failure == status), "{fault:?}: {failures:?}");
        assert!(mesh.page("/clusters").contains("circuit_open"), "{}", mesh.page("/clusters"));
        println!(
            "soak: an endpoint of three: {fault:?}, {} | {clients} in flight on it, {cost} of {} failed",
            if retry { "with retry" } else { "without retry" },
            answered + cost
        );
        mesh.stop();
        drop(process);
        bad.release(None);
    }
}

#[test]
fn one_that_is_killed_costs_what_was_in_flight_on_it() {
    fails_under_load(Fault::Killed, 8);
}

#[test]
fn one_that_hangs_costs_what_was_in_flight_on_it() {
    fails_under_load(Fault::Hangs, 8);
}

#[test]
fn one_that_resets_costs_what_was_in_flight_on_it() {
    fails_under_load(Fault::Resets, 8);
}

#[test]
fn one_that_half_closes_costs_what_was_in_flight_on_it() {
    fails_under_load(Fault::HalfCloses, 8);
}

/// It takes connections, and never says a word: the handshake of HTTP/2 does not come to its end.
fn a_handshake_stalls(clients: usize) {
    let stalled = TcpListener::bind("127.0.0.1:0").expect("a port");
    let good = [free_port(), free_port()];
    let apps = Mesh::start(&format!(
        "workers: 1\nlisteners:\n  one: {{ bind: \"127.0.0.1:{}\", routes: [ {{ respond: {{ body: one }} }} ] }}\n  \
         two: {{ bind: \"127.0.0.1:{}\", routes: [ {{ respond: {{ body: two }} }} ] }}\n",
        good[0], good[1]
    ));
    for retry in [false, true] {
        let bad = stalled.local_addr().expect("bound").port();
        let (mesh, port) = sidecar([bad, good[0], good[1]], "http2", retry);
        let load = Load::start(port, clients);
        // each waits for it once at the most, and none for another one's wait
        load.goes_on_for(40 * clients);
        eventually("it is left alone", || mesh.page("/clusters").contains("circuit_open"));
        load.goes_on_for(40 * clients);
        let (failures, answered) = load.stop();
        let cost: usize = failures.iter().map(Vec::len).sum();
        assert!(failures.iter().all(|failures| failures.len() <= 1), "{failures:?}");
        assert!(if retry { cost == 0 } else { (1..=clients).contains(&cost) }, "retry {retry}: {failures:?}");
        println!(
            "soak: an endpoint of three: its HTTP/2 handshake stalls, {} | {clients} clients, {cost} of {} failed",
            if retry { "with retry" } else { "without retry" },
            answered + cost
        );
        mesh.stop();
    }
    apps.stop();
}

#[test]
fn a_stalled_handshake_costs_what_waits_for_it() {
    a_handshake_stalls(8);
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_endpoints() {
    for fault in [Fault::Killed, Fault::Hangs, Fault::Resets, Fault::HalfCloses] {
        fails_under_load(fault, 100);
    }
    a_handshake_stalls(100);
}
