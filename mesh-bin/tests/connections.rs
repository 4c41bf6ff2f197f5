//! How many connections there may be, and which worker has them.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::http1::{self, Connection};
use support::origin::Origin;
use support::{Mesh, PATIENCE, eventually, free_port};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

fn spec(port: u16, workers: usize, listener: &str, upstream: u16) -> String {
    format!(
        r#"
workers: {workers}
listeners:
  web:
    bind: "127.0.0.1:{port}"
{listener}
    routes: [ {{ match: {{ path: {{ prefix: /app }} }}, cluster: app }}, {{ respond: {{ body: here }} }} ]
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{upstream}" ] }} }}
"#
    )
}

/// A connection that was admitted; `None` for one that was refused.
fn open(port: u16) -> io::Result<Option<Connection>> {
    let mut connection = Connection::open(port)?;
    match connection.exchange(GET) {
        Ok(response) => {
            assert_eq!((response.status, response.text().as_str()), (200, "here"));
            Ok(Some(connection))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(None),
            _ => Err(error),
        },
    }
}

#[test]
fn a_limit_is_exact_over_all_workers() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, 4, "    connection: [ max_connections: 10 ]", free_port()));
    let held: Vec<Connection> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..10).filter_map(|_| open(port).expect("answered or refused")).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(held.len(), 10);
    assert_eq!(mesh.metric("mesh_downstream_connections", &["listener=\"web\""]), 10.0);
    assert_eq!(mesh.metric("mesh_rejections_total", &["layer=\"max_connections\""]), 70.0);
    drop(held);
    eventually("a place is free again", || open(port).expect("answered or refused").is_some());
    eventually("all are gone", || mesh.metric("mesh_downstream_connections", &[]) == 0.0);
    mesh.stop();
}

/// Few long connections are what a hash spreads badly.
#[test]
fn few_connections_are_spread_evenly_over_the_workers() {
    let port = free_port();
    let mesh = Mesh::start(&spec(port, 4, "", free_port()));
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", mesh.id())).expect("its threads");
        let workers = tasks.filter_map(|task| {
            let task = task.expect("a thread").path();
            let name = fs::read_to_string(task.join("comm")).ok()?;
            name.starts_with("mesh-worker").then(|| time_of(&task))
        });
        workers.collect::<Vec<u64>>()
    };
    let mut held: Vec<Connection> = (0..8).map(|_| open(port).expect("answered").expect("admitted")).collect();
    assert_eq!(threads().len(), 4);
    // each worker has two of eight that do the same work, so that each gets a quarter of the time
    let before = threads();
    for _ in 0..2_000 {
        for connection in &mut held {
            connection.write(GET.as_bytes()).expect("written");
        }
        for connection in &mut held {
            connection.read_response("GET").expect("an answer");
        }
    }
    let spent: Vec<u64> = threads().iter().zip(&before).map(|(after, before)| after - before).collect();
    let (least, most) = (spent.iter().min().expect("four"), spent.iter().max().expect("four"));
    assert!(*least > 0 && most / least < 3, "{spent:?}");
    mesh.stop();
}

/// What a thread has run, in nanoseconds.
fn time_of(task: &std::path::Path) -> u64 {
    let stat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    stat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

#[test]
fn a_wave_of_clients_ends_in_refusals() {
    a_wave();
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_waves() {
    (0..5).for_each(|_| a_wave());
}

fn a_wave() {
    const WAVE: usize = 20_000;
    const THREADS: usize = 8;
    const AT_ONCE: usize = 25;
    let (port, origin) = (free_port(), Origin::echo());
    let mesh = Mesh::start_with_descriptors(&spec(port, 2, "", origin.port), 1000);
    let (refused, admitted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let held: Vec<TcpStream> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    for _ in 0..WAVE / THREADS / AT_ONCE {
                        let wave: Vec<TcpStream> = (0..AT_ONCE)
                            .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the kernel takes it"))
                            .collect();
                        for mut stream in wave {
                            stream.set_read_timeout(Some(PATIENCE)).expect("an option");
                            let _ = stream.write_all(GET.as_bytes());
                            let mut first = [0; 12];
                            match stream.read_exact(&mut first) {
                                Ok(()) => {
                                    assert_eq!(&first, b"HTTP/1.1 200");
                                    admitted.fetch_add(1, Ordering::Relaxed);
                                    held.push(stream);
                                }
                                Err(error) => {
                                    let refusals = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
                                    assert!(refusals.contains(&error.kind()), "{error}");
                                    refused.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                    }
                    held
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    // all that are admitted stay: their number is the limit
    assert_eq!(admitted.load(Ordering::Relaxed), held.len());
    assert_eq!(admitted.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed), WAVE);
    assert!((600..700).contains(&held.len()), "{}", held.len());

    // full as it is, its admin listener answers, and who is in gets through to an endpoint
    assert_eq!(mesh.metric("mesh_downstream_connections", &[]), held.len() as f64);
    assert_eq!(
        mesh.metric("mesh_rejections_total", &["layer=\"descriptors\""]),
        refused.load(Ordering::Relaxed) as f64
    );
    let mut old = held.into_iter();
    for _ in 0..100 {
        let mut stream = old.next().expect("hundreds");
        stream.write_all(b"GET /app HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert!(answer.contains("GET /app HTTP/1.1"), "{answer}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", mesh.id())).expect("it runs");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    let peak: u64 = peak.expect("its largest size");
    assert!(peak < 96 * 1024, "{peak} KiB");
    assert!(!mesh.output().contains("cannot accept"), "{}", mesh.output());

    println!(
        "soak: {WAVE} connections against 1000 descriptors | {} admitted, the others refused, {peak} KiB at the most",
        admitted.load(Ordering::Relaxed)
    );
    drop(old);
    eventually("places are free again", || open(port).is_ok_and(|connection| connection.is_some()));
    assert_eq!(http1::get(port, "/app").status, 200);
    mesh.stop();
}

#[test]
fn more_than_there_are_descriptors_for_is_warned_of() {
    let limit = "    connection: [ max_connections: 5000 ]";
    let mesh = Mesh::start_with_descriptors(&spec(free_port(), 1, limit, free_port()), 1000);
    let output = mesh.output();
    assert!(output.contains("WARN") && output.contains("admit 5000 connections"), "{output}");
    mesh.stop();
}
