//! Three endpoints of which one goes wrong and recovers: how soon each policy leaves it alone, and finds it again.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::origin::Head;
use super::program::{Program, free_port};
use super::{program, publish};
use crate::command::output;
use crate::step::Outcome;

/// How an endpoint behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Manner {
    Well,
    Hangs,
    HalfFails,
    Slow,
}

/// What a good answer takes.
const USUAL: Duration = Duration::from_millis(5);

struct Origin {
    port: u16,
    manner: AtomicU8,
    requests: AtomicU64,
}

impl Origin {
    fn start() -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let origin = Arc::new(Self { port, manner: AtomicU8::new(Manner::Well as u8), requests: AtomicU64::new(0) });
        let served = origin.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = served.clone();
                // an error is the proxy's closing of the connection
                thread::spawn(move || origin.serve(stream));
            }
        });
        Ok(origin)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut head = Head::default();
        loop {
            head.read(&mut stream)?;
            let count = self.requests.fetch_add(1, Relaxed);
            let is = |manner| self.manner.load(Relaxed) == manner as u8;
            while is(Manner::Hangs) {
                thread::sleep(Duration::from_millis(50));
            }
            thread::sleep(if is(Manner::Slow) { USUAL * 10 } else { USUAL });
            let status =
                if is(Manner::HalfFails) && count.is_multiple_of(2) { "500 Internal Server Error" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok")?;
        }
    }

    fn take_requests(&self) -> u64 {
        self.requests.swap(0, Relaxed)
    }
}

const POLICIES: [&str; 4] =
    ["random", "round_robin", "{ p2c: { load: least_request } }", "{ p2c: { load: peak_ewma } }"];

const MANNERS: [(&str, Manner); 4] = [
    ("all well", Manner::Well),
    ("hangs", Manner::Hangs),
    ("answers half 500", Manner::HalfFails),
    ("is ten times slower", Manner::Slow),
];

/// Every policy with every manner, without a breaker and with one.
pub(crate) fn endpoints() -> Outcome {
    program::build()?;
    let mut text = String::from(
        "# One of three endpoints goes wrong\n\n\
         One worker, wrk with 16 connections for 4 s while it is wrong, and on until it is found again; a good answer \
         takes 5 ms, and a call is given up after 200 ms. The breaker of an endpoint opens after 5 failures, for 500 ms \
         the first time. *Share* is what the third endpoint gets while it is wrong; *back after* how many seconds it \
         takes, once it is well again, until it gets a fifth of the requests of a second, and what it gets then.\n\n\
         | the third | policy | breaker | p50 | p99 | not 2xx | share | back after | with |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (manner, third) in MANNERS {
        for policy in POLICIES {
            for breaker in [false, true] {
                let row = run(manner, third, policy, breaker)?;
                println!("{row}");
                let _ = writeln!(text, "{row}");
            }
        }
    }
    publish("endpoints", "cargo xtask endpoints", &text)
}

fn run(manner: &str, third: Manner, policy: &str, breaker: bool) -> Result<String, String> {
    let origin = || Origin::start().map_err(|error| format!("an endpoint: {error}"));
    let origins = [origin()?, origin()?, origin()?];
    let port = free_port()?;
    let list: Vec<String> = origins.iter().map(|origin| format!("\"127.0.0.1:{}\"", origin.port)).collect();
    let guard = if breaker { "circuit_breaker: { consecutive_failures: 5, open_for: 500ms }, " } else { "" };
    let spec = format!(
        "workers: 1\nlisteners:\n  web:\n    bind: \"127.0.0.1:{port}\"\n\
         \x20   routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]\n\
         clusters:\n  app:\n    discovery: {{ static: [ {} ] }}\n    load_balancer: {policy}\n\
         \x20   endpoint_pipeline: [ {guard}timeout: 200ms ]\n",
        list.join(", ")
    );
    let sidecar = Program::start(&[], &spec)?;
    let url = format!("http://127.0.0.1:{port}/");
    // every endpoint has been met
    wrk(&url, "1s")?;
    origins[2].manner.store(third as u8, Relaxed);
    origins.iter().for_each(|origin| _ = origin.take_requests());
    let report = wrk(&url, "4s")?;
    let wrong = share(&origins);
    origins[2].manner.store(Manner::Well as u8, Relaxed);
    let (seconds, well) = back(&url, &origins)?;
    sidecar.stop()?;
    let line = |begin: &str| report.lines().find_map(|line| line.trim().strip_prefix(begin)).map(str::trim);
    let (p50, p99) = (line("50%").unwrap_or("?"), line("99%").unwrap_or("?"));
    let failed = line("Non-2xx or 3xx responses:").unwrap_or("0");
    let policy = policy.trim_matches(|c| "{} ".contains(c)).replace("p2c: { load: ", "p2c, ");
    let breaker = if breaker { "yes" } else { "no" };
    Ok(format!(
        "| {manner} | {policy} | {breaker} | {p50} | {p99} | {failed} | {wrong:.1} % | {seconds} s | {well:.1} % |"
    ))
}

/// After how many seconds under load the third one has a fifth again, and its share then.
fn back(url: &str, origins: &[Arc<Origin>; 3]) -> Result<(u32, f64), String> {
    const LONGEST: u32 = 120;
    let mut load = Command::new("wrk")
        .args(["-t1", "-c16", &format!("-d{LONGEST}s"), url])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("wrk: {error}"))?;
    let back = (1..=LONGEST).find_map(|second| {
        thread::sleep(Duration::from_secs(1));
        let share = share(origins);
        (share >= 20.0).then_some((second, share))
    });
    let _ = load.kill();
    let _ = load.wait();
    back.ok_or_else(|| format!("the third endpoint does not get a fifth within {LONGEST} s"))
}

/// The third one's, in percent; all counts begin anew.
fn share(origins: &[Arc<Origin>; 3]) -> f64 {
    let counts = [origins[0].take_requests(), origins[1].take_requests(), origins[2].take_requests()];
    counts[2] as f64 * 100.0 / counts.iter().sum::<u64>().max(1) as f64
}

fn wrk(url: &str, time: &str) -> Result<String, String> {
    output(Command::new("wrk").args(["-t1", "-c16", "--latency", &format!("-d{time}"), url]))
}
