//! User instructions of a call that succeeds at once, counted by callgrind. `cargo bench -p mesh-retry --bench
//! instructions` (needs valgrind)
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use mesh_core::{BoxError, http::governed};
use mesh_retry::RetryLayer;
use mesh_test::{
    calls::{Leaf, once, plain},
    instructions::count,
};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    process::ExitCode,
    sync::Arc,
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
    ("the service", |calls| plain(Leaf)(calls)),
    ("one layer", |calls| plain(layer().layer(Leaf))(calls)),
    ("two layers", |calls| plain(layer().layer(layer().layer(Leaf)))(calls)),
    ("tower's, one layer", |calls| plain(tower_layer().layer(Leaf))(calls)),
    ("tower's, two layers", |calls| plain(tower_layer().layer(tower_layer().layer(Leaf)))(calls)),
    ("http, governed", |calls| http(governed(()).layer(answer()), calls)),
    ("http, one layer", |calls| http(governed(bodies()).layer(answer()), calls)),
    ("http, two layers", |calls| http(governed((bodies(), bodies())).layer(answer()), calls)),
];

fn layer() -> RetryLayer<mesh_retry::Results> {
    RetryLayer::new().results_only()
}

/// The same policy: errors are tried again, three attempts, a budget of 20 % and ten a second.
#[derive(Clone)]
struct Attempts {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl Policy<u32, u32, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<u32, BoxError>) -> Option<Ready<()>> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

fn tower_layer() -> TowerLayer<Attempts> {
    TowerLayer::new(Attempts { left: 2, budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 0.2)) })
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
    (0..calls).for_each(|_| {
        assert!(black_box(once(&mut service, black_box(http::Request::new(Body::empty())))).is_ok());
    });
}

fn main() -> ExitCode {
    count(&VARIANTS.map(|(name, _)| name), CALLS, |variant, calls| {
        // tower's budget, and the clock, are tokio's
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { VARIANTS[variant].1(calls) });
    })
}
