//! Shadow: the gate refuses, the request goes on, the answer says so.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    GateLayer, Kind, Pipeline, Refusal, Registry, Rejection, RequestView, Stage, gate_fn,
    pipeline::{NoSettings, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_test::{Line, line};
use serde_json::{Value, json};
use std::sync::Arc;
use support::AtOnce;
use tower::{Service, ServiceBuilder, service_fn};

fn refuse(request: &mut line::Request) -> Result<(), Rejection> {
    if request.method() == "place" { Err(Rejection::new(Kind::RateLimited)) } else { Ok(()) }
}

fn pipeline(layers: Value) -> Pipeline<Line> {
    let mut registry = Registry::<Line>::new();
    for name in ["one", "two"] {
        registry.gate(name, "refuses", |_: NoSettings, _, _| Arc::new(gate_fn(refuse)));
    }
    registry.layer("identity", "nothing", |_: NoSettings, _| tower::layer::util::Identity::new());
    registry.gate("at_once", "one at once", |_: NoSettings, _, _| Arc::new(AtOnce::new(1)));
    let (layers, faults) = LayerSpec::read_list(&Node::from(layers));
    assert!(faults.is_empty(), "{faults:?}");
    let site = Site::library();
    registry.check(&layers, &site).unwrap().make(&site, &States::new(), &mut States::new())
}

fn good() -> Stage<Line> {
    Stage::new(service_fn(async |_: line::Request| Ok(line::Reply::new(line::OK))))
}

fn mark(reply: &line::Reply) -> Option<String> {
    let found = reply.metadata.iter().find(|entry| entry.0 == "x-mesh-shadow");
    found.map(|entry| String::from_utf8(entry.1.clone()).unwrap())
}

#[tokio::test]
async fn in_a_run() {
    let mut stage = pipeline(json!([{ "one": { "shadow": true } }, "at_once"])).apply(good());
    let reply = stage.call(line::Request::new("orders", "place")).await.unwrap();
    assert_eq!(mark(&reply).as_deref(), Some("one"));
    drop(reply);
    let reply = stage.call(line::Request::new("orders", "find")).await.unwrap();
    assert_eq!(mark(&reply), None);
}

#[tokio::test]
async fn all_that_would_have_refused_are_named_outermost_first() {
    for layers in [
        json!([{ "one": { "shadow": true } }, { "two": { "shadow": true } }]),
        json!([{ "one": { "shadow": true } }, "identity", { "two": { "shadow": true } }]),
    ] {
        let reply = pipeline(layers).apply(good()).call(line::Request::new("orders", "place")).await.unwrap();
        assert_eq!(mark(&reply).as_deref(), Some("one,two"));
    }
}

#[tokio::test]
async fn a_refusal_further_in_bears_the_mark_too() {
    for layers in
        [json!([{ "one": { "shadow": true } }, "two"]), json!([{ "one": { "shadow": true } }, "identity", "two"])]
    {
        let error = pipeline(layers).apply(good()).call(line::Request::new("orders", "place")).await.unwrap_err();
        let rejection = error.rejection().unwrap();
        assert_eq!(rejection.layer().as_str(), "two");
        assert_eq!(rejection.fields(), [("x-mesh-shadow", b"one".to_vec())]);
    }
}

#[tokio::test]
async fn a_layer_alone() {
    let layer = GateLayer::new(gate_fn(refuse)).named("one");
    let mut service = ServiceBuilder::new().layer(layer.clone()).service(good());
    let place = || line::Request::new("orders", "place");
    assert!(service.call(place()).await.is_err());
    // every clone and every service sees it
    layer.set_shadow(true);
    let reply = service.call(place()).await.unwrap();
    assert_eq!(mark(&reply).as_deref(), Some("one"));
    layer.set_shadow(false);
    assert!(service.call(place()).await.is_err());

    let unnamed = GateLayer::new(gate_fn(refuse));
    unnamed.set_shadow(true);
    let mut service = ServiceBuilder::new().layer(unnamed).layer(layer.clone()).service(good());
    let error = service.call(place()).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().fields(), [("x-mesh-shadow", b"unnamed".to_vec())]);
    layer.set_shadow(true);
    let reply = service.call(place()).await.unwrap();
    assert_eq!(mark(&reply).unwrap(), "unnamed,one");
}

#[tokio::test]
async fn without_a_head_there_is_no_mark_and_the_request_goes_on() {
    let layer = GateLayer::new(gate_fn(|_: &mut u64| Err(Rejection::new(Kind::RateLimited)))).named("one");
    layer.set_shadow(true);
    let mut service = ServiceBuilder::new()
        .layer(layer.results_only())
        .service(service_fn(async |n: u64| Ok::<_, mesh_core::BoxError>(n)));
    assert_eq!(service.call(3).await.unwrap(), 3);
}

#[tokio::test]
async fn what_stands_further_in_goes_on_counting() {
    let mut stage = pipeline(json!([{ "one": { "shadow": true } }, "at_once"])).apply(good());
    let place = || line::Request::new("orders", "place");
    let held = stage.call(place()).await.unwrap();
    assert_eq!(stage.call(place()).await.unwrap_err().rejection().unwrap().layer().as_str(), "at_once");
    drop(held);
    stage.call(place()).await.unwrap();
}
