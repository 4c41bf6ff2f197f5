//! One line per class and operation, as `hessian.mjs` prints them, for `cargo xtask hessian2`: name, operation, bytes,
//! nanoseconds of CPU for all of them, allocations. Separated by tabs.
#![allow(clippy::unwrap_used, reason = "Linux has the file")]

mod streams;

use mesh_test::alloc::{Counting, count};
use std::{
    fs,
    time::{Duration, Instant},
};
use streams::{Class, OPERATIONS, classes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What this thread has had of the CPU, in nanoseconds: the machine may have other things to do.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The best of five rounds of a fifth of a second.
fn best(operation: fn(&Class), class: &Class) -> f64 {
    let round = || {
        let (start, before, mut times) = (Instant::now(), cpu(), 0_u32);
        while start.elapsed() < Duration::from_millis(200) {
            operation(class);
            times += 1;
        }
        (cpu() - before) / f64::from(times)
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
