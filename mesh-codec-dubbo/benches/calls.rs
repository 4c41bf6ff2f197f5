//! Time per frame and call. `cargo bench -p mesh-codec-dubbo --bench calls`
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "calls/mod.rs"]
mod variants;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use variants::VARIANTS;

fn all(c: &mut Criterion) {
    let mut group = c.benchmark_group("calls");
    for (name, make, run) in VARIANTS {
        let mut wire = make();
        group.throughput(Throughput::Bytes(wire.bytes()));
        group.bench_function(name, |bencher| bencher.iter(|| run(&mut wire)));
    }
    group.finish();
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = all }
criterion_main!(benches);
