//! The sidecar beside HAProxy, nginx and Envoy: same cores, same endpoints, interleaved rounds.
//!
//! The settings of each are in `benches/proxy`, with the reasons.

mod generator;
mod goals;
mod memory;
mod options;
mod peers;
mod plot;
mod process;
mod results;
mod scenario;
mod stats;
mod system;
mod table;

use std::fs;
use std::time::Instant;

use crate::command::{cargo, root, run};
use crate::measure::publish;
use crate::step::Outcome;
use options::{MEMORY, Options};
use peers::{PEERS, Peer};
use process::Process;
use results::{Results, Sample};
use scenario::{SCENARIOS, Scenario};
use system::Cores;

/// Before each measurement: pools fill, and code and data become resident.
const WARM_UP: u32 = 1;

/// Runs everything that is asked for. All of it is published, a part is only printed.
pub(crate) fn compare(arguments: &[String]) -> Outcome {
    let options = Options::read(arguments)?;
    let cores = Cores::share()?;
    system::all_free(&[&scenario::PROXIES[..], &scenario::ORIGINS[..]].concat())?;
    build()?;
    process::make_folders()?;
    let origin = Process::start("origin", &peers::origin(), &cores.load, scenario::ORIGINS[0])?;
    let mut results = Results::default();
    for round in 0..options.rounds {
        for scenario in SCENARIOS.iter().filter(|scenario| options.has(scenario.name)) {
            // nobody is always the first, or behind the same one
            for place in 0..PEERS.len() {
                let peer = &PEERS[(place + round) % PEERS.len()];
                if options.has_peer(peer.name) {
                    take(&mut results, round, peer, scenario, &options, &cores);
                }
            }
        }
    }
    if options.has(MEMORY) {
        for peer in PEERS.iter().filter(|peer| options.has_peer(peer.name)) {
            match memory::measure(peer, &cores) {
                Ok(memory) => results.memory.push((peer, memory)),
                Err(why) => results.failures.push(format!("{}, memory: {why}", peer.title)),
            }
        }
    }
    drop(origin);
    report(&results, &options, &[&["cargo xtask compare".to_owned()], arguments].concat().join(" "))
}

/// What was run and what it gave.
fn report(results: &Results, options: &Options, command: &str) -> Outcome {
    let text = table::report(results, options, &peers::versions()?);
    if options.is_whole() {
        publish("compare", command, &text)?;
        let path = root().join("benches/results/compare.svg");
        fs::write(&path, plot::plot(results)).map_err(|error| format!("{}: {error}", path.display()))?;
    } else {
        println!("\n{text}");
    }
    if results.failures.is_empty() { Ok(()) } else { Err(results.failures.join("\n")) }
}

/// The sidecar and the clients that are ours.
fn build() -> Outcome {
    crate::measure::build()?;
    let mut clients = cargo(["build", "--release", "--package", "mesh-benches"]);
    run(clients.args(["--bin", "open-loop", "--bin", "idle-connections"]))
}

/// Adds a sample to the results, or why there is none.
///
/// A failure does not end the run: the others are worth having. But there is no next try either, for samples are
/// compared with those of the same round.
fn take(results: &mut Results, round: usize, peer: &Peer, scenario: &Scenario, options: &Options, cores: &Cores) {
    let Some(settings) = peer.settings(scenario) else { return };
    if results.missing(scenario, peer).is_some() {
        return;
    }
    if let Some(refusal) = peer.refuses(settings) {
        println!("{}, {}: not built: {refusal}", scenario.title, peer.title);
        return results.miss(scenario, peer, format!("not run: `{settings}` is refused, {refusal}"));
    }
    match measure(peer, settings, scenario, options, cores) {
        Ok(sample) => {
            println!("{}: {}, {}: {sample}", round + 1, scenario.title, peer.title);
            results.add(scenario, peer, sample);
        }
        Err(why) => {
            println!("{}: {}, {}: failed: {why}", round + 1, scenario.title, peer.title);
            results.failures.push(format!("{}, {}: {why}", scenario.title, peer.title));
            results.miss(scenario, peer, "failed".to_owned());
        }
    }
}

/// One peer under one scenario: a closed loop for what a request costs and how many go through, then an open one for
/// latency.
fn measure(
    peer: &Peer,
    settings: &str,
    scenario: &Scenario,
    options: &Options,
    cores: &Cores,
) -> Result<Sample, String> {
    let proxy = start(peer, settings, scenario.port, cores)?;
    generator::closed_loop(scenario, WARM_UP, &cores.load)?;
    let (before, start) = (proxy.processor_time()?, Instant::now());
    let throughput = generator::closed_loop(scenario, options.seconds, &cores.load)?;
    let (processor, time) = (proxy.processor_time()? - before, start.elapsed().as_secs_f64());
    let resident = proxy.resident()?;
    let latency = generator::open_loop(scenario, options.seconds, &cores.load)?;
    if throughput.requests == 0 {
        return Err(format!("not one request succeeded, {} errors", throughput.errors));
    }
    Ok(Sample {
        processor: processor * 1e6 / throughput.requests as f64,
        busy: processor * 100.0 / time,
        per_second: throughput.per_second,
        p50: latency.p50,
        p99: latency.p99,
        resident: resident.total as f64 / 1024.0,
        errors: throughput.errors + latency.errors,
    })
}

/// Starts a proxy, if nobody else has its ports.
fn start(peer: &Peer, settings: &str, port: u16, cores: &Cores) -> Result<Process, String> {
    system::all_free(&scenario::PROXIES)?;
    Process::start(peer.name, &peer.words(settings), &cores.proxy, port)
}
