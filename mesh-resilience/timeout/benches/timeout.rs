//! A call that is answered at once and one that must be waited for, through the layer, switched off, and through tower's
//! own. `cargo bench -p mesh-timeout`
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{Criterion, criterion_group, criterion_main};
use mesh_core::BoxError;
use mesh_test::alloc::{Counting, count};
use mesh_timeout::TimeoutLayer;
use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than the benchmark takes.
const LONG: Duration = Duration::from_secs(3600);

/// Answers at the first poll after so many in vain.
struct Answer(u32);

impl Future for Answer {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0 {
            0 => Poll::Ready(Ok(1)),
            left => {
                self.0 = left - 1;
                Poll::Pending
            }
        }
    }
}

/// Measures, and prints what a thousand calls allocate.
fn measure<S>(c: &mut Criterion, name: &str, mut service: S)
where
    S: Service<u64, Response = u64, Error = BoxError>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = pin!(service.call(black_box(1)));
        while call.as_mut().poll(&mut cx).is_pending() {}
    };
    call();
    let ((), allocated) = count(|| (0..1000).for_each(|_| call()));
    println!("{name}: {} allocations in 1000 calls", allocated.count);
    c.bench_function(name, |b| b.iter(&mut call));
}

fn calls(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    for (polls, when) in [(0, "at once"), (1, "waited for")] {
        let leaf = || service_fn(move |_: u64| Answer(polls));
        let layer = TimeoutLayer::new(LONG).results_only();
        measure(c, &format!("{when}/no layer"), leaf());
        measure(c, &format!("{when}/timeout"), layer.layer(leaf()));
        layer.handle().set_response(None);
        measure(c, &format!("{when}/off"), layer.layer(leaf()));
        measure(c, &format!("{when}/tower's timeout"), tower::timeout::TimeoutLayer::new(LONG).layer(leaf()));
    }
}

fn quick() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
}

criterion_group! { name = all; config = quick(); targets = calls }
criterion_main!(all);
