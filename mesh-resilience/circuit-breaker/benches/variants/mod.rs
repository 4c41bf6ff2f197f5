//! What is measured: calls of a service that answers at once, through breakers that are closed.

use failsafe::{CircuitBreaker as _, Config, backoff, failure_policy};
use mesh_circuit_breaker::{CircuitBreakerLayer, WindowSettings};
use mesh_core::{At, BoxError, End, Gate, GateLayer, Rejection, ResultsOnly, Ticket, Watch};
use mesh_test::calls::{Answers, Leaf, Run, plain, refused, whole};
use std::{hint::black_box, num::NonZeroU32, time::Duration};
use tower::Layer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer as Towers;

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Run);

pub(crate) const VARIANTS: [Variant; 23] = [
    ("service alone", || plain(Leaf)),
    ("gate that hears an end", || plain(idle().layer(Leaf))),
    ("gate that hears an end, twice", || plain(idle().layer(idle().layer(Leaf)))),
    ("in a row", || plain(row().layer(Leaf))),
    ("in a row, twice", || plain(row().layer(row().layer(Leaf)))),
    ("window of 100", || plain(window(100).layer(Leaf))),
    ("window of 100, twice", || plain(window(100).layer(window(100).layer(Leaf)))),
    ("window of 100,000", || plain(window(100_000).layer(Leaf))),
    ("window of 100,000, twice", || plain(window(100_000).layer(window(100_000).layer(Leaf)))),
    ("open", || {
        let layer = row();
        layer.handle().force_open();
        refused(layer.layer(Leaf))
    }),
    ("disabled", || {
        let layer = row();
        layer.handle().disable();
        plain(layer.layer(Leaf))
    }),
    ("http: service alone", || whole(Answers)),
    ("http: in a row", || whole(http_row().layer(Answers))),
    ("http: in a row, twice", || whole(http_row().layer(http_row().layer(Answers)))),
    ("http: window of 100", || whole(http_window(100).layer(Answers))),
    ("http: window of 100, twice", || whole(http_window(100).layer(http_window(100).layer(Answers)))),
    ("http: window of 100,000, twice", || whole(http_window(100_000).layer(http_window(100_000).layer(Answers)))),
    ("tower-resilience, window of 100", || plain(towers(100).layer(Leaf))),
    ("tower-resilience, window of 100, twice", || plain(towers(100).layer(towers(100).layer(Leaf)))),
    ("tower-resilience, window of 100,000", || plain(towers(100_000).layer(Leaf))),
    ("no layer: function alone", || function(Ok)),
    ("no layer: failsafe, in a row", || {
        let backoff = backoff::constant(Duration::from_secs(5));
        let breaker = Config::new().failure_policy(failure_policy::consecutive_failures(5, backoff)).build();
        function(move |n| breaker.call(|| Ok(n)))
    }),
    ("no layer: failsafe, success rate", || {
        let backoff = backoff::constant(Duration::from_secs(5));
        let policy = failure_policy::success_rate_over_time_window(0.5, 20, Duration::from_secs(10), backoff);
        let breaker = Config::new().failure_policy(policy).build();
        function(move |n| breaker.call(|| Ok(n)))
    }),
];

/// What any layer of this kind costs.
struct Idle;

impl Watch for Idle {
    fn on_end(&self, ticket: Ticket, _: &End<'_>) {
        black_box(ticket);
    }
}

impl<R> Gate<R> for Idle {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        Ok(Some(Ticket::default()))
    }
}

fn idle() -> GateLayer<Idle, ResultsOnly> {
    GateLayer::new(Idle).results_only()
}

fn http_row() -> CircuitBreakerLayer {
    CircuitBreakerLayer::default()
}

fn http_window(calls: u32) -> CircuitBreakerLayer {
    let calls = NonZeroU32::new(calls).expect("some calls");
    CircuitBreakerLayer::window(WindowSettings { calls, ..WindowSettings::default() })
}

fn row() -> CircuitBreakerLayer<ResultsOnly> {
    http_row().results_only()
}

fn window(calls: u32) -> CircuitBreakerLayer<ResultsOnly> {
    http_window(calls).results_only()
}

fn towers(calls: usize) -> Towers {
    Towers::builder().sliding_window_size(calls).minimum_number_of_calls(20).build().expect("it is well set")
}

/// What a library that has no layer puts around a function.
fn function(call: impl Fn(u32) -> Result<u32, failsafe::Error<BoxError>> + 'static) -> Run {
    Box::new(move |calls| (0..calls).for_each(|_| assert!(black_box(call(black_box(1))).is_ok())))
}
