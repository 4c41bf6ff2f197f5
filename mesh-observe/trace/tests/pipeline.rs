//! The layer by its name in a pipeline.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    Governed as _, Pipeline, Protocol, Registry, Stage,
    pipeline::{Fate, Place, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_test::{Line, line, mock::mock};
use mesh_trace::register;
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};
use support::{Recorder, sampled};
use tower::Service;

fn registry<P: Protocol>() -> Registry<P> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry
}

fn specs(layers: Value) -> Vec<LayerSpec> {
    let (specs, faults) = LayerSpec::read_list(&Node::from(layers));
    assert!(faults.is_empty(), "{faults:?}");
    specs
}

fn make(layers: Value, site: &Site<Line>, previous: &States<Line>) -> (Pipeline<Line>, States<Line>) {
    let checked = registry().check(&specs(layers), site).unwrap();
    let mut next = States::new();
    (checked.make(site, previous, &mut next), next)
}

#[test]
fn its_place_says_of_which_side_the_spans_are() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    for (place, kind) in
        [(Place::Listener, "server"), (Place::Route, "server"), (Place::Cluster, "client"), (Place::Endpoint, "client")]
    {
        let (pipeline, _) = make(json!(["tracing"]), &Site::new(place, "there"), &States::new());
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        handle.answer_with(|_| Ok(line::Reply::new(line::OK)));
        let mut stage = pipeline.apply(Stage::<Line>::new(service));
        let request = line::Request::new("orders", "place").with("traceparent", &sampled());
        let Poll::Ready(Ok(mut reply)) = pin!(stage.call(request)).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("no answer")
        };
        reply.guards().end_well();
        let span = recorder.seen().pop().unwrap();
        assert_eq!((span.get("otel.kind"), span.get("rpc.system"), span.closed), (kind, "line", true));
    }
}

#[test]
fn a_reload_leaves_open_spans_open() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let site = Site::library();
    let (pipeline, states) = make(json!([{ "tracing": "100%" }]), &site, &States::new());
    assert_eq!(states.report().count(Fate::New), 1);
    let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
    handle.answer_with(|_| Ok(line::Reply::new(line::OK)));
    let mut stage = pipeline.apply(Stage::<Line>::new(service));
    let call = pin!(stage.call(line::Request::new("orders", "place")));
    let Poll::Ready(Ok(mut reply)) = call.poll(&mut Context::from_waker(Waker::noop())) else { panic!("no answer") };
    let (_, next) = make(json!([{ "tracing": "100%" }]), &site, &states);
    assert_eq!(next.report().count(Fate::Kept), 1);
    let (_, next) = make(json!([{ "tracing": "0%" }]), &site, &next);
    assert_eq!(next.report().count(Fate::Reset), 1);
    drop((pipeline, states, next));
    assert!(!recorder.seen()[0].closed);
    reply.guards().end_well();
    assert!(recorder.one().closed);
}

#[test]
fn settings() {
    let effective = |settings: Value| {
        let checked = registry::<Line>().check(&specs(json!([{ "tracing": settings }])), &Site::library()).unwrap();
        checked.effective().map(|layer| layer.settings).next().unwrap()
    };
    let all = json!(["w3c", "b3", "b3_multi"]);
    assert_eq!(effective(json!({})), json!({ "sample": "1%", "parent": "follow", "propagate": all }));
    assert_eq!(effective(json!("5%")), json!({ "sample": "5%", "parent": "follow", "propagate": all }));
    assert_eq!(
        effective(json!({ "sample": "0.5%", "parent": "ignore", "propagate": ["b3"] })),
        json!({ "sample": "0.5%", "parent": "ignore", "propagate": ["b3"] })
    );
    let fault = |settings: Value| {
        let faults = registry::<Line>().check(&specs(json!([{ "tracing": settings }])), &Site::library()).unwrap_err();
        faults[0].to_string()
    };
    assert_eq!(
        fault(json!({ "propagate": [] })),
        "[0].tracing.propagate: no headers to read: expected at least one of `w3c`, `b3`, `b3_multi`"
    );
    assert_eq!(fault(json!({ "propagate": ["b3", "b3"] })), "[0].tracing.propagate: `b3` is there twice");
    assert!(fault(json!({ "propagate": ["jaeger"] })).contains("jaeger"));
    assert!(fault(json!({ "samples": "1%" })).contains("did you mean `sample`"));
    assert!(fault(json!(5)).contains("5%"), "{}", fault(json!(5)));
    assert!(fault(json!("101%")).contains("101%"));
    assert!(fault(json!({ "parent": "obey" })).contains("obey"));
}
