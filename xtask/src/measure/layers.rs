//! What each layer adds to a call, beside public crates that do the same.

use std::fmt::Write as _;

use super::publish;
use crate::command::{cargo, output};
use crate::step::Outcome;

/// The crates whose bench `instructions` counts its variants, one line each: `NAME: NUMBER instructions`.
const CRATES: [&str; 7] = [
    "mesh-lb",
    "mesh-concurrency-limit",
    "mesh-circuit-breaker",
    "mesh-fault-injection",
    "mesh-trace",
    "mesh-retry",
    "mesh-access-log",
];

/// Runs them all, and puts what they print into one table.
pub(crate) fn layers() -> Outcome {
    let mut text = String::from(
        "# User instructions of a call through one layer\n\n\
         A service that answers at once, with a layer over it, and with two: what the second adds is what the layer \
         costs. Public crates are measured in the same run.\n",
    );
    for package in CRATES {
        println!("{package} …");
        let printed = output(&mut cargo([
            "bench",
            "--quiet",
            "--all-features",
            "--package",
            package,
            "--bench",
            "instructions",
        ]))?;
        let _ = write!(text, "\n| {package} | instructions |\n| --- | ---: |\n");
        let mut counted = 0;
        for line in printed.lines() {
            let Some((name, number)) = line.strip_suffix(" instructions").and_then(|line| line.rsplit_once(": "))
            else {
                continue;
            };
            println!("{line}");
            let _ = writeln!(text, "| {name} | {number} |");
            counted += 1;
        }
        if counted == 0 {
            return Err(format!("the bench of {package} printed nothing that counts"));
        }
    }
    publish("layers", "cargo xtask layers", &text)
}
