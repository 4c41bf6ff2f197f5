use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// A service-mesh sidecar made of tower layers, put together by a declarative spec.
///
/// Without a command it runs the spec it brings along, and says what to try.
#[derive(Debug, Parser)]
#[command(name = "mesh", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a spec. Ends after the requests in flight on SIGTERM and SIGINT.
    Run {
        /// The spec: a YAML file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Validates a spec and names every fault by file, line and column. Exit code 0: good, 1: bad.
    Check {
        /// The spec: a YAML file.
        file: PathBuf,
    },
    /// Prints the effective pipelines of a spec as a tree, every default filled in, runs of gates marked.
    Explain {
        /// The spec: a YAML file.
        file: PathBuf,
    },
}
