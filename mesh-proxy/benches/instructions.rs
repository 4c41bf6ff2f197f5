//! User instructions of finding a route, counted by callgrind. `cargo bench -p mesh-proxy --bench instructions` (needs
//! valgrind)

mod variants;

use mesh_test::instructions::count;
use std::process::ExitCode;
use variants::VARIANTS;

const CALLS: u64 = 20_000;

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| VARIANTS[variant].1()(calls))
}
