//! A call through the layer, and the gate in a run of a pipeline, with Prometheus' recorder and without one.
//! `cargo bench -p mesh-metrics`
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_core::{BoxError, Context as Call, Governed as _, Name, Nanos, Pipeline, Stage, time};
use mesh_metrics::{DURATION_BUCKETS, Metrics, MetricsLayer, MetricsSettings};
use mesh_test::{
    Line,
    alloc::{Counting, count},
    line,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures, and prints what ten thousand calls allocate. `after` runs once in a thousand calls.
fn measure(c: &mut Criterion, name: &str, after: impl Fn(), mut call: impl FnMut()) {
    let mut calls = 0_u64;
    let mut once = || {
        call();
        calls += 1;
        if calls.is_multiple_of(1000) {
            after();
        }
    };
    once();
    let ((), allocated) = count(|| (0..10_000).for_each(|_| once()));
    println!("{name}: {} allocations in 10000 calls", allocated.count);
    c.bench_function(name, |b| b.iter(&mut once));
}

/// Polls a future that is ready.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not ready"),
    }
}

fn plain(c: &mut Criterion, recorder: &str, after: impl Fn() + Copy) {
    let leaf = || service_fn(|n: u64| ready(Ok::<u64, BoxError>(n)));
    let metrics = MetricsLayer::new();
    let mut service = metrics.results_only().layer(leaf());
    measure(c, &format!("{recorder}/plain call"), after, || {
        black_box(now(service.call(black_box(1))).unwrap());
    });
    metrics.handle().set_enabled(false);
    measure(c, &format!("{recorder}/plain call, off"), after, || {
        black_box(now(service.call(black_box(1))).unwrap());
    });
}

/// What one gate more in a run costs: a stage with two such gates, and with one.
fn run(c: &mut Criterion, recorder: &str, after: impl Fn() + Copy) {
    let names = ["web", "checkout", "orders"].map(Name::intern);
    let metrics = || Metrics::new(&MetricsSettings::default()).unwrap();
    for gates in 1..=2 {
        let mut pipeline = Pipeline::<Line>::builder();
        for _ in 0..gates {
            pipeline = pipeline.gate("metrics", metrics());
        }
        let leaf = service_fn(|_: line::Request| ready(Ok::<_, line::Error>(line::Reply::new(line::OK))));
        let mut stage = pipeline.build().apply(Stage::new(leaf));
        let arrived = time::now();
        measure(c, &format!("{recorder}/stage with {gates}"), after, || {
            let context = Call::begin(arrived.max(Nanos::from_nanos(1)), None);
            context.set_listener(names[0]);
            context.set_route(names[1]);
            context.set_cluster(names[2]);
            let request = line::Request { context, ..line::Request::default() };
            now(stage.call(request)).unwrap().guards().end_well();
        });
    }
}

fn calls(c: &mut Criterion) {
    plain(c, "no recorder", || ());
    run(c, "no recorder", || ());
    let recorder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS).unwrap().build_recorder();
    let handle = recorder.handle();
    // what an exporter does now and then: samples become buckets
    let upkeep = || handle.run_upkeep();
    metrics::with_local_recorder(&recorder, || {
        plain(c, "prometheus", upkeep);
        run(c, "prometheus", upkeep);
    });
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = all; config = quick(); targets = calls }
criterion_main!(all);
