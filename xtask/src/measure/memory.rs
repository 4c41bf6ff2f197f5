//! Resident memory of the program.

use std::fmt::Write as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::program::{Program, free_port};
use super::{load, program, publish};
use crate::command::output;
use crate::step::Outcome;

const MOST_AFTER_START: u64 = 6 * 1024;
const MOST_AFTER_LOAD: u64 = 10 * 1024;

/// Measures after start, within a minute of load, and after it; fails when over the budget.
///
/// The budget is for one endpoint, where 64 connections come in and 64 go out. With three and random picks the pool has
/// as many to each as it ever needed at once: more go out than come in.
pub(crate) fn memory() -> Outcome {
    program::build()?;
    let mut text = String::from(
        "# Resident memory, one worker\n\nIn KiB, at 64 connections; what is not anonymous are pages of the program and of \
         libraries.\n\n| endpoints | when | total | anonymous |\n| --- | --- | ---: | ---: |\n",
    );
    let one = measure(1, &mut text)?;
    measure(3, &mut text)?;
    publish("memory", "cargo xtask memory", &text)?;
    let (start, loaded) = one;
    if start > MOST_AFTER_START || loaded > MOST_AFTER_LOAD {
        return Err(format!(
            "{start} and {loaded} KiB are over the budget of {MOST_AFTER_START} and {MOST_AFTER_LOAD}"
        ));
    }
    Ok(())
}

/// What is resident after start and after a minute of load.
fn measure(endpoints: usize, text: &mut String) -> Result<(u64, u64), String> {
    let upstreams = [free_port()?, free_port()?, free_port()?];
    let served = Program::start(&[], &load::endpoints(&upstreams))?;
    let port = free_port()?;
    let sidecar = Program::start(&[], &load::sidecar(port, &upstreams[..endpoints], "http1"))?;
    thread::sleep(Duration::from_secs(1));
    let start = sidecar.resident()?;
    let url = format!("http://127.0.0.1:{port}/");
    // What wrk prints is of no interest here; that it ends is.
    let load = thread::spawn(move || output(Command::new("wrk").args(["-t1", "-c64", "-d60s", &url])));
    thread::sleep(Duration::from_secs(58));
    let loaded = sidecar.resident()?;
    load.join().map_err(|_| "wrk's thread panicked".to_owned())??;
    thread::sleep(Duration::from_secs(5));
    let after = sidecar.resident()?;
    sidecar.stop()?;
    served.stop()?;
    for (when, resident) in
        [("after start", &start), ("after a minute, still loaded", &loaded), ("five seconds after they closed", &after)]
    {
        let _ = writeln!(text, "| {endpoints} | {when} | {} | {} |", resident.total, resident.anonymous);
    }
    Ok((start.total, loaded.total))
}
