//! One line per class and operation, as `hessian.mjs` prints them, for `cargo xtask hessian2`: name, operation, bytes,
//! nanoseconds for all of them, allocations. Separated by tabs.

mod streams;

use mesh_test::alloc::{Counting, count};
use std::time::{Duration, Instant};
use streams::{Class, OPERATIONS, classes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The best of five rounds of a fifth of a second.
fn best(operation: fn(&Class), class: &Class) -> f64 {
    let round = || {
        let (start, mut times) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(200) {
            operation(class);
            times += 1;
        }
        start.elapsed().as_nanos() as f64 / f64::from(times)
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    for class in &classes() {
        for (name, operation) in OPERATIONS {
            operation(class);
            let ((), allocated) = count(|| operation(class));
            let nanoseconds = best(operation, class);
            println!("{}\t{name}\t{}\t{nanoseconds:.0}\t{}", class.name, class.bytes(), allocated.count);
        }
    }
}
