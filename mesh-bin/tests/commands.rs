//! `mesh check`, `mesh explain` and the exit codes.

mod support;

use support::{mesh, write_file};

const GOOD: &str = r#"
listeners:
  web:
    bind: 127.0.0.1:8080
    pipeline:
      - metrics
      - timeout: 2s
      - rate_limit: { rate: 5000/s, burst: 500 }
    routes:
      - match: { path: { prefix: / } }
        cluster: orders
clusters:
  orders:
    discovery: { static: [ "127.0.0.1:9001" ] }
"#;

fn path_of(text: &str) -> String {
    write_file("mesh.yaml", text).to_str().expect("utf-8").to_owned()
}

#[test]
fn a_good_spec() {
    let output = mesh(&["check", &path_of(GOOD)]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

#[test]
fn every_fault_is_named_by_its_line() {
    let spec = r#"listeners:
  web:
    bind: 127.0.0.1:8080
    pipeline:
      - metrics
      - timeout: 2 parsecs
      - rate_limit: { rate: 5000/s, burts: 500 }
    routes:
      - match: { path: { prefix: / } }
        cluster: order
clusters:
  orders:
    discovery: { static: [ "127.0.0.1:9001" ] }
    load_balancer: rundom
"#;
    let path = path_of(spec);
    let output = mesh(&["check", &path]);
    let text = output.stdout + &output.stderr;
    assert_eq!(output.code, Some(1), "{text}");
    for (line, parts) in [
        (6, ["parsecs", "timeout: 2 parsecs"]),
        (7, ["burts", "burst"]),
        (10, ["order", "orders"]),
        (14, ["rundom", "random"]),
    ] {
        let place = format!("{path}:{line}:");
        assert!(text.contains(&place), "{place} is not in\n{text}");
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
    assert_eq!(text.matches(&format!("{path}:")).count(), 4, "{text}");
}

#[test]
fn a_variable_without_a_value_is_an_error_at_its_place() {
    let path = path_of(&GOOD.replace("5000/s", "${NO_SUCH_RATE}"));
    let output = mesh(&["check", &path]);
    let text = output.stdout + &output.stderr;
    assert_eq!(output.code, Some(1), "{text}");
    assert!(text.contains(&format!("{path}:8:")) && text.contains("NO_SUCH_RATE"), "{text}");
}

#[test]
fn running_a_bad_spec_says_the_same() {
    let path = path_of(&GOOD.replace("orders:", "ordres:"));
    let checked = mesh(&["check", &path]);
    let run = mesh(&["run", "--config", &path]);
    assert_eq!((checked.code, run.code), (Some(1), Some(1)), "{}", run.stderr);
    let place = format!("{path}:11:");
    assert!((checked.stdout + &checked.stderr).contains(&place));
    assert!(run.stderr.contains(&place), "{}", run.stderr);
}

#[test]
fn usage_is_another_exit_code() {
    for arguments in [&["check"][..], &["no-such-command"], &["run", "--no-such-option"]] {
        let output = mesh(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.stderr);
    }
    assert_eq!(mesh(&["--help"]).code, Some(0));
}

#[test]
fn a_file_that_is_not_there() {
    let output = mesh(&["check", "/no/such/mesh.yaml"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("/no/such/mesh.yaml"), "{}", output.stderr);
}

#[test]
fn explain_shows_every_pipeline_with_its_defaults() {
    let output = mesh(&["explain", &path_of(GOOD)]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for part in ["web", "orders", "metrics", "timeout", "rate_limit", "127.0.0.1:9001"] {
        assert!(output.stdout.contains(part), "{part} is not in\n{}", output.stdout);
    }
    let bad = mesh(&["explain", &path_of(&GOOD.replace("2s", "soon"))]);
    assert_eq!(bad.code, Some(1));
}

#[test]
fn explained_for_programs_and_as_a_diagram() {
    let path = path_of(GOOD);
    let json = mesh(&["explain", &path, "--format", "json"]);
    assert_eq!(json.code, Some(0), "{}", json.stderr);
    for part in [
        "\"layer\": \"rate_limit\"",
        "\"burst\": 500",
        "\"load_balancer\": ",
        "\"protocol\": \"http\"",
        "\"delay\": \"0s\"",
    ] {
        assert!(json.stdout.contains(part), "{part} is not in\n{}", json.stdout);
    }
    let diagram = mesh(&["explain", "--format", "mermaid", &path]);
    assert_eq!(diagram.code, Some(0), "{}", diagram.stderr);
    let mut lines = diagram.stdout.lines();
    assert_eq!(lines.next(), Some("flowchart LR"));
    for line in lines {
        assert!(line.starts_with("  n"), "{line}");
    }
    for part in [
        "listener web on 127.0.0.1:8080",
        "[/\"metrics\"/]",
        "[\"timeout\"]",
        "path /…",
        "cluster orders",
        "127.0.0.1:9001",
    ] {
        assert!(diagram.stdout.contains(part), "{part} is not in\n{}", diagram.stdout);
    }
    assert_eq!(mesh(&["explain", &path, "--format", "xml"]).code, Some(2));
}

#[test]
fn layers_are_listed_with_their_settings() {
    let output = mesh(&["layers"]);
    assert_eq!(output.code, Some(0));
    let line = |name: &str| output.stdout.lines().find(|line| line.split(' ').next() == Some(name)).map(str::to_owned);
    let limit = line("rate_limit").expect("it is there");
    for part in ["http, tcp", "burst, rate", "refuses"] {
        assert!(limit.contains(part), "{limit}");
    }
    for name in [
        "access_log",
        "circuit_breaker",
        "concurrency_limit",
        "fault_injection",
        "metrics",
        "retry",
        "timeout",
        "tracing",
    ] {
        assert!(line(name).is_some(), "{name} is not in\n{}", output.stdout);
    }
}

#[test]
fn the_reference_is_a_page() {
    let output = mesh(&["reference"]);
    assert_eq!(output.code, Some(0));
    let row = "| `until_end` | `true` or `false` | to the response | Whether a request counts to the end of its response's body. |";
    for part in ["# Reference\n", "\n### `concurrency_limit`\n", row] {
        assert!(output.stdout.contains(part), "{part}");
    }
}

#[test]
fn the_schema_is_json() {
    let output = mesh(&["schema"]);
    assert_eq!(output.code, Some(0));
    assert!(output.stdout.starts_with('{') && output.stdout.trim_end().ends_with('}'));
    for part in ["http://json-schema.org/draft-07/schema#", "\"rate_limit\"", "\"access_log\"", "\"etcd\""] {
        assert!(output.stdout.contains(part), "{part}");
    }
}
