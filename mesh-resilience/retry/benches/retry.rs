//! A call that succeeds, one that is sent again at once, and one that the budget refuses. `cargo bench -p mesh-retry`
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_core::{BoxError, Kind, Rejection, units::Ratio};
use mesh_retry::{BackoffSettings, BudgetSettings, RetryLayer};
use mesh_test::alloc::{Counting, count};
use std::{
    cell::Cell,
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local!(static CALLS: Cell<u64> = const { Cell::new(0) });

/// Measures, and prints what a thousand calls allocate.
fn measure<S: Service<u64, Response = u64, Error = BoxError>>(c: &mut Criterion, name: &str, mut service: S) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        assert!(pin!(service.call(black_box(1))).poll(&mut cx).is_ready());
    };
    (0..100).for_each(|_| call());
    println!("{name}: {} allocations in 1,000 calls", count(|| (0..1000).for_each(|_| call())).1.count);
    c.bench_function(name, |bencher| bencher.iter(&mut call));
}

fn bench(c: &mut Criterion) {
    let retry = RetryLayer::new().results_only();
    measure(c, "succeeds", retry.layer(service_fn(|n: u64| ready(Ok::<_, BoxError>(n)))));
    measure(
        c,
        "refused by one endpoint, sent to another",
        retry.layer(service_fn(|n: u64| {
            let call = CALLS.get();
            CALLS.set(call + 1);
            ready(if call.is_multiple_of(2) {
                Err(Rejection::new(Kind::CircuitOpen).elsewhere().into())
            } else {
                Ok(n)
            })
        })),
    );
    let none = BudgetSettings { ratio: Ratio::ZERO, reserve: 0, ttl: Duration::ZERO };
    let at_once = BackoffSettings { base: Duration::ZERO, max: Duration::ZERO };
    let spent = RetryLayer::new().backoff(at_once).budget(none).results_only();
    let failing = service_fn(|_: u64| ready(Err::<u64, BoxError>(Rejection::new(Kind::Timeout).into())));
    measure(c, "fails, and the budget is spent", spent.layer(failing));
}

criterion_group!(benches, bench);
criterion_main!(benches);
