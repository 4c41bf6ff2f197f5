//! What the program is told on its command line.

use lexopt::{Arg, Parser, ValueExt as _};
use std::{ffi::OsString, path::PathBuf};

pub(crate) const HELP: &str = "\
A service-mesh sidecar made of tower layers, put together by a declarative spec.

Usage: mesh [COMMAND]

Commands:
  run --config FILE  runs a spec; takes it again when the file changes and on SIGHUP;
                     ends after the requests in flight on SIGTERM and SIGINT
  check FILE         validates a spec and names every fault by file, line and column;
                     exit code 0: good, 1: bad
  explain FILE       prints the effective pipelines of a spec as a tree, every default
                     filled in, runs of gates marked

Without a command it runs the spec it brings along, and says what to try.

Options:
  -h, --help     prints this
  -V, --version  prints the version

Environment:
  MESH_LOG  what is logged to stderr: a level, or targets with levels, as
            `info,mesh_proxy=debug`; default `info`
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Default,
    Run { config: PathBuf },
    Check { file: PathBuf },
    Explain { file: PathBuf },
    Help,
    Version,
}

/// Reads the arguments after the program's name. The error is a sentence for the user.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    parse(Parser::from_args(arguments)).map_err(|error| error.to_string())
}

fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut command = None;
    let mut operand = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Long("config") if command.as_deref() == Some("run") && operand.is_none() => {
                operand = Some(PathBuf::from(parser.value()?));
            }
            Arg::Value(value) if command.is_none() => command = Some(value.string()?),
            Arg::Value(value) if matches!(command.as_deref(), Some("check" | "explain")) && operand.is_none() => {
                operand = Some(PathBuf::from(value));
            }
            other => return Err(other.unexpected()),
        }
    }
    match (command.as_deref(), operand) {
        (None, _) => Ok(Command::Default),
        (Some("run"), Some(config)) => Ok(Command::Run { config }),
        (Some("check"), Some(file)) => Ok(Command::Check { file }),
        (Some("explain"), Some(file)) => Ok(Command::Explain { file }),
        (Some("run"), None) => Err("`mesh run` needs `--config FILE`".into()),
        (Some(name @ ("check" | "explain")), None) => Err(format!("`mesh {name}` needs a FILE").into()),
        (Some(name), _) => Err(format!("there is no command `{name}`; there are run, check and explain").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Result<Command, String> {
        read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands() {
        assert_eq!(told(""), Ok(Command::Default));
        assert_eq!(told("run --config a.yaml"), Ok(Command::Run { config: "a.yaml".into() }));
        assert_eq!(told("run --config=a.yaml"), Ok(Command::Run { config: "a.yaml".into() }));
        assert_eq!(told("check a.yaml"), Ok(Command::Check { file: "a.yaml".into() }));
        assert_eq!(told("explain a.yaml"), Ok(Command::Explain { file: "a.yaml".into() }));
        assert_eq!(told("check --help"), Ok(Command::Help));
        assert_eq!(told("-V"), Ok(Command::Version));
    }

    #[test]
    fn everything_else_is_told_why() {
        for line in [
            "run",
            "run a.yaml",
            "run --config",
            "run --config a --config b",
            "check",
            "check a b",
            "check --config a",
            "explain",
            "rn",
            "--config a",
            "-x",
            "run --no-such-option",
        ] {
            assert!(told(line).is_err_and(|error| !error.is_empty()), "{line}");
        }
    }
}
