//! What is measured: calls over HTTP with four headers, of a service that answers at once. What one more layer costs is
//! counted behind another gate, whose own costs the first gate of a stack has.

use mesh_core::{Context, GateLayer, Nanos, gate_fn, http::CallBody, units::Ratio};
use mesh_test::{
    TestBody,
    calls::{Answers, Request, Response, Run, once},
};
use mesh_trace::{Parent, TraceLayer, w3c};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::hint::black_box;
use tower::{Layer, Service};

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Run);

pub(crate) const VARIANTS: [Variant; 10] = [
    ("a gate", || calls(gate().layer(Answers), Some(UNSAMPLED))),
    ("a gate, trace read, not sampled", || calls(gate().layer(TraceLayer::new().layer(Answers)), Some(UNSAMPLED))),
    ("a gate, trace twice, not sampled", || {
        calls(gate().layer(TraceLayer::new().layer(TraceLayer::new().layer(Answers))), Some(UNSAMPLED))
    }),
    ("a gate, nobody takes spans, sampled", || calls(gate().layer(TraceLayer::new().layer(Answers)), Some(SAMPLED))),
    ("a gate, no header", || calls(gate().layer(Answers), None)),
    ("a gate, trace, no header", || calls(gate().layer(TraceLayer::new().layer(Answers)), None)),
    ("a gate, trace off", || {
        let off = TraceLayer::new();
        off.handle().set_enabled(false);
        calls(gate().layer(off.layer(Answers)), Some(UNSAMPLED))
    }),
    ("a gate, trace, the caller ignored", || {
        let never = TraceLayer::new().sample(Ratio::ZERO).parent(Parent::Ignore);
        calls(gate().layer(never.layer(Answers)), Some(UNSAMPLED))
    }),
    ("traceparent alone: ours", || {
        Box::new(|calls| {
            (0..calls).for_each(|_| assert!(black_box(w3c::parse(black_box(UNSAMPLED.as_bytes()))).is_some()));
        })
    }),
    ("traceparent alone: OpenTelemetry's propagator", || {
        let (propagator, headers) = (TraceContextPropagator::new(), headers(Some(UNSAMPLED)));
        Box::new(move |calls| {
            (0..calls).for_each(|_| drop(black_box(propagator.extract(black_box(&Headers(&headers))))));
        })
    }),
];

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn gate() -> GateLayer<impl mesh_core::Gate<Request>> {
    GateLayer::new(gate_fn(|_: &mut Request| Ok(())))
}

fn headers(traceparent: Option<&'static str>) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [("host", "shop"), ("user-agent", "curl/8"), ("accept", "*/*")] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    if let Some(value) = traceparent {
        headers.insert("traceparent", http::HeaderValue::from_static(value));
    }
    headers
}

fn calls<S>(mut service: S, traceparent: Option<&'static str>) -> Run
where
    S: Service<Request, Response = Response> + 'static,
{
    let headers = headers(traceparent);
    Box::new(move |calls| {
        for _ in 0..calls {
            let body = CallBody::new(Context::begin(Nanos::from_nanos(1), None), TestBody::empty());
            let mut request = http::Request::new(body);
            *request.headers_mut() = headers.clone();
            let Ok(mut response) = once(&mut service, request) else { panic!("it answers") };
            response.body_mut().guards_mut().end_well();
        }
    })
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
