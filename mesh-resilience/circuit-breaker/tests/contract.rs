//! The contract of layers, by the kit: over plain messages, a protocol that is not HTTP, and HTTP.

use mesh_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, CircuitBreakerSettings, Force, State, WindowSettings};
use mesh_test::{
    Contract, Exhaust, Http, Line, Plain,
    alloc::Counting,
    contract::{self, Spoken},
};
use std::{num::NonZeroU32, time::Duration};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// It counts all there is to count, and the kit has not so many failures as to open it.
fn patient() -> CircuitBreakerSettings {
    CircuitBreakerSettings {
        consecutive_failures: NonZeroU32::new(1_000_000),
        window: Some(WindowSettings {
            min_calls: NonZeroU32::new(100_000),
            calls: number(100_000),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The first failure opens it for longer than a check lasts.
fn touchy() -> CircuitBreakerSettings {
    CircuitBreakerSettings {
        consecutive_failures: Some(NonZeroU32::MIN),
        open_for: Duration::from_secs(300),
        ..Default::default()
    }
}

fn off() -> CircuitBreakerSettings {
    CircuitBreakerSettings { force: Some(Force::Disabled), ..touchy() }
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("it is not zero")
}

/// Another window, and another time to be open.
fn retune(breaker: &CircuitBreaker) {
    let mut settings = breaker.settings();
    settings.open_for = Duration::from_secs(if settings.open_for.as_secs() == 299 { 300 } else { 299 });
    settings.window = settings.window.map(|window| WindowSettings {
        calls: number(if window.calls.get() == 100_000 { 200_000 } else { 100_000 }),
        ..window
    });
    breaker.set_settings(settings);
}

fn gate<M: Spoken<Reach = mesh_core::Whole>>() -> Contract<M, CircuitBreaker> {
    contract::gate::<M, CircuitBreaker>(|| CircuitBreaker::new(patient()))
        .settled(|breaker| matches!(breaker.state(), State::Closed | State::Disabled))
        .tight(|| CircuitBreaker::new(touchy()), Exhaust::Failure)
        .retune(retune)
        .off(|| CircuitBreaker::new(off()))
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
    contract::layer::<Plain, _>(|| CircuitBreakerLayer::from(patient()).results_only())
        .tight(|| CircuitBreakerLayer::from(touchy()).results_only(), Exhaust::Failure)
        .retune(|layer| retune(&layer.handle()))
        .off(|| CircuitBreakerLayer::from(off()).results_only())
        .allocations(0)
        .check();
}

#[test]
fn the_layer_in_a_pipeline() {
    contract::layer::<Line, _>(|| CircuitBreakerLayer::from(patient()))
        .tight(|| CircuitBreakerLayer::from(touchy()), Exhaust::Failure)
        .retune(|layer| retune(&layer.handle()))
        .off(|| CircuitBreakerLayer::from(off()))
        .allocations(0)
        .in_a_pipeline()
        .check();
}
