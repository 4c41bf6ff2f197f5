//! User instructions of a call through layers alone, without sockets.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::callgrind::{self, Profile};
use super::publish;
use crate::command::{cargo, output, run, target};
use crate::step::Outcome;

/// Calls in the shorter run; the longer one has twice as many, so that start and end cancel out.
const CALLS: u64 = 20_000;

/// Counts every variant of the binary `contract-cost` of `mesh-benches`.
pub(crate) fn contract() -> Outcome {
    run(&mut cargo(["build", "--release", "--package", "mesh-benches", "--bin", "contract-cost"]))?;
    let program = target().join("release/contract-cost");
    let mut text = String::from(
        "# User instructions of a call through layers\n\n\
         No sockets: a request goes through a stack, an answer comes back and its body ends.\n\n\
         | stack | instructions | allocations |\n| --- | ---: | ---: |\n",
    );
    for line in output(&mut Command::new(&program))?.lines() {
        let Some((number, name)) = line.split_once('\t') else { continue };
        let count = |calls: u64| {
            let file = target().join("measure/contract.out");
            fs::create_dir_all(target().join("measure")).map_err(|error| error.to_string())?;
            let words = callgrind::words(&file);
            let mut command = Command::new(&words[0]);
            output(command.args(&words[1..]).arg(&program).args([number, &calls.to_string()]))?;
            Profile::take(&file)
        };
        let profile = count(2 * CALLS)?.minus(&count(CALLS)?);
        let allocations = (profile.allocations + profile.reallocations) as f64 / CALLS as f64;
        let row = format!("| {name} | {} | {allocations:.1} |", profile.total() / CALLS as i64);
        println!("{row}");
        let _ = writeln!(text, "{row}");
    }
    publish("contract", "cargo xtask instructions", &text)
}
