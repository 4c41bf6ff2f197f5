//! Programs outside of the workspace, as their authors have them: one that takes two crates and nothing else, with what
//! it has to compile; and one that is the whole sidecar with a layer of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{cargo, root, run, target};
use crate::step::Outcome;

/// What a cold build of two layers with tokio and tower may take, in seconds of CPU.
const ALLOWED: f64 = 30.0;

/// Builds `examples/team` as it would be built elsewhere, from nothing and without a compiler cache, and runs its test.
pub(crate) fn team() -> Outcome {
    let dir = target().join("team");
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let place = root().join("examples/team");
    run(outside(&mut cargo(["fetch", "--locked"]), &place, &dir))?;
    let before = children()?;
    run(outside(&mut cargo(["build", "--locked"]), &place, &dir))?;
    let took = children()? - before;
    println!("a cold build: {took:.1} s of CPU, of {ALLOWED} s that are allowed");
    run(outside(&mut cargo(["test", "--locked"]), &place, &dir))?;
    run(outside(&mut cargo(["fmt", "--check"]), &place, &dir))?;
    if took <= ALLOWED { Ok(()) } else { Err(format!("a cold build took {took:.1} s of CPU, more than {ALLOWED} s")) }
}

/// Tests `examples/custom-layer` and its formatting. What it builds is kept, beside what the workspace builds.
pub(crate) fn custom_layer() -> Outcome {
    let place = root().join("examples/custom-layer");
    for arguments in [&["test", "--locked"][..], &["fmt", "--check"]] {
        run(cargo(arguments).current_dir(&place).env("CARGO_TARGET_DIR", target()))?;
    }
    Ok(())
}

/// Without what a workspace or a person's set-up adds.
fn outside<'a>(command: &'a mut Command, place: &Path, dir: &Path) -> &'a mut Command {
    command.current_dir(place).env("CARGO_TARGET_DIR", dir).env("RUSTC_WRAPPER", "").env_remove("RUSTFLAGS")
}

/// CPU time of all children that have ended, and of theirs, in seconds.
fn children() -> Result<f64, String> {
    let path = "/proc/self/stat";
    let stat = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    // behind the name, which may hold anything, `cutime` and `cstime` are the 14th and 15th
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = fields.skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    // of which Linux tells programs a hundred a second, on every architecture
    if ticks.len() == 2 { Ok(ticks.iter().sum::<u64>() as f64 / 100.0) } else { Err(format!("{path}: {stat}")) }
}
