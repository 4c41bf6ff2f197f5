//! The contract of layers, by the kit: over plain messages, a protocol that is not HTTP, and HTTP.

use mesh_core::units::Ratio;
use mesh_fault_injection::{Abort, FaultInjection, FaultInjectionLayer, FaultSettings};
use mesh_test::{Http, Line, Plain, alloc::Counting, contract};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Armed, and next to never hit.
fn armed() -> FaultInjectionLayer {
    let rate = Ratio::from_ppm(0).expect("a ratio");
    FaultInjectionLayer::new().delay(Duration::from_secs(1), rate).abort(Abort::Status(503), rate)
}

fn off() -> FaultInjectionLayer {
    let layer = FaultInjectionLayer::new().abort(Abort::Reset, Ratio::ONE);
    layer.handle().switch(false);
    layer
}

fn retune(faults: &FaultInjection) {
    faults.set(faults.settings());
}

#[test]
fn the_gate_over_lines() {
    contract::gate::<Line, _>(|| FaultInjection::new(FaultSettings { delay: None, ..armed().handle().settings() }))
        .settled(|faults| faults.active() == 0)
        .retune(retune)
        .off(|| FaultInjection::new(FaultSettings::default()))
        .allocations(0)
        .check();
}

#[test]
fn the_layer_over_lines_and_http() {
    contract::layer::<Line, _>(armed)
        .settled(|layer| layer.handle().active() == 0)
        .retune(|layer| retune(&layer.handle()))
        .off(off)
        .allocations(0)
        .in_a_pipeline()
        .check();
    contract::layer::<Http, _>(armed)
        .settled(|layer| layer.handle().active() == 0)
        .retune(|layer| retune(&layer.handle()))
        .off(off)
        .allocations(0)
        .check();
}

#[test]
fn the_layer_over_plain_messages() {
    contract::layer::<Plain, _>(|| armed().results_only())
        .settled(|layer| layer.handle().active() == 0)
        .retune(|layer| retune(&layer.handle()))
        .off(|| off().results_only())
        .allocations(0)
        .check();
}
