//! The contract of governance layers.
#![allow(missing_docs)]

use mesh_core::{Protocol, units::Size};
use mesh_retry::{RetryLayer, RetrySettings, Spoken};
use mesh_test::{Http, Line, Plain, contract};
use std::num::NonZeroU32;

#[global_allocator]
static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;

/// Never exhausted by what the contract sends.
fn layer() -> RetryLayer {
    RetryLayer::new().methods(["*"]).budget(None)
}

fn once() -> RetryLayer {
    RetryLayer::from(RetrySettings::attempts(NonZeroU32::MIN))
}

fn retune<M: Clone>(layer: &RetryLayer<M>) {
    let mut settings = layer.handle().settings();
    settings.max_body = Size::from_bytes(settings.max_body.bytes() ^ 1);
    layer.handle().set_settings(settings);
}

fn over<P: Protocol>(layer: RetryLayer) -> RetryLayer<Spoken<P>> {
    layer.protocol()
}

/// What `Line` keeps of a request is the two texts and the box of `Replay`.
#[test]
fn over_a_protocol_that_is_not_http() {
    contract::layer::<Line, _>(|| over::<Line>(layer()))
        .changes_outcomes()
        .step(std::time::Duration::from_millis(10))
        .retune(retune)
        .off(|| over::<Line>(once()))
        .allocations(3)
        .check();
}

/// In a pipeline the contract wants an error of readiness back as it is, so here nothing is tried again.
#[test]
fn in_a_pipeline() {
    contract::layer::<Line, _>(|| over::<Line>(layer().methods(["none"])))
        .retune(retune)
        .off(|| over::<Line>(once()))
        .allocations(3)
        .in_a_pipeline()
        .check();
}

/// A protocol that cannot send a request again.
#[test]
fn over_http() {
    contract::layer::<Http, _>(|| over::<Http>(layer()))
        .retune(retune)
        .off(|| over::<Http>(once()))
        .allocations(0)
        .in_a_pipeline()
        .check();
}

#[test]
fn over_anything() {
    contract::layer::<Plain, _>(|| layer().results_only())
        .changes_outcomes()
        .step(std::time::Duration::from_millis(10))
        .retune(retune)
        .off(|| once().results_only())
        .allocations(0)
        .check();
}
