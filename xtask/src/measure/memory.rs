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
pub(crate) fn memory() -> Outcome {
    program::build()?;
    let upstreams = [free_port()?, free_port()?, free_port()?];
    let endpoints = Program::start(&[], &load::endpoints(&upstreams))?;
    let port = free_port()?;
    let sidecar = Program::start(&[], &load::sidecar(port, &upstreams, "http1"))?;
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
    endpoints.stop()?;
    let mut text = String::from(
        "# Resident memory, one worker\n\nIn KiB; what is not anonymous are pages of the program and of libraries.\n\n\
         | when | total | anonymous |\n| --- | ---: | ---: |\n",
    );
    for (when, resident) in [
        ("after start", &start),
        ("after a minute at 64 connections, still loaded", &loaded),
        ("five seconds after they closed", &after),
    ] {
        let _ = writeln!(text, "| {when} | {} | {} |", resident.total, resident.anonymous);
    }
    publish("memory", "cargo xtask memory", &text)?;
    let (start, loaded) = (start.total, loaded.total);
    if start > MOST_AFTER_START || loaded > MOST_AFTER_LOAD {
        return Err(format!(
            "{start} and {loaded} KiB are over the budget of {MOST_AFTER_START} and \
             {MOST_AFTER_LOAD}"
        ));
    }
    Ok(())
}
