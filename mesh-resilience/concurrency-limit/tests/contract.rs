//! The contract of layers, by the kit: over plain messages, a protocol that is not HTTP, and HTTP.

use mesh_concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimitSettings};
use mesh_test::{
    Contract, Exhaust, Http, Line, Plain,
    alloc::Counting,
    contract::{self, Spoken},
};
use std::{num::NonZeroU32, time::Duration};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn max(max: u32) -> NonZeroU32 {
    NonZeroU32::new(max).expect("a limit")
}

fn to_the_end(count: u32) -> ConcurrencyLimit {
    ConcurrencyLimit::from(ConcurrencyLimitSettings { until_end: true, ..ConcurrencyLimitSettings::new(max(count)) })
}

fn gate<M: Spoken<Reach = mesh_core::Whole>>(
    make: fn(u32) -> ConcurrencyLimit,
    exhaust: Exhaust,
) -> Contract<M, ConcurrencyLimit> {
    contract::gate::<M, ConcurrencyLimit>(move || make(10_000))
        .settled(|limit| limit.in_flight() == 0 && limit.waiting() == 0)
        .tight(move || make(1), exhaust)
        .retune(|limit| limit.set_max(max(limit.max())))
        .allocations(0)
}

#[test]
fn the_gate_over_lines() {
    gate::<Line>(to_the_end, Exhaust::Call).check();
    gate::<Line>(|count| ConcurrencyLimit::new(max(count)), Exhaust::Pending).check();
}

#[test]
fn the_gate_over_http() {
    gate::<Http>(to_the_end, Exhaust::Call).check();
    gate::<Http>(|count| ConcurrencyLimit::new(max(count)), Exhaust::Pending).check();
}

#[test]
fn the_layer_over_plain_messages() {
    contract::layer::<Plain, _>(|| ConcurrencyLimitLayer::new(max(10_000)))
        .settled(|layer| layer.handle().in_flight() == 0)
        .tight(|| ConcurrencyLimitLayer::new(max(1)), Exhaust::Pending)
        .retune(|layer| layer.handle().set_max(max(layer.handle().max())))
        .allocations(0)
        .check();
}

#[test]
fn the_layer_that_waits() {
    let wait = |count| ConcurrencyLimitLayer::new(max(count)).until_end().wait(Duration::from_secs(3600));
    contract::layer::<Line, _>(move || wait(10_000))
        .settled(|layer| layer.handle().in_flight() == 0 && layer.handle().waiting() == 0)
        .retune(|layer| layer.handle().set_max(max(layer.handle().max())))
        .allocations(0)
        .in_a_pipeline()
        .check();
    contract::layer::<Plain, _>(|| ConcurrencyLimitLayer::new(max(10_000)).back_pressure())
        .settled(|layer| layer.handle().in_flight() == 0 && layer.handle().waiting() == 0)
        .allocations(0)
        .check();
}
