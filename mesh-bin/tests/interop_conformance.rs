//! The conformance suites of others: h2spec for HTTP/2, Autobahn for what goes through an upgrade.

mod support;

use std::collections::BTreeMap;
use std::fs;

use support::peer::{Server, installed, run};
use support::{Mesh, free_port, write_file};

/// h2spec's cases in clear text.
const CASES: &str = "145 tests, 145 passed, 0 skipped, 0 failed";

/// Behind answers that take a moment: some cases send a frame too many behind a request, and expect to hear of it before
/// the request has its answer.
#[test]
#[ignore = "run by `cargo xtask conformance`, which installs the suites"]
fn h2spec_passes_whole() {
    let (own, proxied, app) = (free_port(), free_port(), free_port());
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  own:
    bind: "127.0.0.1:{own}"
    protocol: http2
    pipeline: [ fault_injection: {{ delay: {{ fixed: 30ms }} }} ]
    routes: [ {{ respond: {{ body: "hello\n" }} }} ]
  proxied: {{ bind: "127.0.0.1:{proxied}", protocol: http2, routes: [ {{ cluster: app }} ] }}
  app:
    bind: "127.0.0.1:{app}"
    pipeline: [ fault_injection: {{ delay: {{ fixed: 30ms }} }} ]
    routes: [ {{ respond: {{ body: "hello\n" }} }} ]
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{app}" ] }} }}
"#
    ));
    let h2spec = installed("bin/h2spec").expect("h2spec is installed");
    for (port, what) in [(own, "answers of our own"), (proxied, "answers of an upstream")] {
        let port = port.to_string();
        let mut command = std::process::Command::new(&h2spec);
        let output = command.args(["-h", "127.0.0.1", "-p", &port, "-o", "5"]).output().expect("h2spec runs");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains(CASES), "{what}:\n{report}");
        println!("conformance: h2spec 2.2.1, {what} | {}", CASES.replace(" tests", " cases"));
    }
    mesh.stop();
}

/// How bad a behaviour is, by the names of the suite. It takes a case that is not strictly as expected for passed, and
/// so do we: an echo that is sent at once or not at all, since what came next was an error, is a matter of which bytes came
/// together.
fn badness(behaviour: &str) -> u8 {
    match behaviour {
        "OK" | "INFORMATIONAL" | "NON-STRICT" => 0,
        "UNIMPLEMENTED" | "UNCLEAN" => 1,
        _ => 2,
    }
}

/// The behaviours of an agent by case, out of the suite's `index.json`, which has one entry a line.
fn behaviours(index: &serde_json::Value, agent: &str) -> BTreeMap<String, (String, String)> {
    let text = |case: &serde_json::Value, key: &str| case[key].as_str().unwrap_or_default().to_owned();
    let cases = index[agent].as_object().unwrap_or_else(|| panic!("no cases of {agent}"));
    cases.iter().map(|(name, case)| (name.clone(), (text(case, "behavior"), text(case, "behaviorClose")))).collect()
}

#[test]
#[ignore = "run by `cargo xtask conformance`, which installs the suites"]
fn no_websocket_case_is_worse_than_without_the_sidecar() {
    let Some(wstest) = installed("autobahn/bin/wstest") else {
        // the suite needs Python 2.7, which few systems have
        println!("skipped: Autobahn is not installed");
        return;
    };
    let app = Server::start("websocket_echo.py");
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
workers: 1
listeners:
  web:
    bind: "127.0.0.1:{port}"
    pipeline: [ metrics, timeout: {{ response: 2s, total: 5s, idle: 30s }} ]
    routes: [ {{ cluster: app }} ]
clusters:
  app: {{ discovery: {{ static: [ "127.0.0.1:{}" ] }} }}
"#,
        app.port
    ));
    let settings = write_file("fuzzingclient.json", "");
    let reports = settings.with_file_name("reports");
    let settings_text = serde_json::json!({
        "outdir": reports,
        "servers": [
            { "agent": "direct", "url": format!("ws://127.0.0.1:{}", app.port) },
            { "agent": "mesh", "url": format!("ws://127.0.0.1:{port}") },
        ],
        "cases": ["*"],
        // bulk transfers, and compression, which is not the sidecar's
        "exclude-cases": ["9.*", "12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    fs::write(&settings, settings_text.to_string()).expect("written");
    run(std::process::Command::new(wstest).args(["-m", "fuzzingclient", "-s"]).arg(&settings));
    let index = fs::read_to_string(reports.join("index.json")).expect("a report");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    let (direct, through) = (behaviours(&index, "direct"), behaviours(&index, "mesh"));
    assert!(direct.len() > 200 && direct.len() == through.len(), "{} and {}", direct.len(), through.len());
    let worse: Vec<_> = through
        .iter()
        .filter(|(name, (behaviour, close))| {
            let (before, close_before) = &direct[*name];
            badness(behaviour) > badness(before) || badness(close) > badness(close_before)
        })
        .collect();
    assert!(worse.is_empty(), "worse than without: {worse:?}");
    for (cases, what) in [(&through, "through the sidecar"), (&direct, "without it")] {
        let mut counts = BTreeMap::<&str, usize>::new();
        cases.values().for_each(|(behaviour, _)| *counts.entry(behaviour).or_default() += 1);
        let counts: Vec<String> = counts.iter().map(|(behaviour, count)| format!("{count} {behaviour}")).collect();
        println!("conformance: Autobahn 25.10.1, {} cases, {what} | {}", cases.len(), counts.join(", "));
    }
    mesh.stop();
}
