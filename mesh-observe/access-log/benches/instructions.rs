//! User instructions of a call, counted by callgrind. `cargo bench -p mesh-access-log --bench instructions` (needs
//! valgrind)

mod variants;

use mesh_test::instructions::count;
use std::process::ExitCode;
use variants::VARIANTS;

const CALLS: u64 = 100_000;

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| VARIANTS[variant].1()(calls))
}
