//! The layer by its name in a pipeline, over HTTP and over a protocol that is not.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod scrape;

use http_body_util::BodyExt as _;
use mesh_core::{
    Context as Call, Governed as _, Name, Pipeline, Protocol, Registry, Stage,
    http::{CallBody, GovernedBody},
    pipeline::{Fate, Place, Site, States},
    spec::{LayerSpec, Node},
    time,
};
use mesh_metrics::{REQUESTS_IN_FLIGHT, REQUESTS_TOTAL, register};
use mesh_test::{Http, Line, TestBody, line, mock::mock};
use scrape::recorded;
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tower::Service;

type Request = <Http as Protocol>::Request;
type Response = <Http as Protocol>::Response;
type Error = <Http as Protocol>::Error;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

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

fn make<P: Protocol>(layers: Value, site: &Site<P>, previous: &States<P>) -> (Pipeline<P>, States<P>) {
    let checked = registry().check(&specs(layers), site).unwrap();
    let mut next = States::new();
    (checked.make(site, previous, &mut next), next)
}

#[test]
fn over_http() {
    recorded(|scrape| {
        let site = Site::new(Place::Listener, "listeners.web").with_labels(vec![("listener", "web".into())]);
        let layers = json!([{ "metrics": { "labels": { "team": "shop" } } }]);
        let (pipeline, _) = make::<Http>(layers, &site, &States::new());
        let (service, handle) = mock::<Request, Response, Error>();
        handle.answer_with(|request| {
            let context = request.body().context();
            context.set_route(Name::intern("checkout"));
            context.set_cluster(Name::intern("orders"));
            Ok(http::Response::new(GovernedBody::new(TestBody::full("x"))))
        });
        let mut stage = pipeline.apply(Stage::<Http>::new(service));
        let context = Call::begin(time::now(), None);
        context.set_listener(Name::intern("web"));
        let request = http::Request::new(CallBody::new(context, TestBody::empty()));
        let Poll::Ready(Ok(mut response)) = poll(pin!(stage.call(request))) else { panic!("no answer") };
        assert_eq!(scrape.value(REQUESTS_IN_FLIGHT, &["listener=web", "team=shop"]), Some(1.0));
        while let Poll::Ready(Some(Ok(_))) = poll(pin!(response.body_mut().frame())) {}
        let labels = [
            "cluster=orders",
            "listener=web",
            "outcome=success",
            "protocol=http",
            "route=checkout",
            "status_class=2xx",
            "team=shop",
        ];
        assert_eq!(scrape.value(REQUESTS_TOTAL, &labels), Some(1.0));
        assert_eq!(scrape.value(REQUESTS_IN_FLIGHT, &["listener=web", "team=shop"]), Some(0.0));
    });
}

#[test]
fn over_a_protocol_that_is_not_http() {
    recorded(|scrape| {
        let (pipeline, _) = make::<Line>(json!(["metrics"]), &Site::library(), &States::new());
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        let mut stage = pipeline.apply(Stage::<Line>::new(service));
        for status in [line::OK, line::FAILED] {
            handle.answer_with(move |_| Ok(line::Reply::new(status)));
            let request = line::Request::new("orders", "place");
            let Poll::Ready(Ok(mut reply)) = poll(pin!(stage.call(request))) else { panic!("no answer") };
            reply.guards().end_well();
        }
        let requests = scrape.requests();
        let outcomes: Vec<(bool, f64)> = requests
            .iter()
            .map(|(labels, value)| {
                assert!(labels.contains("protocol=line"), "{labels}");
                (labels.contains("outcome=success"), *value)
            })
            .collect();
        assert_eq!(outcomes, [(false, 1.0), (true, 1.0)]);
    });
}

#[test]
fn a_reload() {
    let site = Site::<Line>::library();
    let (_, states) = make(json!([{ "metrics": { "labels": { "team": "shop" } } }]), &site, &States::new());
    assert_eq!(states.report().count(Fate::New), 1);
    let (_, states) = make(json!([{ "metrics": { "labels": { "team": "shop" } } }]), &site, &states);
    assert_eq!(states.report().count(Fate::Kept), 1);
    let (_, states) = make(json!(["metrics"]), &site, &states);
    assert_eq!(states.report().count(Fate::Reset), 1, "other labels, other series");
}

#[test]
fn what_is_wrong_is_said() {
    let fault = |settings: Value| {
        let faults = registry::<Line>().check(&specs(json!([{ "metrics": settings }])), &Site::library()).unwrap_err();
        faults[0].to_string()
    };
    assert_eq!(
        fault(json!({ "labels": { "route": "x" } })),
        "[0].metrics.labels: `route` cannot be a label: the series have it already"
    );
    assert!(fault(json!({ "label": {} })).contains("unknown key `label`; did you mean `labels`?"));
    assert!(fault(json!({ "labels": { "a": { "b": 1 } } })).contains("labels"));
    let shown = registry::<Line>().check(&specs(json!(["metrics"])), &Site::library()).unwrap();
    let shown: Vec<Value> = shown.effective().map(|layer| layer.settings).collect();
    assert_eq!(shown, [json!({ "labels": {} })]);
}
