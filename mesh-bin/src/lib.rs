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
//! | `mesh run --config FILE [-- APP ARG…]` | runs a spec; takes it again when the file changes and on SIGHUP; ends after the requests in flight on SIGTERM and SIGINT. With an application: starts it when ready, hands these signals on, ends when it has ended and with its exit code |
//! | `mesh check FILE` | validates a spec; exit code 0 good, 1 bad, 2 wrong usage |
//! | `mesh explain FILE [--format text\|json\|mermaid]` | prints the effective pipelines |
//! | `mesh schema` | prints the JSON Schema of specs |
//! | `mesh reference` | prints a page with every key of a spec, as Markdown |
//! | `mesh layers` | prints the registered layers |

mod arguments;
mod pages;
mod run;

use arguments::{Command, Format, HELP};
use mesh_proxy::{
    Layers, Plan, describe, explain, explain_json, explain_mermaid,
    read::{self, Diagnostic},
    reference, schema,
};
use std::process::ExitCode;

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
            with_plan(Plan::finish(document, faults, &layers), |plan| run::run(plan, None, &[]))
        }
        Command::Run { config, application } => with_plan(Plan::load(&config, &layers, &environment), |plan| {
            run::run(plan, Some((config, layers)), &application)
        }),
        Command::Check { file } => with_plan(Plan::load(&file, &layers, &environment), |plan| {
            print_all(plan.warnings(), "warning: ");
            println!("{}: good", file.display());
            ExitCode::SUCCESS
        }),
        Command::Explain { file, format } => with_plan(Plan::load(&file, &layers, &environment), |plan| {
            print_all(plan.warnings(), "warning: ");
            match format {
                Format::Text => print!("{}", explain(&plan)),
                Format::Json => println!("{:#}", explain_json(&plan)),
                Format::Mermaid => print!("{}", explain_mermaid(&plan)),
            }
            ExitCode::SUCCESS
        }),
        Command::Schema => {
            println!("{:#}", schema(&layers));
            ExitCode::SUCCESS
        }
        Command::Reference => {
            print!("{}", reference(&layers));
            ExitCode::SUCCESS
        }
        Command::Layers => {
            print!("{}", describe(&layers));
            ExitCode::SUCCESS
        }
    }
}

pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
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
