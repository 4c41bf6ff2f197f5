//! What the layer contract costs, in nanoseconds per thousand calls.

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_benches::VARIANTS;

fn contract(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("contract, 1000 calls");
    for (name, run) in VARIANTS {
        group.bench_function(name, |bencher| bencher.iter(|| run(1000)));
    }
    group.finish();
}

criterion_group!(benches, contract);
criterion_main!(benches);
