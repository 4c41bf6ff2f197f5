//! User instructions of a call, counted by callgrind: for benches that compare layers where the clock is too coarse.

use std::{
    env, fs,
    process::{Command, ExitCode},
};

/// The `main` of a bench without a harness: prints `NAME: NUMBER instructions` for each variant.
///
/// It starts itself under callgrind, twice for each variant, with `calls` calls and with twice as many: the difference
/// is what `calls` of them execute, without start and end. `run` is given the number of a variant and makes so many
/// calls of it. Needs valgrind on the path; without it the exit code says so.
pub fn count(names: &[&str], calls: u64, run: impl Fn(usize, u64)) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [variant, calls] = &arguments[..]
        && let (Ok(variant), Ok(calls)) = (variant.parse(), calls.parse())
    {
        run(variant, calls);
        return ExitCode::SUCCESS;
    }
    for (number, name) in names.iter().enumerate() {
        match executed(number, 2 * calls).and_then(|more| Ok(more - executed(number, calls)?)) {
            Ok(instructions) => println!("{name}: {} instructions", instructions / calls),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// What this program executes for so many calls of a variant.
fn executed(variant: usize, calls: u64) -> Result<u64, String> {
    let file = env::temp_dir().join(format!("mesh-instructions-{}.callgrind", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())])
        .arg(env::current_exe().map_err(|error| error.to_string())?)
        .args([variant.to_string(), calls.to_string()])
        .status()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{status}: {error}"))?;
    let _ = fs::remove_file(&file);
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| "callgrind wrote no totals".to_owned())
}
