//! User instructions for all streams of a class, counted by callgrind: `cargo bench -p mesh-codec-dubbo --bench
//! instructions` (needs valgrind), and a part of `cargo xtask hessian2`.

mod streams;

use mesh_test::instructions::count;
use std::process::ExitCode;
use streams::{OPERATIONS, class, names};

fn main() -> ExitCode {
    let classes = names();
    let variants: Vec<_> =
        OPERATIONS.iter().flat_map(|operation| (0..classes.len()).map(move |place| (operation, place))).collect();
    let names: Vec<String> = variants.iter().map(|((name, _), place)| format!("{}\t{name}", classes[*place])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    count(&names, 20, |variant, calls| {
        let ((_, operation), place) = variants[variant];
        let class = class(place);
        (0..calls).for_each(|_| operation(&class));
    })
}
