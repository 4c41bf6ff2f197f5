//! What the program is told on its command line.

use lexopt::{Arg, Parser, ValueExt as _};
use std::{ffi::OsString, path::PathBuf};

pub(crate) const HELP: &str = "\
A service-mesh sidecar made of tower layers, put together by a declarative spec.

Usage: mesh [COMMAND]

Commands:
  run --config FILE [-- APP ARG…]
                     runs a spec; takes it again when the file changes and on SIGHUP;
                     ends after the requests in flight on SIGTERM and SIGINT.
                     With an application: starts it when ready, hands these signals on,
                     ends when it has ended, with its exit code
  check FILE         validates a spec and names every fault by file, line and column;
                     exit code 0: good, 1: bad
  explain FILE [--format text|json|mermaid]
                     prints the effective pipelines of a spec, every default filled in,
                     runs of gates marked
  schema             prints the JSON Schema of specs, for editors
  reference          prints a page with every key of a spec, as Markdown
  layers             prints the registered layers with their settings, one line each

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
    Run { config: PathBuf, application: Vec<OsString> },
    Check { file: PathBuf },
    Explain { file: PathBuf, format: Format },
    Schema,
    Reference,
    Layers,
    Help,
    Version,
}

/// How a spec is explained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Mermaid,
}

/// Reads the arguments after the program's name. The error is a sentence for the user.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut own: Vec<OsString> = arguments.into_iter().collect();
    // what comes behind `--` is the application's, whatever it looks like
    let application = own.iter().position(|argument| argument == "--").map(|at| own.split_off(at).split_off(1));
    parse(Parser::from_args(own), application).map_err(|error| error.to_string())
}

fn parse(mut parser: Parser, application: Option<Vec<OsString>>) -> Result<Command, lexopt::Error> {
    let (mut command, mut operand, mut format) = (None, None, None);
    while let Some(argument) = parser.next()? {
        match (argument, command.as_deref()) {
            (Arg::Short('h') | Arg::Long("help"), _) => return Ok(Command::Help),
            (Arg::Short('V') | Arg::Long("version"), _) => return Ok(Command::Version),
            (Arg::Long("config"), Some("run")) if operand.is_none() => {
                operand = Some(PathBuf::from(parser.value()?));
            }
            (Arg::Long("format"), Some("explain")) if format.is_none() => {
                format = Some(match parser.value()?.string()?.as_str() {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    "mermaid" => Format::Mermaid,
                    other => return Err(format!("there is no format `{other}`: text, json or mermaid").into()),
                });
            }
            (Arg::Value(value), None) => command = Some(value.string()?),
            (Arg::Value(value), Some("check" | "explain")) if operand.is_none() => operand = Some(PathBuf::from(value)),
            (other, _) => return Err(other.unexpected()),
        }
    }
    match (command.as_deref(), operand, application) {
        (Some("run"), Some(_), Some(application)) if application.is_empty() => {
            Err("there is no application behind `--`".into())
        }
        (Some("run"), Some(config), application) => {
            Ok(Command::Run { config, application: application.unwrap_or_default() })
        }
        (Some("run"), None, _) => Err("`mesh run` needs `--config FILE`".into()),
        (_, _, Some(_)) => Err("`--` and an application are for `mesh run` only".into()),
        (None, ..) => Ok(Command::Default),
        (Some("check"), Some(file), _) => Ok(Command::Check { file }),
        (Some("explain"), Some(file), _) => Ok(Command::Explain { file, format: format.unwrap_or_default() }),
        (Some("schema"), ..) => Ok(Command::Schema),
        (Some("reference"), ..) => Ok(Command::Reference),
        (Some("layers"), ..) => Ok(Command::Layers),
        (Some(name @ ("check" | "explain")), ..) => Err(format!("`mesh {name}` needs a FILE").into()),
        (Some(name), ..) => {
            Err(format!("there is no command `{name}`; there are run, check, explain, schema, reference and layers")
                .into())
        }
    }
}

#[cfg(test)]
#[path = "../tests/arguments/mod.rs"]
mod tests;
