//! A client that sends at a fixed rate whether or not answers come: `open-loop MANNER HOST:PORT PATH RATE SECONDS`.
//!
//! A request's latency counts from when it was due, so that one that had to wait because earlier answers were late
//! counts its wait (no coordinated omission). MANNER is `http1` (64 connections kept alive), `http2` (8 connections) or
//! `fresh` (HTTP/1.1, a connection per request). Prints one line:
//! `requests N errors N p50 µs p99 µs max µs`.

mod connections;
mod latencies;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use connections::{Connections, Manner};
use latencies::Latencies;

/// How long answers are waited for when the last request has been sent.
const PATIENCE: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error>;

struct Run {
    manner: Manner,
    address: String,
    path: String,
    rate: u32,
    time: Duration,
}

fn main() -> ExitCode {
    let outcome =
        arguments().ok_or("usage: open-loop http1|http2|fresh HOST:PORT PATH RATE SECONDS".into()).and_then(run);
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("open-loop: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Run> {
    let mut arguments = env::args().skip(1);
    let run = Run {
        manner: match arguments.next()?.as_str() {
            "http1" => Manner::Http1,
            "http2" => Manner::Http2,
            "fresh" => Manner::Fresh,
            _ => return None,
        },
        address: arguments.next()?,
        path: arguments.next()?,
        rate: arguments.next()?.parse().ok().filter(|rate| *rate > 0)?,
        time: Duration::from_secs(arguments.next()?.parse().ok()?),
    };
    arguments.next().is_none().then_some(run)
}

fn run(run: Run) -> Result<String, Failure> {
    // a sleep may end 50 µs late by default; where this cannot be set, figures are that much less exact for everybody
    let _ = fs::write("/proc/self/timerslack_ns", "1000");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    runtime.block_on(local.run_until(fire(run)))
}

async fn fire(run: Run) -> Result<String, Failure> {
    let connections = Rc::new(Connections::open(run.manner, &run.address, &run.path).await?);
    let requests = (f64::from(run.rate) * run.time.as_secs_f64()) as u32;
    let latencies = Rc::new(RefCell::new(Latencies::of(requests)));
    let (send, mut due) = mpsc::unbounded_channel();
    thread::spawn(move || pace(run.rate, requests, &send));
    let (finished, mut all) = mpsc::channel::<()>(1);
    while let Some(due) = due.recv().await {
        let (connections, latencies, finished) = (connections.clone(), latencies.clone(), finished.clone());
        tokio::task::spawn_local(async move {
            let outcome = connections.exchange().await;
            latencies.borrow_mut().add(outcome.is_ok().then(|| due.elapsed()));
            drop(finished);
        });
    }
    drop(finished);
    // what has not come by then is missing from the latencies, and so an error
    let _ = tokio::time::timeout(PATIENCE, all.recv()).await;
    let line = latencies.borrow_mut().line();
    Ok(line)
}

/// Sends the instants at which requests are due, each when it has come.
///
/// A thread of its own, for tokio's timers have a granularity of a millisecond.
fn pace(rate: u32, requests: u32, send: &mpsc::UnboundedSender<Instant>) {
    let start = Instant::now();
    for number in 0..requests {
        let due = start + Duration::from_secs(1) * number / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if send.send(due).is_err() {
            return;
        }
    }
}
