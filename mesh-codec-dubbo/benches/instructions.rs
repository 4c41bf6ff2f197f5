//! User instructions per class of streams, counted by callgrind. `cargo bench -p mesh-codec-dubbo --bench instructions`
//! (needs valgrind)

mod streams;

use mesh_test::instructions::count;
use std::process::ExitCode;
use streams::{OPERATIONS, classes};

fn main() -> ExitCode {
    let classes = classes();
    let variants: Vec<_> =
        OPERATIONS.iter().flat_map(|operation| classes.iter().map(move |class| (operation, class))).collect();
    let names: Vec<String> =
        variants.iter().map(|((name, _), class)| format!("{name} {}, {} bytes", class.name, class.bytes())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    count(&names, 20, |variant, calls| {
        let ((_, operation), class) = variants[variant];
        (0..calls).for_each(|_| operation(class));
    })
}
