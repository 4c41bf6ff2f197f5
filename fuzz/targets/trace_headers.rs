//! The trace layer over headers of any kind: what goes on is well formed.
#![no_main]
#![allow(clippy::unwrap_used, reason = "the layer refuses nothing")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use libfuzzer_sys::fuzz_target;
use mesh_core::{http::governed, units::Ratio};
use mesh_trace::{TraceLayer, w3c};
use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, service_fn};
use tracing::{Event, Metadata, Subscriber, span};

const NAMES: [&str; 7] =
    ["traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"];

/// Takes every span, so that traces begin.
struct Taker(AtomicU64);

impl Subscriber for Taker {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.0.fetch_add(1, Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fuzz_target!(init: drop(tracing::subscriber::set_global_default(Taker(AtomicU64::new(0)))), |data: &[u8]| {
    let mut request = Request::new(Empty::<Bytes>::new());
    for line in data.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(NAMES[usize::from(*name) % NAMES.len()], value);
        }
    }
    let half = Ratio::from_percent(50).unwrap();
    let mut sent = HeaderMap::new();
    let inner = service_fn(|request: Request<_>| {
        sent.clone_from(request.headers());
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut service = governed(TraceLayer::new().sample(half)).layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(answer)) = pin!(service.call(request)).poll(&mut cx) else { panic!("it is answered at once") };
    drop((answer, service));
    // one that came with B3 goes on in B3, and what is no `traceparent` beside it is left alone
    let is_w3c = !NAMES[2..].iter().any(|name| sent.contains_key(*name));
    if let Some(value) = sent.get("traceparent").filter(|_| is_w3c) {
        assert!(w3c::parse(value.as_bytes()).is_some(), "{sent:?}");
    }
});
