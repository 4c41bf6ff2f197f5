//! Figures of the release build, written to `benches/results` to be committed.

mod callgrind;
mod contract;
mod endpoints;
mod hessian2;
mod instructions;
mod layers;
mod load;
mod memory;
mod origin;
mod program;
mod reload;

use std::fs;
use std::process::Command;

use crate::command::{output, root};
use crate::step::Outcome;

pub(crate) use contract::contract;
pub(crate) use endpoints::endpoints;
pub(crate) use hessian2::hessian2;
pub(crate) use instructions::instructions;
pub(crate) use layers::layers;
pub(crate) use load::load;
pub(crate) use memory::memory;
pub(crate) use program::{Resident, build, resident};
pub(crate) use reload::reload;

/// The stock pipeline, with a limit that never refuses.
const STOCK: &str = "metrics, timeout: 30s, rate_limit: { rate: 10000000/s, burst: 10000000 }";

/// Prints a report and writes it to `benches/results/NAME.md`.
pub(crate) fn publish(name: &str, command: &str, text: &str) -> Outcome {
    let dir = root().join("benches/results");
    let path = dir.join(format!("{name}.md"));
    let report = format!("{text}\nMade by `{command}` {}.\n", surroundings());
    println!("\n{report}");
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&path, report))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

/// What the figures depend on beside the code.
fn surroundings() -> String {
    let line = |program: &str, arguments: &[&str]| {
        output(Command::new(program).args(arguments))
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .unwrap_or_else(|_| format!("{program} unknown"))
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "at {} with {} on {}, {cores} cores",
        line("git", &["describe", "--always", "--dirty"]),
        line("rustc", &["--version"]),
        line("uname", &["-srm"]),
    )
}
