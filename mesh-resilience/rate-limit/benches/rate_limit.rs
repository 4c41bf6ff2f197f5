//! The decision alone, with the clock, contended by a second thread, and the whole layer; `governor` beside it.
//! `cargo bench -p mesh-rate-limit`
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{Quota as TheirQuota, RateLimiter, clock::FakeRelativeClock};
use mesh_core::{Nanos, Rejection};
use mesh_rate_limit::{Decision, Gcra, Quota, RateLimitLayer};
use mesh_test::alloc::{Counting, count};
use std::{
    future::ready,
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Admits whoever asks: a billion per second, that many at once.
fn plenty() -> Quota {
    Quota::new("1000000000/s".parse().unwrap())
}

/// Refuses after the first.
fn scarce() -> Quota {
    Quota::new("1/d".parse().unwrap())
}

fn their_plenty() -> TheirQuota {
    TheirQuota::with_period(Duration::from_nanos(1)).unwrap().allow_burst(NonZeroU32::new(1_000_000_000).unwrap())
}

fn their_scarce() -> TheirQuota {
    TheirQuota::with_period(Duration::from_secs(86_400)).unwrap()
}

/// All that a caller looks at; a result handed out as a whole would be measured as a copy.
fn is_admitted(decision: Decision) -> bool {
    matches!(decision, Decision::Admitted(_))
}

/// Measures, and prints what a thousand calls allocate.
fn measure<T>(c: &mut Criterion, name: &str, mut call: impl FnMut() -> T) {
    call();
    let ((), allocated) = count(|| (0..1000).for_each(|_| drop(black_box(call()))));
    println!("{name}: {} allocations in 1000 calls", allocated.count);
    c.bench_function(name, |b| b.iter(&mut call));
}

fn decision(c: &mut Criterion) {
    let mut now = 1_000_000_000;
    let mut tick = || {
        now += 2;
        Nanos::from_nanos(now)
    };
    let limiter = Gcra::new(Some(plenty()));
    measure(c, "decision/admitted", || is_admitted(limiter.check(1, tick())));
    measure(c, "decision/admitted, remaining", || match limiter.check(1, tick()) {
        Decision::Admitted(room) => room.cells(),
        _ => 0,
    });
    let limiter = Gcra::new(Some(scarce()));
    measure(c, "decision/refused", || is_admitted(limiter.check(1, tick())));
    let limiter = Gcra::new(None);
    measure(c, "decision/off", || is_admitted(limiter.check(1, tick())));

    let limiter = RateLimiter::direct_with_clock(their_plenty(), FakeRelativeClock::default());
    measure(c, "decision/governor admitted", || limiter.check().is_ok());
    let limiter = RateLimiter::direct_with_clock(their_scarce(), FakeRelativeClock::default());
    measure(c, "decision/governor refused", || limiter.check().is_ok());
}

/// Both with the system's clock, read for each decision.
fn with_clock(c: &mut Criterion) {
    let start = Instant::now();
    let clock = || Nanos::from_nanos(start.elapsed().as_nanos() as u64);
    measure(c, "clock/alone", clock);
    let limiter = Gcra::new(Some(plenty()));
    measure(c, "clock/admitted", || is_admitted(limiter.check(1, clock())));
    let limiter = Gcra::new(Some(scarce()));
    measure(c, "clock/refused", || is_admitted(limiter.check(1, clock())));
    let limiter = RateLimiter::direct(their_plenty());
    measure(c, "clock/governor admitted", || limiter.check().is_ok());
    let limiter = RateLimiter::direct(their_scarce());
    measure(c, "clock/governor refused", || limiter.check().is_ok());
}

/// While another thread asks as fast as it can.
fn beside<T>(c: &mut Criterion, name: &str, call: impl Fn() -> T + Sync) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                black_box(call());
            }
        });
        measure(c, name, &call);
        stop.store(true, Relaxed);
    });
}

fn contended(c: &mut Criterion) {
    let now = Nanos::from_nanos(1_000_000_000);
    // an hour of the quota at once: a moment that stands still admits for as long as this runs
    let deep = Quota::new("1000000000/s".parse().unwrap()).with_burst(NonZeroU32::MAX);
    let limiter = Gcra::new(Some(deep));
    beside(c, "contended/admitted", || is_admitted(limiter.check(1, now)));
    let limiter = Gcra::new(Some(scarce()));
    beside(c, "contended/refused", || is_admitted(limiter.check(1, now)));
    let theirs = TheirQuota::with_period(Duration::from_nanos(1)).unwrap().allow_burst(NonZeroU32::MAX);
    let limiter = RateLimiter::direct_with_clock(theirs, FakeRelativeClock::default());
    beside(c, "contended/governor admitted", || limiter.check().is_ok());
    let limiter = RateLimiter::direct_with_clock(their_scarce(), FakeRelativeClock::default());
    beside(c, "contended/governor refused", || limiter.check().is_ok());
}

/// A call of a service that is ready at once; the clock of `mesh-core` is read for each that is not off.
fn layer(c: &mut Criterion) {
    fn call<S: Service<u64, Response = u64, Error = Rejection>>(service: &mut S) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        matches!(pin!(service.call(black_box(1))).poll(&mut cx), Poll::Ready(Ok(_)))
    }
    let leaf = || service_fn(|n: u64| ready(Ok::<u64, Rejection>(n)));

    let mut bare = leaf();
    measure(c, "layer/none", || call(&mut bare));
    let layer = RateLimitLayer::new("1000000000/s".parse().unwrap());
    let mut service = layer.layer(leaf());
    measure(c, "layer/admitted", || call(&mut service));
    layer.handle().set_quota(None);
    measure(c, "layer/off", || call(&mut service));
    layer.handle().set_quota(scarce());
    call(&mut service);
    measure(c, "layer/refused", || call(&mut service));
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = all; config = quick(); targets = decision, with_clock, contended, layer }
criterion_main!(all);
