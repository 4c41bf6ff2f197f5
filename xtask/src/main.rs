//! The task runner: what a person does with one word and what CI does is the same code.
//!
//! `cargo xtask` without a target lists the targets.

mod check;
mod command;
mod compare;
mod fuzz;
mod measure;
mod setup;
mod step;
mod suite;
mod team;

use std::env;
use std::process::ExitCode;

use step::{Outcome, Steps};

const HELP: &str = "\
usage: cargo xtask TARGET

  test          set up what the tests need, then every test, interop with real peers included
  interop       the tests of the program and of discovery, with real peers, alone
  conformance   h2spec (needs Go) and Autobahn (needs Python 2.7) through the sidecar
  soak          faults of endpoints and crowds of clients at full size
  lint          formatting and clippy, warnings denied
  doc           documentation, broken links denied
  features      each crate alone, without features and with all
  team          programs outside of the workspace: examples/team, which takes two crates, with its cold build in seconds of
                CPU; examples/custom-layer, which is the sidecar with a layer of its own
  deny          licences, bans, sources and advisories of what is depended on, by deny.toml
  ci            test, team, deny without advisories, lint, doc, features: what .ci/run calls
  publish       every crate as it would be published, built from its package; nothing is sent
  setup         only the set-up of `test`
  bench         criterion benchmarks of all crates; arguments behind it go to criterion
  instructions  user instructions and allocations per call of layers and per proxied request
  layers        user instructions that each layer adds to a call, beside public crates
  hessian2      Hessian2 by classes of streams, beside hessian.js (needs node and npm)
  memory        resident memory after start and under load
  endpoints     shares and latencies when one of three endpoints goes wrong, for each policy
  reload        a large spec taken again under load: how long it takes, what clients see
  fuzz          every parser, fed by libFuzzer, for 60 s each or as many as are given
  load          throughput under wrk and h2load, without a single error
  compare       the sidecar beside HAProxy, nginx and Envoy: [--rounds N] [--seconds N] [NAME...]; half an hour
";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let target = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match dispatch(target.as_deref(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nxtask failed:\n{why}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(target: Option<&str>, rest: &[String]) -> Outcome {
    let mut steps = Steps::default();
    match target {
        Some("test") => check::test(&mut steps),
        Some("interop") => check::interop(&mut steps),
        Some("conformance") => suite::conformance(&mut steps),
        Some("soak") => suite::soak(&mut steps),
        Some("lint") => check::lint(&mut steps),
        Some("doc") => check::doc(&mut steps),
        Some("features") => check::features(&mut steps),
        Some("team") => check::team(&mut steps),
        Some("publish") => check::publish(&mut steps),
        Some("deny") => {
            check::deny(&mut steps);
            check::advisories(&mut steps);
        }
        Some("ci") => check::ci(&mut steps),
        Some("setup") => steps.run("set-up", setup::tests),
        Some("instructions") => {
            steps.run("set-up", setup::instructions);
            steps.run("instructions of a call", measure::contract);
            steps.run("instructions of a request", measure::instructions);
        }
        Some("layers") => {
            steps.run("set-up", setup::instructions);
            steps.run("layers", measure::layers);
        }
        Some("hessian2") => {
            steps.run("set-up", setup::instructions);
            steps.run("hessian2", measure::hessian2);
        }
        Some("memory") => {
            steps.run("set-up", setup::load);
            steps.run("memory", measure::memory);
        }
        Some("endpoints") => {
            steps.run("set-up", setup::load);
            steps.run("endpoints", measure::endpoints);
        }
        Some("load") => {
            steps.run("set-up", setup::load);
            steps.run("load", measure::load);
        }
        Some("reload") => steps.run("reload", measure::reload),
        Some("compare") => {
            steps.run("set-up", setup::compare);
            steps.run("compare", || compare::compare(rest));
        }
        Some("fuzz") => steps.run("fuzz", || fuzz::fuzz(rest.first().map(String::as_str))),
        Some("bench") => steps.run("bench", || bench(rest)),
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(format!("unknown target `{other}`\n{HELP}")),
    }
    steps.finish()
}

/// Criterion over every bench target; further arguments go to criterion.
fn bench(rest: &[String]) -> Outcome {
    let mut command = command::cargo(["bench", "--workspace", "--bench", "*", "--"]);
    command::run(command.args(rest))?;
    println!("reports: {}", command::target().join("criterion/report/index.html").display());
    Ok(())
}
