//! The program `mesh` as a library, for a sidecar with layers of one's own: its `main` is one line.
//!
//! ```no_run
//! use mesh_proxy::Layers;
//!
//! fn main() -> std::process::ExitCode {
//!     let mut layers = Layers::stock();
//!     // layers.http.gate("mine", "What it does", |settings: Settings, previous, site| …);
//!     mesh_bin::main(layers)
//! }
//! ```
//!
//! | command | does |
//! | --- | --- |
//! | `mesh` | runs the spec it brings along, and says what to try |
//! | `mesh run --config FILE` | runs a spec; ends after the requests in flight on SIGTERM and SIGINT |
//! | `mesh check FILE` | validates a spec; exit code 0 good, 1 bad, 2 wrong usage |
//! | `mesh explain FILE` | prints the effective pipelines |

mod arguments;
mod run;

use arguments::{Command, HELP};
use mesh_proxy::{
    Layers, Plan, explain,
    read::{self, Diagnostic},
};
use std::{path::Path, process::ExitCode};

/// The spec that runs without a file.
pub const DEFAULT_SPEC: &str = include_str!("default.yaml");

/// The exit code for arguments that are not understood.
const WRONG_USAGE: u8 = 2;

/// The whole program: reads the arguments, does what they say with these layers, gives the exit code.
pub fn main(layers: Layers) -> ExitCode {
    let command = match arguments::read(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("mesh: {error}\nTry `mesh --help`.");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match command {
        Command::Help => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("mesh {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Command::Default => {
            let (document, faults) = read::read_partly(DEFAULT_SPEC, "the embedded spec", &environment);
            with_plan(plan(document, faults, &layers), |plan| run::run(plan, true))
        }
        Command::Run { config } => with_plan(load(&config, &layers), |plan| run::run(plan, false)),
        Command::Check { file } => with_plan(load(&file, &layers), |plan| {
            print_all(plan.warnings(), "warning: ");
            println!("{}: good", file.display());
            ExitCode::SUCCESS
        }),
        Command::Explain { file } => with_plan(load(&file, &layers), |plan| {
            print_all(plan.warnings(), "warning: ");
            print!("{}", explain(&plan));
            ExitCode::SUCCESS
        }),
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn load(file: &Path, layers: &Layers) -> Result<Plan, Vec<Diagnostic>> {
    let (document, faults) = read::read_file(file, &environment);
    plan(document, faults, layers)
}

/// The plan of a document, or all its faults: those of the reading and those of the meaning in one go.
fn plan(
    document: Option<read::Document>,
    mut faults: Vec<Diagnostic>,
    layers: &Layers,
) -> Result<Plan, Vec<Diagnostic>> {
    let plan = document.and_then(|document| {
        let (plan, found) = Plan::check_partly(&document, layers);
        faults.extend(found);
        plan
    });
    read::sort(&mut faults);
    match plan {
        Some(plan) if faults.is_empty() => Ok(plan),
        _ => Err(faults),
    }
}

fn with_plan(plan: Result<Plan, Vec<Diagnostic>>, go_on: impl FnOnce(Plan) -> ExitCode) -> ExitCode {
    match plan {
        Ok(plan) => go_on(plan),
        Err(faults) => {
            print_all(&faults, "");
            let count = faults.len();
            eprintln!("{count} {}", if count == 1 { "fault" } else { "faults" });
            ExitCode::FAILURE
        }
    }
}

fn print_all(diagnostics: &[Diagnostic], prefix: &str) {
    for diagnostic in diagnostics {
        eprintln!("{prefix}{diagnostic}");
    }
}
