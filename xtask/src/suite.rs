//! Runs of tests that take long, and the table of what they found.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::command::{cargo, shown};
use crate::measure::publish;
use crate::setup;
use crate::step::Steps;

/// The conformance suites of others, for HTTP/2 and for WebSocket.
pub(crate) fn conformance(steps: &mut Steps) {
    steps.run("set-up", setup::conformance);
    steps.run("conformance", || {
        let rows = rows("conformance: ", &["interop_conformance"])?;
        let text = format!(
            "# Conformance\n\nThe suites of others through the sidecar, in clear text. Of Autobahn's cases none may be worse than \
             without the sidecar; NON-STRICT passes: whether what came before an error is still echoed depends on which bytes \
             come together.\n\n\
             | suite | result |\n| --- | --- |\n{rows}"
        );
        publish("conformance", "cargo xtask conformance", &text)
    });
}

/// The tests of the program with what `cargo xtask test` has no time for.
pub(crate) fn soak(steps: &mut Steps) {
    steps.run("soak", || {
        let rows = rows("soak: ", &["faults", "clients", "connections", "drain", "relay"])?;
        let text = format!(
            "# Faults and crowds\n\nWhat clients and endpoints do to the program (its unoptimised build), at full size; each line is \
             a test that has passed. Endpoints are three, of which each gets a third of the requests; one goes wrong with a \
             request of every client on it.\n\n| what | came of it |\n| --- | --- |\n{rows}"
        );
        publish("soak", "cargo xtask soak", &text)
    });
}

/// Runs the ignored tests of the program in these files, one after the other, with all the descriptors there may be.
/// What they print behind `prefix`, as rows of a table.
fn rows(prefix: &str, files: &[&str]) -> Result<String, String> {
    let mut tests = cargo(["test", "--package", "mesh-bin", "--all-features", "--no-fail-fast"]);
    tests.args(files.iter().flat_map(|file| ["--test", file]));
    tests.args(["--", "--ignored", "--nocapture", "--test-threads", "1"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$@\"", "sh"]);
    command.arg(tests.get_program()).args(tests.get_args()).current_dir(crate::command::root());
    let line = shown(&tests);
    println!("$ {line}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("`{line}` cannot be run: {error}"))?;
    let mut rows = String::new();
    for said in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok))
    {
        println!("{said}");
        if let Some((_, row)) = said.split_once(prefix) {
            rows.push_str(&format!("| {row} |\n"));
        }
    }
    let status = child.wait().map_err(|error| format!("`{line}`: {error}"))?;
    if status.success() { Ok(rows) } else { Err(format!("`{line}` ended with {status}")) }
}
