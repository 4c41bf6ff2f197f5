//! The kit passes what keeps the contract, and names what a layer breaks.

mod layers;

use layers::*;
use mesh_core::GateLayer;
use mesh_test::{Contract, Exhaust, Line, Messages, Plain, Spy, contract};
use std::{panic::AssertUnwindSafe, sync::atomic::Ordering::Relaxed, time::Duration};

#[global_allocator]
static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;

#[test]
fn a_gate_that_keeps_it() {
    contract::gate::<Line, _>(|| AtOnce::new(1000))
        .settled(|gate| gate.now.load(Relaxed) == 0)
        .tight(|| AtOnce::new(1), Exhaust::Call)
        .retune(|gate| gate.max.store(gate.max.load(Relaxed), Relaxed))
        .off(|| AtOnce::new(0))
        .allocations(0)
        .check();
}

#[test]
fn over_any_messages() {
    contract::layer::<Plain, _>(|| GateLayer::new(AtOnce::new(1000)).results_only())
        .settled(|layer| layer.gate().now.load(Relaxed) == 0)
        .allocations(0)
        .check();
}

#[cfg(feature = "http")]
#[test]
fn over_http() {
    contract::gate::<mesh_test::Http, _>(|| AtOnce::new(1000))
        .settled(|gate| gate.now.load(Relaxed) == 0)
        .tight(|| AtOnce::new(1), Exhaust::Call)
        .allocations(0)
        .check();
}

#[test]
fn a_gate_that_judges() {
    contract::gate::<Line, _>(|| OneStrike::new(u32::MAX)).tight(|| OneStrike::new(1), Exhaust::Failure).check();
}

#[test]
fn the_spy_itself() {
    contract::gate::<Line, _>(Spy::default).settled(|spy| spy.open() == 0).check();
    contract::gate::<Line, _>(Spy::hearing_heads).settled(|spy| spy.open() == 0).check();
}

#[test]
fn tower_layers() {
    // its permits are taken in `poll_ready`, which is what `scarce` shows of it; nothing else is wrong with it
    contract::layer::<Plain, _>(|| tower::timeout::TimeoutLayer::new(Duration::from_secs(3600))).allocations(1).check();
    contract::layer::<Plain, _>(tower::layer::util::Identity::new).off(tower::layer::util::Identity::new).check();
}

#[test]
fn a_slot_that_is_lost_on_a_drop() {
    let contract = contract::gate::<Line, _>(|| Forgetful(AtOnce::new(1000)));
    let broken = broken(contract.settled(|gate| gate.0.now.load(Relaxed) == 0));
    assert!(broken.contains(&"dropped_at_each_point".into()), "{broken:?}");
}

#[test]
fn faults_of_tower_layers() {
    for (fault, check) in [
        (Faulty::CallsClone, "polled_instance_is_called"),
        (Faulty::IgnoresReadiness, "pending_readiness"),
        (Faulty::SwallowsErrors, "readiness_error"),
        (Faulty::Leaks, "dropped_at_each_point"),
        (Faulty::Allocates, "allocations"),
    ] {
        let broken = broken(contract::layer::<Plain, _>(move || fault).allocations(0));
        assert!(broken.contains(&check.into()), "{fault:?}: {broken:?}");
    }
}

#[test]
fn a_permit_that_is_taken_too_early() {
    let broken = broken(
        contract::layer::<Plain, _>(|| tower::limit::GlobalConcurrencyLimitLayer::new(1000))
            .tight(|| tower::limit::GlobalConcurrencyLimitLayer::new(1), Exhaust::Call),
    );
    assert!(broken.contains(&"readiness_takes_no_slot".into()), "{broken:?}");
}

#[test]
fn a_fresh_state_for_each_service() {
    let broken = broken(
        contract::layer::<Plain, _>(|| tower::limit::ConcurrencyLimitLayer::new(1000))
            .tight(|| tower::limit::ConcurrencyLimitLayer::new(1), Exhaust::Call),
    );
    assert!(broken.contains(&"shared_state".into()), "{broken:?}");
}

/// Which checks this contract fails.
fn broken<M: Messages, T: 'static>(contract: Contract<M, T>) -> Vec<String> {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(|| contract.check())).expect_err("the kit sees the fault");
    let message = panic.downcast_ref::<String>().expect("a message");
    message.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
