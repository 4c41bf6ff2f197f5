//! Runs of the load generators: throughput, and not one error.

use std::fmt::Write as _;
use std::process::Command;

use super::program::{Program, free_port};
use super::{STOCK, program, publish};
use crate::command::output;
use crate::step::Outcome;

/// Three endpoints in one process of their own, and the sidecar before them.
pub(crate) fn load() -> Outcome {
    program::build()?;
    let ports = [free_port()?, free_port()?, free_port()?];
    let endpoints = Program::start(&[], &endpoints(&ports))?;
    let mut text = String::from(
        "# Load\n\nOne worker with the stock pipeline before three endpoints of one worker, all on \
         one machine with the generator; every request has to succeed.\n\n\
         | run | requests per second |\n| --- | ---: |\n",
    );
    for (name, upstream, generator) in [
        ("HTTP/1.1, wrk, 64 connections", "http1", Generator::Wrk(&[])),
        ("HTTP/1.1, wrk, a connection per request", "http1", Generator::Wrk(&["-H", "connection: close"])),
        ("HTTP/1.1, h2load, 64 connections", "http1", Generator::H2load(&["--h1", "-c", "64"])),
        ("HTTP/2, h2load, 8 connections of 32 streams", "http2", Generator::H2load(&["-c", "8", "-m", "32"])),
        ("HTTP/2 to HTTP/1.1, h2load, 8 connections of 8 streams", "http1", Generator::H2load(&["-c", "8", "-m", "8"])),
    ] {
        let port = free_port()?;
        let sidecar = Program::start(&[], &sidecar(port, &ports, upstream))?;
        let rate = generator.run(&format!("http://127.0.0.1:{port}/"))?;
        sidecar.stop()?;
        println!("{name}: {rate}/s");
        let _ = writeln!(text, "| {name} | {rate} |");
    }
    endpoints.stop()?;
    publish("load", "cargo xtask load", &text)
}

/// The listeners that answer by themselves.
pub(super) fn endpoints(ports: &[u16]) -> String {
    let mut spec = String::from("workers: 1\nlisteners:\n");
    for port in ports {
        let _ = writeln!(
            spec,
            "  app-{port}: {{ bind: \"127.0.0.1:{port}\", routes: [ {{ match: {{ path: {{ prefix: / }} }}, \
             respond: {{ status: 200, body: \"{}\" }} }} ] }}",
            "0123456789abcdef".repeat(8)
        );
    }
    spec
}

/// The stock sidecar before these endpoints.
pub(super) fn sidecar(port: u16, endpoints: &[u16], upstream: &str) -> String {
    let list: Vec<String> = endpoints.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!(
        "workers: 1\nlisteners:\n  web:\n    bind: \"127.0.0.1:{port}\"\n    pipeline: [ {STOCK} ]\n\
         \x20   routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]\n\
         clusters:\n  app: {{ discovery: {{ static: [ {} ] }}, protocol: {upstream} }}\n",
        list.join(", ")
    )
}

/// A generator and what makes this run of it.
enum Generator {
    Wrk(&'static [&'static str]),
    H2load(&'static [&'static str]),
}

impl Generator {
    /// Runs for about ten seconds and gives the rate, or says which errors there were.
    fn run(&self, url: &str) -> Result<u64, String> {
        match self {
            Generator::Wrk(arguments) => {
                let mut command = Command::new("wrk");
                command.args(["-t1", "-c64", "-d10s"]).args(*arguments).arg(url);
                let report = output(&mut command)?;
                if report.contains("Socket errors") || report.contains("Non-2xx") {
                    return Err(format!("wrk met errors:\n{report}"));
                }
                rate(&report, "Requests/sec:")
            }
            Generator::H2load(arguments) => {
                let mut command = Command::new("h2load");
                command.args(["-n", "200000"]).args(*arguments).arg(url);
                let report = output(&mut command)?;
                if !report.contains("200000 succeeded, 0 failed, 0 errored, 0 timeout") {
                    return Err(format!("h2load met errors:\n{report}"));
                }
                rate(&report, "finished in ")
            }
        }
    }
}

/// The number before ` req/s` (h2load) or behind `Requests/sec:` (wrk) on the line that begins so.
fn rate(report: &str, begin: &str) -> Result<u64, String> {
    report
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(begin))
        .and_then(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| word.starts_with("req/s"));
            words.get(at.map_or(0, |at| at - 1))?.parse::<f64>().ok()
        })
        .map(|rate| rate as u64)
        .ok_or_else(|| format!("no rate in the report:\n{report}"))
}
