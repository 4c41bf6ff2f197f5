//! A large spec taken again and again under load: how long that takes, and what the clients see of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::origin::Head;
use super::program::{Program, free_port};
use super::{program, publish};
use crate::step::Outcome;

const CLUSTERS: usize = 1_000;
const ROUTES: usize = 10_000;
const HOSTS: usize = 1_000;
const RELOADS: usize = 100;
/// Connections that ask without a pause, beside the one that asks once in a millisecond.
const BUSY: usize = 4;

/// One worker under load, without reloads and with a hundred.
pub(crate) fn reload() -> Outcome {
    program::build()?;
    let (port, admin) = (free_port()?, free_port()?);
    let sidecar = Program::start_with_admin(&[], &spec(port, 0), admin)?;
    let file = sidecar.file().to_owned();
    let calm = clients(port, |_| {
        thread::sleep(Duration::from_secs(10));
        Ok(())
    })?;
    let mut took = Vec::new();
    let mut memory = Vec::new();
    let busy = clients(port, |answered| {
        for round in 1..=RELOADS {
            put(&file, &format!("admin: {{ bind: \"127.0.0.1:{admin}\" }}\n{}", spec(port, round)))?;
            let start = Instant::now();
            post_reload(admin)?;
            took.push(start.elapsed());
            let before = answered.load(Relaxed);
            while answered.load(Relaxed) < before + 100 {
                thread::sleep(Duration::from_millis(1));
            }
            if round.is_multiple_of(20) {
                memory.push(sidecar.resident()?.total);
            }
        }
        Ok(())
    })?;
    sidecar.stop()?;
    took.sort();
    let memory: Vec<String> = memory.iter().map(|kib| format!("{:.0}", *kib as f64 / 1024.0)).collect();
    let mut text = format!(
        "# Reload\n\n{CLUSTERS} clusters and {ROUTES} routes on {HOSTS} hosts, every tenth route with a layer. One worker; {BUSY} \
         connections ask without a pause, one once in a millisecond. Each of {RELOADS} reloads changes a listener's layer, a \
         route and a cluster, by `POST /reload`: the time has the reading of the file in it. No request fails, no \
         connection ends.\n\n\
         `POST /reload`: median {} ms, at the most {} ms. Resident memory after each 20 reloads: {} MiB.\n\n\
         | | requests per second | p50 | p99 | p99.9 | longest |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        millis(took[took.len() / 2]),
        millis(took[took.len() - 1]),
        memory.join(", "),
    );
    for (name, seen) in [("without", calm), ("with reloads", busy)] {
        let at = |share: f64| millis(seen.latencies[((seen.latencies.len() - 1) as f64 * share) as usize]);
        let _ = writeln!(
            text,
            "| {name} | {} | {} ms | {} ms | {} ms | {} ms |",
            seen.rate,
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    publish("reload", "cargo xtask reload", &text)
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// The spec of a round.
fn spec(port: u16, round: usize) -> String {
    let mut spec = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: \"127.0.0.1:{port}\"\n\
         \x20   pipeline: [ metrics, rate_limit: {{ rate: 1000000/s, burst: {} }} ]\n    routes:\n\
         \x20     - {{ name: here, match: {{ host: here.local }}, respond: {{ body: ok }}, pipeline: [ timeout: 10s ] }}\n",
        1_000_000 + round
    );
    for route in 0..ROUTES {
        let host = route % HOSTS;
        let cluster = (route + if route == round { 1 } else { 0 }) % CLUSTERS;
        let pipeline = if route.is_multiple_of(10) { ", pipeline: [ timeout: 2s ]" } else { "" };
        let _ = writeln!(
            spec,
            "      - {{ name: r{route}, match: {{ host: h{host}.local, path: {{ prefix: /p{} }} }}, cluster: c{cluster}{pipeline} }}",
            route / HOSTS
        );
    }
    spec += "clusters:\n";
    for cluster in 0..CLUSTERS {
        let breaker = if cluster == round % CLUSTERS { 6 } else { 5 };
        let _ = writeln!(
            spec,
            "  c{cluster}: {{ discovery: {{ static: [ \"10.0.{}.{}:80\", \"10.1.{}.{}:80\" ] }}, endpoint_pipeline: [ circuit_breaker: {breaker} ] }}",
            cluster / 250,
            cluster % 250 + 1,
            cluster / 250,
            cluster % 250 + 1
        );
    }
    spec
}

/// What clients see while something goes on.
struct Seen {
    rate: u64,
    /// Of the one that asks once in a millisecond, in their order.
    latencies: Vec<Duration>,
}

/// Runs the clients while `act` does; any failure of one is an error.
fn clients(port: u16, act: impl FnOnce(&AtomicU64) -> Outcome) -> Result<Seen, String> {
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = |pause: Option<Duration>| {
        let (over, answered) = (over.clone(), answered.clone());
        thread::spawn(move || ask(port, pause, &over, &answered))
    };
    let probe = client(Some(Duration::from_millis(1)));
    let busy: Vec<_> = (0..BUSY).map(|_| client(None)).collect();
    let start = Instant::now();
    let acted = act(&answered);
    let seconds = start.elapsed().as_secs_f64();
    over.store(true, Relaxed);
    let ended = |client: thread::JoinHandle<io::Result<Vec<Duration>>>| {
        let ended = client.join().map_err(|_| "a client panicked".to_owned())?;
        ended.map_err(|error| format!("a client met an error: {error}"))
    };
    for client in busy {
        ended(client)?;
    }
    let mut latencies = ended(probe)?;
    acted?;
    latencies.sort();
    Ok(Seen { rate: (answered.load(Relaxed) as f64 / seconds) as u64, latencies })
}

/// Asks on one connection until it is over.
fn ask(port: u16, pause: Option<Duration>, over: &AtomicBool, answered: &AtomicU64) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let (mut head, mut latencies) = (Head::default(), Vec::new());
    while !over.load(Relaxed) {
        let start = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: here.local\r\n\r\n")?;
        head.read_answer(&mut stream, 2)?;
        answered.fetch_add(1, Relaxed);
        if let Some(pause) = pause {
            latencies.push(start.elapsed());
            thread::sleep(pause);
        }
    }
    Ok(latencies)
}

/// Puts a file in the place of another.
fn put(file: &Path, text: &str) -> Outcome {
    let next = file.with_extension("next");
    fs::write(&next, text)
        .and_then(|()| fs::rename(&next, file))
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn post_reload(admin: u16) -> Outcome {
    let post = || {
        let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
        write!(stream, "POST /reload HTTP/1.1\r\nhost: 127.0.0.1:{admin}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = post().map_err(|error: io::Error| format!("POST /reload: {error}"))?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("POST /reload: {answer}")) }
}
