//! The load generators and what they report.

use std::process::Command;

use super::process::{self, target_program};
use super::scenario::{Manner, Scenario};
use crate::command::output;

/// What a closed loop found.
#[derive(Debug, PartialEq)]
pub(super) struct Throughput {
    pub(super) requests: u64,
    pub(super) per_second: f64,
    pub(super) errors: u64,
}

/// What an open loop found, in µs.
#[derive(Debug, PartialEq)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) errors: u64,
}

/// As many requests as go through.
pub(super) fn closed_loop(scenario: &Scenario, seconds: u32, cores: &str) -> Result<Throughput, String> {
    let url = format!("http://127.0.0.1:{}{}", scenario.port, scenario.path);
    if scenario.manner == Manner::Http2 {
        let mut command = process::pinned("h2load", cores);
        let report = output(command.args(["-t1", "-c8", "-m32", &format!("-D{seconds}"), &url]))?;
        return h2load(&report).ok_or_else(|| format!("a report of h2load unlike what is known:\n{report}"));
    }
    let mut command = wrk(64, seconds, &url, cores);
    if scenario.manner == Manner::Fresh {
        command.args(["-H", "connection: close"]);
    }
    let report = output(&mut command)?;
    self::read_wrk(&report).ok_or_else(|| format!("a report of wrk unlike what is known:\n{report}"))
}

/// `wrk` on one thread with these connections.
pub(super) fn wrk(connections: u32, seconds: u32, url: &str, cores: &str) -> Command {
    let mut command = process::pinned("wrk", cores);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "5s", url]);
    command
}

/// Requests at the scenario's rate.
pub(super) fn open_loop(scenario: &Scenario, seconds: u32, cores: &str) -> Result<Latency, String> {
    let manner = match scenario.manner {
        Manner::Http1 => "http1",
        Manner::Http2 => "http2",
        Manner::Fresh => "fresh",
    };
    let address = format!("127.0.0.1:{}", scenario.port);
    let mut command = process::pinned(&target_program("open-loop"), cores);
    command.args([manner, &address, scenario.path, &scenario.rate.to_string(), &seconds.to_string()]);
    let report = output(&mut command)?;
    latency(&report).ok_or_else(|| format!("a report of open-loop unlike what is known:\n{report}"))
}

pub(super) fn read_wrk(report: &str) -> Option<Throughput> {
    let line = |begin: &str| report.lines().find_map(|line| line.trim().strip_prefix(begin));
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    // connect 0, read 3, write 0, timeout 0
    let sockets = line("Socket errors:").map_or(Some(0), |kinds| {
        kinds.split(',').map(|kind| kind.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    })?;
    let statuses: u64 = line("Non-2xx or 3xx responses:").map_or(Some(0), |count| count.trim().parse().ok())?;
    let per_second = line("Requests/sec:")?.trim().parse().ok()?;
    Some(Throughput { requests, per_second, errors: sockets + statuses })
}

fn h2load(report: &str) -> Option<Throughput> {
    let line = |begin: &str| report.lines().find_map(|line| line.strip_prefix(begin));
    let counts = line("requests: ")?;
    let count =
        |name: &str| counts.split(", ").find_map(|count| count.strip_suffix(name)?.trim_end().parse::<u64>().ok());
    let per_second = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok())?;
    // one request may be counted as failed, errored and not done; none of them is good
    let errors = (count("failed")? + count("timeout")?).max(count("errored")?);
    Some(Throughput { requests: count("succeeded")?, per_second, errors })
}

fn latency(report: &str) -> Option<Latency> {
    let words: Vec<&str> = report.split_whitespace().collect();
    let number = |name: &str| words.windows(2).find(|pair| pair[0] == name)?[1].parse::<u32>().ok();
    Some(Latency { p50: number("p50")?.into(), p99: number("p99")?.into(), errors: number("errors")?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "\
Running 3s test @ http://127.0.0.1:17100/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.41ms    1.11ms  24.22ms   92.13%
    Req/Sec    26.87k     3.01k   30.57k    86.67%
  80314 requests in 3.01s, 23.13MB read
Requests/sec:  26682.11
Transfer/sec:      7.68MB
";

    #[test]
    fn reports_of_wrk() {
        assert_eq!(read_wrk(WRK), Some(Throughput { requests: 80314, per_second: 26682.11, errors: 0 }));
        let errors = WRK.replace(
            "Requests/sec",
            "  Socket errors: connect 1, read 20, write 0, timeout 3\n  Non-2xx or 3xx responses: 100\nRequests/sec",
        );
        assert_eq!(read_wrk(&errors).unwrap().errors, 124);
        assert_eq!(read_wrk("unable to connect"), None);
    }

    #[test]
    fn reports_of_h2load() {
        let report = "\
finished in 3.00s, 48435.33 req/s, 9.05MB/s
requests: 145306 total, 145562 started, 145306 done, 145300 succeeded, 6 failed, 2 errored, 1 timeout
status codes: 145304 2xx, 0 3xx, 2 4xx, 0 5xx
";
        assert_eq!(h2load(report), Some(Throughput { requests: 145_300, per_second: 48435.33, errors: 7 }));
        assert_eq!(h2load("requests: none"), None);
    }

    #[test]
    fn reports_of_the_open_loop() {
        let report = "requests 6000 errors 2 p50 180 p99 910 max 4001\n";
        assert_eq!(latency(report), Some(Latency { p50: 180.0, p99: 910.0, errors: 2 }));
        assert_eq!(latency("requests 6000 errors"), None);
    }
}
