//! The contract of governance layers.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod scrape;

use mesh_metrics::{Metrics, MetricsLayer, MetricsSettings};
use mesh_test::{Http, Line, Plain, contract};
use scrape::recorded;

#[global_allocator]
static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;

fn metrics() -> Metrics {
    Metrics::new(&MetricsSettings::default()).unwrap()
}

fn off() -> Metrics {
    let metrics = metrics();
    metrics.set_enabled(false);
    metrics
}

/// Switched off and on again: what is under way stays as it began.
fn retune(metrics: &Metrics) {
    metrics.set_enabled(!metrics.is_enabled());
    metrics.set_enabled(!metrics.is_enabled());
}

#[test]
fn over_a_protocol_that_is_not_http() {
    recorded(|scrape| {
        let scrape = scrape.clone();
        contract::gate::<Line, _>(metrics).settled(move |_| scrape.in_flight() == 0.0).retune(retune).off(off).check();
    });
}

#[test]
fn over_http() {
    recorded(|scrape| {
        let scrape = scrape.clone();
        contract::gate::<Http, _>(metrics).settled(move |_| scrape.in_flight() == 0.0).retune(retune).off(off).check();
    });
}

#[test]
fn over_anything() {
    recorded(|scrape| {
        let scrape = scrape.clone();
        contract::layer::<Plain, _>(|| MetricsLayer::new().results_only())
            .settled(move |_| scrape.in_flight() == 0.0)
            .retune(|layer| retune(layer.gate().metrics()))
            .check();
    });
}

/// Without a recorder, which allocates as it likes: Prometheus' keeps samples in blocks until it is asked.
#[test]
fn nothing_is_allocated() {
    contract::gate::<Http, _>(metrics).allocations(0).check();
    contract::gate::<Line, _>(metrics).allocations(0).check();
}
