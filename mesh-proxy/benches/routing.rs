//! Nanoseconds and allocations of finding a route. `cargo bench -p mesh-proxy --bench routing`
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod variants;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_test::alloc::{Counting, count};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn all(c: &mut Criterion) {
    for (name, make) in variants::VARIANTS {
        let mut call = make();
        let ((), allocated) = count(|| call(1000));
        println!("{name}: {} allocations in 1000 calls", allocated.count);
        c.bench_function(name, |b| b.iter(|| call(1)));
    }
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = all }
criterion_main!(benches);
