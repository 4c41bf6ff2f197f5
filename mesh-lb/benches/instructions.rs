//! User instructions of a call, counted by callgrind: `cargo bench --profile release -p mesh-lb --bench instructions`
//! (needs valgrind).
//!
//! A call is all that is done with the layer, from `poll_ready` to the result and the drop of the future, over a service
//! that answers at once; what that takes by itself is the first line. *In turns*: the clock is that of a worker of the
//! sidecar, where one reading answers 64 questions; else it is tokio's, read anew at the pick and at the result.

mod variants;

use mesh_test::instructions::count;
use std::process::ExitCode;
use variants::VARIANTS;

/// More than there are endpoints, so that every one of them has been met before those that are counted.
const CALLS: u64 = 200_000;

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| VARIANTS[variant].1()(calls))
}
