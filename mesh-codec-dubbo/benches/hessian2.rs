//! Time per class of streams. `cargo bench -p mesh-codec-dubbo --bench hessian2`
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod streams;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mesh_test::alloc::{Counting, count};
use std::time::Duration;
use streams::{OPERATIONS, classes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn all(c: &mut Criterion) {
    let classes = classes();
    for (name, operation) in OPERATIONS {
        let mut group = c.benchmark_group(name);
        for class in &classes {
            let ((), allocated) = count(|| operation(class));
            println!("{name} {}: {} allocations", class.name, allocated.count);
            group.throughput(Throughput::Bytes(class.bytes()));
            group.bench_function(class.name.as_str(), |bencher| bencher.iter(|| operation(class)));
        }
        group.finish();
    }
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = all }
criterion_main!(benches);
