//! Unit tests of the arguments.

use super::*;

fn told(line: &str) -> Result<Command, String> {
    read(line.split_whitespace().map(OsString::from))
}

#[test]
fn commands() {
    let run = |application: &[&str]| {
        let application = application.iter().map(OsString::from).collect();
        Ok(Command::Run { config: "a.yaml".into(), application })
    };
    let explain = |format| Ok(Command::Explain { file: "a.yaml".into(), format });
    assert_eq!(told(""), Ok(Command::Default));
    assert_eq!(told("run --config a.yaml"), run(&[]));
    assert_eq!(told("run --config=a.yaml"), run(&[]));
    assert_eq!(told("run --config a.yaml -- app -x -- --help"), run(&["app", "-x", "--", "--help"]));
    assert_eq!(told("check a.yaml"), Ok(Command::Check { file: "a.yaml".into() }));
    assert_eq!(told("explain a.yaml"), explain(Format::Text));
    assert_eq!(told("explain --format json a.yaml"), explain(Format::Json));
    assert_eq!(told("explain a.yaml --format=mermaid"), explain(Format::Mermaid));
    assert_eq!(told("schema"), Ok(Command::Schema));
    assert_eq!(told("reference"), Ok(Command::Reference));
    assert_eq!(told("layers"), Ok(Command::Layers));
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
        "run --config a app",
        "run --config a --",
        "run -- app",
        "-- app",
        "check a -- app",
        "check",
        "check a b",
        "check --config a",
        "explain",
        "explain a --format",
        "explain a --format xml",
        "check a --format json",
        "schema a",
        "layers a",
        "rn",
        "--config a",
        "-x",
        "run --no-such-option",
    ] {
        assert!(told(line).is_err_and(|error| !error.is_empty()), "{line}");
    }
}
