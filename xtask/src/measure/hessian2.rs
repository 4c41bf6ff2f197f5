//! Hessian2 beside the implementation that Node has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::publish;
use crate::command::{cargo, output, peers, root, run};
use crate::step::Outcome;

/// The package, pinned.
const PEER: &str = "hessian.js@2.11.0";

/// Of a class and an operation: bytes, nanoseconds for all of them, and a count.
type Figures = BTreeMap<(String, String), (f64, f64, u64)>;

/// Both do the same streams; what they print has one form.
pub(crate) fn hessian2() -> Outcome {
    let dir = peers().join("hessian.js");
    if !dir.join("node_modules/hessian.js").exists() {
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund", PEER]).current_dir(&dir))?;
    }
    let ours = output(&mut cargo(["bench", "--quiet", "--package", "mesh-codec-dubbo", "--bench", "beside"]))?;
    let script = root().join("mesh-codec-dubbo/benches/hessian.mjs");
    let theirs = figures(&output(Command::new("node").arg(script).arg(&dir))?);
    let counted = output(&mut cargo(["bench", "--quiet", "--package", "mesh-codec-dubbo", "--bench", "instructions"]))?;
    let counted: BTreeMap<&str, &str> = counted
        .lines()
        .filter_map(|line| line.strip_suffix(" instructions").and_then(|line| line.rsplit_once(": ")))
        .collect();
    let mut text = format!(
        "# Hessian2\n\nThe streams of the test vectors, in classes. For all streams of a class: user instructions, \
         allocations, and bytes per second of CPU, the best of five rounds. Beside it npm's {PEER} under Node, for \
         scale.\n\n| streams | | bytes | instructions | allocations | MB/s | hessian.js, MB/s | times |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    let megabytes = |(bytes, time, _): &(f64, f64, u64)| bytes / time * 1000.0;
    let ours = figures(&ours);
    if ours.is_empty() || theirs.is_empty() {
        return Err("the benches printed no figures".to_owned());
    }
    for (key, figure) in &ours {
        let (bytes, _, allocations) = figure;
        let beside = theirs.get(key).filter(|(same, _, _)| same == bytes).map(megabytes);
        let (name, operation) = key;
        let instructions = counted.get(&*format!("{name}\t{operation}")).copied().unwrap_or("–");
        let _ = write!(
            text,
            "| {name} | {operation} | {bytes} | {instructions} | {allocations} | {:.0} |",
            megabytes(figure)
        );
        let _ = match beside {
            Some(beside) => writeln!(text, " {beside:.1} | {:.1} |", megabytes(figure) / beside),
            None => writeln!(text, " – | – |"),
        };
    }
    publish("hessian2", "cargo xtask hessian2", &text)
}

/// Lines of name, operation, bytes, nanoseconds and a count, separated by tabs.
fn figures(printed: &str) -> Figures {
    let figure = |line: &str| {
        let mut fields = line.split('\t');
        let key = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let (bytes, time) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((key, (bytes, time, fields.next()?.parse().ok()?)))
    };
    printed.lines().filter_map(figure).collect()
}
