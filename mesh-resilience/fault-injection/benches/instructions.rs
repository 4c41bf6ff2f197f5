//! User instructions of a call, counted by callgrind: twice as many calls less half as many, so that start and end
//! cancel out. `cargo bench -p mesh-fault-injection --bench instructions` (needs valgrind)

mod variants;

use std::{
    env, fs,
    process::{Command, ExitCode},
};
use variants::VARIANTS;

const CALLS: u64 = 200_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [variant, calls] = &arguments[..]
        && let (Ok(variant), Ok(calls)) = (variant.parse::<usize>(), calls.parse())
    {
        VARIANTS[variant].1()(calls);
        return ExitCode::SUCCESS;
    }
    for (number, (name, _)) in VARIANTS.iter().enumerate() {
        match count(number, 2 * CALLS).and_then(|more| Ok(more - count(number, CALLS)?)) {
            Ok(instructions) => println!("{name}: {} instructions", instructions / CALLS),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// What this program executes for so many calls of a variant.
fn count(variant: usize, calls: u64) -> Result<u64, String> {
    let file = env::temp_dir().join(format!("mesh-fault-injection-{}.callgrind", std::process::id()));
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
