//! The contract of layers, by the kit: over plain messages, a protocol that is not HTTP, and HTTP.

use mesh_core::units::Rate;
use mesh_rate_limit::{Quota, RateLimit, RateLimitLayer};
use mesh_test::{
    Contract, Exhaust, Http, Line, Plain,
    alloc::Counting,
    contract::{self, Spoken},
};
use std::num::{NonZeroU32, NonZeroU64};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many cells in so many days: nothing is paid back while a check runs.
fn quota(count: u64, burst: u32) -> Quota {
    let count = NonZeroU64::new(count).expect("a count");
    let rate = Rate::new(count, std::time::Duration::from_secs(86_400)).expect("a rate");
    Quota::new(rate).with_burst(NonZeroU32::new(burst).expect("a burst"))
}

fn plenty() -> RateLimit {
    RateLimit::new(quota(1, 1_000_000))
}

fn layer(quota: Quota) -> RateLimitLayer {
    RateLimitLayer::new(quota.rate()).burst(quota.burst())
}

/// Another rate, and as much as before.
fn retune(limit: &RateLimit) {
    let quota = limit.quota().expect("it is on");
    let count = NonZeroU64::new(3 - quota.rate().count().get()).expect("1 or 2");
    let rate = Rate::new(count, quota.rate().per()).expect("a rate");
    limit.set_quota(Quota::new(rate).with_burst(quota.burst()));
}

fn gate<M: Spoken<Reach = mesh_core::Whole>>() -> Contract<M, RateLimit> {
    contract::gate::<M, RateLimit>(plenty)
        .tight(|| RateLimit::new(quota(1, 1)), Exhaust::Call)
        .retune(retune)
        .off(|| RateLimit::new(None))
        .allocations(0)
}

#[test]
fn the_gate_over_lines() {
    gate::<Line>().check();
}

#[test]
fn the_gate_over_http() {
    gate::<Http>().check();
}

#[test]
fn the_layer_over_plain_messages() {
    contract::layer::<Plain, _>(|| layer(quota(1, 1_000_000)))
        .tight(|| layer(quota(1, 1)), Exhaust::Call)
        .retune(|layer| retune(&layer.handle()))
        .off(|| {
            let layer = layer(quota(1, 1));
            layer.handle().set_quota(None);
            layer
        })
        .allocations(0)
        .check();
}

#[test]
fn the_layer_in_a_pipeline() {
    contract::layer::<Line, _>(|| layer(quota(1, 1_000_000)))
        .tight(|| layer(quota(1, 1)), Exhaust::Call)
        .retune(|layer| retune(&layer.handle()))
        .allocations(0)
        .in_a_pipeline()
        .check();
}
