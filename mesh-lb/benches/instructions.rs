//! User instructions of a call, counted by callgrind. `cargo bench -p mesh-lb --bench instructions` (needs valgrind)

mod variants;

use mesh_test::instructions::count;
use std::process::ExitCode;
use variants::VARIANTS;

/// More than there are endpoints, so that every one of them has been met before those that are counted.
const CALLS: u64 = 200_000;

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| VARIANTS[variant].1()(calls))
}
