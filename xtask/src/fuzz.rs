//! Every parser, fed with what libFuzzer makes of it: on a stable compiler, so without a sanitizer; debug assertions and
//! overflow checks are on, and each target checks what it can.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{cargo, output, root, run, target};
use crate::measure::publish;
use crate::step::Outcome;

/// What cargo-fuzz gives with `--sanitizer none`: counters at every edge, and what comparisons compare.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds all targets and runs each for so many seconds. What breaks one is kept in `target/fuzz/found`; corpora are
/// kept in `target/fuzz/corpus`, so that the next run goes on from there.
pub(crate) fn fuzz(seconds: Option<&str>) -> Outcome {
    let seconds: u32 = seconds.unwrap_or("60").parse().map_err(|_| "usage: cargo xtask fuzz [SECONDS]".to_owned())?;
    let place = root().join("fuzz");
    let dir = target().join("fuzz");
    // with a target named, programs that run during the build are not instrumented
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?.trim().to_owned();
    let mut build = cargo(["build", "--release", "--target", &host]);
    build.current_dir(&place).env("CARGO_TARGET_DIR", &dir).env("RUSTFLAGS", FLAGS.join(" "));
    run(&mut build)?;
    let mut lines = String::new();
    let mut failed = Vec::new();
    for name in names(&place)? {
        match one(&name, seconds, &dir.join(&host).join("release"), &place, &dir) {
            Ok(line) => lines.push_str(&line),
            Err(why) => failed.push(why),
        }
    }
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    let text = format!(
        "# Fuzzing\n\nEach target of [fuzz](../../fuzz) for {seconds} s without a failure, from its seeds and what \
         former runs kept.\n\n| target | inputs run | inputs kept | edges covered |\n| --- | ---: | ---: | ---: |\n{lines}"
    );
    publish("fuzz", &format!("cargo xtask fuzz {seconds}"), &text)
}

/// One for each file in `targets`.
fn names(place: &Path) -> Result<Vec<String>, String> {
    let dir = place.join("targets");
    let files = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

/// Its line in the table.
fn one(name: &str, seconds: u32, programs: &Path, place: &Path, dir: &Path) -> Result<String, String> {
    let (corpus, found) = (dir.join("corpus").join(name), dir.join("found"));
    for dir in [&corpus, &found] {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    // specs there are enough of
    let seeds = if name == "spec" { root().join("examples") } else { place.join("seeds").join(name) };
    for seed in fs::read_dir(&seeds).map_err(|error| format!("{}: {error}", seeds.display()))?.flatten() {
        let is_seed = name != "spec" || seed.path().extension().is_some_and(|extension| extension == "yaml");
        if is_seed {
            fs::copy(seed.path(), corpus.join(seed.file_name())).map_err(|error| format!("{seed:?}: {error}"))?;
        }
    }
    println!("{name}, {seconds} s");
    let mut command = Command::new(programs.join(name));
    command
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", found.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1", "-verbosity=1"])
        .stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(format!("{name}: {}\n{}", output.status, tail.join("\n")));
    }
    let number = |key: &str| {
        let rest = text.rsplit_once(key).map(|(_, rest)| rest.trim_start());
        let digits = rest.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().to_owned());
        digits.unwrap_or_default()
    };
    let kept = fs::read_dir(&corpus).map(Iterator::count).unwrap_or_default();
    Ok(format!("| `{name}` | {} | {kept} | {} |\n", number("number_of_executed_units:"), number("cov:")))
}
