//! Calls that nothing happens to, and aborted ones; the public crate beside them. `cargo bench -p
//! mesh-fault-injection --bench fault_injection`
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod variants;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_test::alloc::{Counting, count};
use std::time::Duration;
use variants::VARIANTS;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls(c: &mut Criterion) {
    for (name, make) in VARIANTS {
        let mut run = make();
        run(10);
        let ((), allocated) = count(|| run(1000));
        println!("{name}: {} allocations in 1000 calls", allocated.count);
        c.bench_function(name, |b| b.iter(|| run(1)));
    }
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = all; config = quick(); targets = calls }
criterion_main!(all);
