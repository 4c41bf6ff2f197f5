//! User instructions of a call that succeeds at once, counted by callgrind. `cargo bench -p mesh-retry --bench
//! instructions` (needs valgrind)
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use mesh_core::{BoxError, http::governed};
use mesh_retry::RetryLayer;
use mesh_test::instructions::count;
use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{
    Layer, Service,
    retry::{
        Policy, RetryLayer as TowerLayer,
        budget::{Budget, TpsBudget},
    },
    service_fn,
};

const CALLS: u64 = 100_000;

/// Some name of a variant, and so many calls of it.
type Variant = (&'static str, fn(u64));

const VARIANTS: [Variant; 8] = [
    ("the service", |calls| plain(service(), calls)),
    ("one layer", |calls| plain(layer().layer(service()), calls)),
    ("two layers", |calls| plain(layer().layer(layer().layer(service())), calls)),
    ("tower's, one layer", |calls| plain(tower_layer().layer(service()), calls)),
    ("tower's, two layers", |calls| plain(tower_layer().layer(tower_layer().layer(service())), calls)),
    ("http, governed", |calls| http(governed(()).layer(answer()), calls)),
    ("http, one layer", |calls| http(governed(bodies()).layer(answer()), calls)),
    ("http, two layers", |calls| http(governed((bodies(), bodies())).layer(answer()), calls)),
];

fn service() -> impl Service<u64, Response = u64, Error = BoxError> + Clone {
    service_fn(|n: u64| ready(Ok::<_, BoxError>(n)))
}

fn layer() -> RetryLayer<mesh_retry::Results> {
    RetryLayer::new().results_only()
}

/// The same policy: errors are tried again, three attempts, a budget of 20 % and ten a second.
#[derive(Clone)]
struct Attempts {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl Policy<u64, u64, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, BoxError>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn tower_layer() -> TowerLayer<Attempts> {
    TowerLayer::new(Attempts { left: 2, budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2)) })
}

fn plain(mut service: impl Service<u64, Response = u64, Error = BoxError>, calls: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    for n in 0..calls {
        assert!(service.poll_ready(&mut cx).is_ready());
        let polled = pin!(service.call(black_box(n))).poll(&mut cx);
        assert!(matches!(black_box(polled), Poll::Ready(Ok(_))));
    }
}

type Body = axum::body::Body;

type Wrap = fn(mesh_core::http::ReplayBody<Body>) -> Body;

fn bodies() -> RetryLayer<mesh_retry::Bodies<Wrap>> {
    RetryLayer::new().bodies(Body::new)
}

fn answer() -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone {
    service_fn(|_: http::Request<Body>| ready(Ok::<_, Infallible>(http::Response::new(Body::empty()))))
}

fn http(mut service: impl Service<http::Request<Body>, Error = Infallible>, calls: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        assert!(service.poll_ready(&mut cx).is_ready());
        let request = http::Request::new(Body::empty());
        let polled = pin!(service.call(black_box(request))).poll(&mut cx);
        assert!(matches!(black_box(polled), Poll::Ready(Ok(_))));
    }
}

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| {
        // tower's budget, and the clock, are tokio's
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { VARIANTS[variant].1(calls) });
    })
}
