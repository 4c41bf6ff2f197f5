//! User instructions per frame and call, counted by callgrind. `cargo bench -p mesh-codec-dubbo --bench call_instructions`
//! (needs valgrind)

#[path = "calls/mod.rs"]
mod variants;

use mesh_test::instructions::count;
use std::process::ExitCode;
use variants::VARIANTS;

fn main() -> ExitCode {
    let names = VARIANTS.map(|(name, ..)| name);
    count(&names, 2000, |variant, calls| {
        let (_, make, run) = VARIANTS[variant];
        let mut wire = make();
        (0..calls).for_each(|_| run(&mut wire));
    })
}
