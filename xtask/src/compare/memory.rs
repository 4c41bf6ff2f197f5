//! Memory of connections: idle ones, and many busy ones.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::generator::{read_wrk, wrk};
use super::peers::Peer;
use super::process::{Process, pinned, target_program};
use super::scenario::{HTTP1, SCENARIOS};
use super::system::Cores;
use crate::command::output;

/// Numbers of idle connections.
pub(super) const IDLE: [u32; 2] = [1_000, 10_000];

/// Connections that are busy at a time.
pub(super) const BUSY: u32 = 512;

/// Paths, and how the sizes of their answers are called.
pub(super) const SIZES: [(&str, &str); 2] = [("/small", "128 B"), ("/large", "16 KiB")];

/// How long many connections are busy.
const BUSY_FOR: u32 = 8;

/// All in KiB.
pub(super) struct Memory {
    /// After the first requests.
    pub(super) start: u64,
    /// For each number of [`IDLE`].
    pub(super) idle: [Idle; 2],
    /// For each size of [`SIZES`].
    pub(super) busy: [Busy; 2],
}

pub(super) struct Idle {
    pub(super) per_connection: f64,
    /// Two seconds after all have closed.
    pub(super) closed: u64,
}

pub(super) struct Busy {
    /// The most that was seen.
    pub(super) most: u64,
    /// Ten seconds after all have closed.
    pub(super) closed: u64,
    pub(super) errors: u64,
}

/// Each figure of a process of its own.
pub(super) fn measure(peer: &Peer, cores: &Cores) -> Result<Memory, String> {
    let [few, many] = [idle(peer, cores, IDLE[0])?, idle(peer, cores, IDLE[1])?];
    let busy = [busy(peer, cores, SIZES[0].0)?, busy(peer, cores, SIZES[1].0)?];
    println!(
        "memory, {}: start {} KiB, idle {:.1} and {:.1} KiB each, closed {} and {} KiB, busy {} and {} KiB, then {} and {}",
        peer.title,
        few.0,
        few.1.per_connection,
        many.1.per_connection,
        few.1.closed,
        many.1.closed,
        busy[0].most,
        busy[1].most,
        busy[0].closed,
        busy[1].closed
    );
    Ok(Memory { start: few.0, idle: [few.1, many.1], busy })
}

/// A proxy that has served some requests: what every connection shares is there.
fn warm(peer: &Peer, cores: &Cores) -> Result<Process, String> {
    let settings = peer.settings(&SCENARIOS[0]).ok_or("no settings")?;
    let proxy = super::start(peer, settings, HTTP1, cores)?;
    output(&mut wrk(1, 1, &url("/small"), &cores.load))?;
    thread::sleep(Duration::from_secs(1));
    Ok(proxy)
}

fn url(path: &str) -> String {
    format!("http://127.0.0.1:{HTTP1}{path}")
}

/// Each connection has had one answer of 128 B.
fn idle(peer: &Peer, cores: &Cores, connections: u32) -> Result<(u64, Idle), String> {
    let proxy = warm(peer, cores)?;
    let start = proxy.resident()?.total;
    let mut clients = Clients::open(connections, &cores.load)?;
    // what only passes on the way is gone
    thread::sleep(Duration::from_secs(1));
    let open = proxy.resident()?.total;
    clients.close()?;
    thread::sleep(Duration::from_secs(2));
    let per_connection = open.saturating_sub(start) as f64 / f64::from(connections);
    Ok((start, Idle { per_connection, closed: proxy.resident()?.total }))
}

fn busy(peer: &Peer, cores: &Cores, path: &str) -> Result<Busy, String> {
    let proxy = warm(peer, cores)?;
    let mut command = wrk(BUSY, BUSY_FOR, &url(path), &cores.load);
    let load = thread::spawn(move || output(&mut command));
    let mut most = 0;
    while !load.is_finished() {
        most = most.max(proxy.resident()?.total);
        thread::sleep(Duration::from_millis(100));
    }
    let report = load.join().map_err(|_| "the thread of wrk panicked".to_owned())??;
    let errors = read_wrk(&report).ok_or_else(|| format!("a report of wrk unlike what is known:\n{report}"))?.errors;
    thread::sleep(Duration::from_secs(10));
    Ok(Busy { most, closed: proxy.resident()?.total, errors })
}

/// The running client; killed when dropped.
struct Clients {
    child: Child,
}

impl Clients {
    /// Waits until all are open.
    fn open(connections: u32, cores: &str) -> Result<Clients, String> {
        let mut command: Command = pinned(&target_program("idle-connections"), cores);
        let child = command
            .args([&format!("127.0.0.1:{HTTP1}"), "/small", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("idle-connections: {error}"))?;
        let mut clients = Clients { child };
        let mut line = String::new();
        let stdout = clients.child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        if line == "open\n" { Ok(clients) } else { Err(format!("{connections} connections could not be opened")) }
    }

    /// Closes all, and returns when they are closed.
    fn close(&mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        self.child.wait().map(drop).map_err(|error| error.to_string())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
