//! What is measured: calls of a service that answers at once, through layers that inject nothing into them, or all.

use mesh_core::{BoxError, ResultsOnly, units::Ratio};
use mesh_fault_injection::{Abort, FaultInjectionLayer};
use mesh_test::calls::{Answers, Leaf, Run, plain, refused, whole};
use std::time::Duration;
use tower::Layer;
use tower_resilience_chaos::ChaosLayer;

/// Of its errors and of its latencies one in a thousand million million: never, and yet it draws.
macro_rules! chaos {
    () => {
        ChaosLayer::builder()
            .latency_rate(1e-15)
            .min_latency(Duration::from_secs(1))
            .max_latency(Duration::from_secs(1))
            .error_rate(1e-15)
            .error_fn(|_: &u32| BoxError::from("chaos"))
            .build()
    };
}

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Run);

pub(crate) const VARIANTS: [Variant; 15] = [
    ("service alone", || plain(Leaf)),
    ("off", || plain(off().layer(Leaf))),
    ("off, off", || plain(off().layer(off().layer(Leaf)))),
    ("off, off, off", || plain(off().layer(off().layer(off().layer(Leaf))))),
    ("armed", || plain(armed().layer(Leaf))),
    ("armed, armed", || plain(armed().layer(armed().layer(Leaf)))),
    ("armed, armed, armed", || plain(armed().layer(armed().layer(armed().layer(Leaf))))),
    ("aborted", || refused(faults(Ratio::ONE).layer(Leaf))),
    ("tower-resilience's chaos", || plain(chaos!().layer(Leaf))),
    ("tower-resilience's chaos, twice", || plain(chaos!().layer(chaos!().layer(Leaf)))),
    ("http: service alone", || whole(Answers)),
    ("http: off", || whole(http_off().layer(Answers))),
    ("http: off, off", || whole(http_off().layer(http_off().layer(Answers)))),
    ("http: armed", || whole(http_armed().layer(Answers))),
    ("http: armed, armed", || whole(http_armed().layer(http_armed().layer(Answers)))),
];

fn aborts(percent: Ratio) -> FaultInjectionLayer {
    FaultInjectionLayer::new().abort(Abort::Status(503), percent)
}

fn faults(percent: Ratio) -> FaultInjectionLayer<ResultsOnly> {
    aborts(percent).results_only()
}

/// Both kinds are drawn for, and hit nothing.
fn http_armed() -> FaultInjectionLayer {
    aborts(Ratio::ZERO).delay(Duration::from_secs(1), Ratio::ZERO)
}

fn armed() -> FaultInjectionLayer<ResultsOnly> {
    http_armed().results_only()
}

fn http_off() -> FaultInjectionLayer {
    let layer = http_armed();
    layer.handle().switch(false);
    layer
}

fn off() -> FaultInjectionLayer<ResultsOnly> {
    http_off().results_only()
}
