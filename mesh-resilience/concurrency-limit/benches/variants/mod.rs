//! What is measured: calls of a service that answers at once, through limits that have room.

use mesh_concurrency_limit::{ConcurrencyLimitLayer, QueueLayer};
use mesh_core::ResultsOnly;
use mesh_test::calls::{Answers, Leaf, Run, plain, refused, whole};
use std::{
    num::NonZeroU32,
    task::{Context, Waker},
    time::Duration,
};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer as Towers};

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Run);

pub(crate) const VARIANTS: [Variant; 12] = [
    ("service alone", || plain(Leaf)),
    ("limit", || plain(limit().layer(Leaf))),
    ("limit, limit", || plain(limit().layer(limit().layer(Leaf)))),
    ("limit, full", plain_refused),
    ("waiting limit", || plain(waiting().layer(Leaf))),
    ("waiting limit, waiting limit", || plain(waiting().layer(waiting().layer(Leaf)))),
    ("back-pressure", || plain(limit().back_pressure().layer(Leaf))),
    ("tower's limit", || plain(Towers::new(100).layer(Leaf))),
    ("tower's limit, tower's limit", || plain(Towers::new(100).layer(Towers::new(100).layer(Leaf)))),
    ("http: service alone", || whole(Answers)),
    ("http: limit until end", || whole(limit().until_end().layer(Answers))),
    ("http: limit until end, twice", || whole(limit().until_end().layer(limit().until_end().layer(Answers)))),
];

fn limit() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(NonZeroU32::MIN.saturating_add(99))
}

fn waiting() -> QueueLayer<ResultsOnly> {
    limit().wait(Duration::from_secs(1))
}

/// One call holds the only permit.
fn plain_refused() -> Run {
    let mut service = ConcurrencyLimitLayer::new(NonZeroU32::MIN).layer(Leaf);
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let open = service.call(1);
    let mut calls = refused(service);
    Box::new(move |times| {
        let _open = &open;
        calls(times);
    })
}
