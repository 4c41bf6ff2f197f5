//! The contract of governance layers.
#![allow(missing_docs)]

use mesh_test::{Http, Line, Plain, contract};
use mesh_timeout::TimeoutLayer;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;

/// Longer than anything takes that the contract does.
const LONG: Duration = Duration::from_secs(100_000);

#[test]
fn over_a_protocol_that_is_not_http() {
    contract::layer::<Line, _>(|| TimeoutLayer::new(LONG))
        .retune(|layer| layer.handle().set_response(LONG * 2))
        .off(TimeoutLayer::deadline_only)
        .allocations(0)
        .in_a_pipeline()
        .check();
}

#[test]
fn over_http() {
    contract::layer::<Http, _>(|| TimeoutLayer::new(LONG))
        .retune(|layer| layer.handle().set_response(LONG * 2))
        .off(TimeoutLayer::deadline_only)
        .allocations(0)
        .in_a_pipeline()
        .check();
}

#[test]
fn over_anything() {
    contract::layer::<Plain, _>(|| TimeoutLayer::new(LONG).results_only())
        .retune(|layer| layer.handle().set_response(LONG * 2))
        .off(|| TimeoutLayer::deadline_only().results_only())
        .allocations(0)
        .check();
}

#[test]
fn with_limits_on_the_body() {
    // the tap, the list it is on (two), and its timer, since this body must be waited for
    contract::layer::<Http, _>(|| TimeoutLayer::new(LONG).total(LONG).idle(LONG))
        .retune(|layer| layer.handle().set(layer.handle().settings()))
        .allocations(4)
        .in_a_pipeline()
        .check();
}
