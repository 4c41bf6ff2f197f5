//! Nothing is allocated for a call: admitted, refused, or off.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{At, Gate, Nanos, Rejection};
use mesh_rate_limit::{RateLimit, RateLimitLayer, RateLimitSettings};
use mesh_test::alloc::{Counting, count};
use std::{
    future::ready,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn settings() -> RateLimitSettings {
    RateLimitSettings { rate: "1/d".parse().unwrap(), burst: std::num::NonZeroU32::new(10_000) }
}

#[test]
fn the_gate_allocates_nothing() {
    let gate = RateLimit::new(settings().quota());
    let at = At::known(Nanos::from_nanos(1_000_000_000));
    let ((admitted, refused), allocated) = count(|| {
        let admit = || (0..10_000).filter(|_| gate.admit(&mut (), &at).is_ok()).count();
        (admit(), 10_000 - admit())
    });
    assert_eq!((admitted, refused, allocated.count), (10_000, 10_000, 0));
}

#[test]
fn the_layer_allocates_nothing() {
    let layer = RateLimitLayer::from(settings());
    let mut service = layer.layer(service_fn(|n: u64| ready(Ok::<u64, Rejection>(n))));
    let mut call = || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        matches!(pin!(service.call(1)).poll(&mut cx), Poll::Ready(Ok(_)))
    };
    call();
    let (admitted, allocated) = count(|| (0..9_999).filter(|_| call()).count());
    assert_eq!((admitted, allocated.count), (9_999, 0));
    // the first refusal registers its counter
    call();
    let (admitted, allocated) = count(|| (0..10_000).filter(|_| call()).count());
    assert_eq!((admitted, allocated.count), (0, 0));
    layer.handle().set_quota(None);
    let (admitted, allocated) = count(|| (0..10_000).filter(|_| call()).count());
    assert_eq!((admitted, allocated.count), (10_000, 0));
}
