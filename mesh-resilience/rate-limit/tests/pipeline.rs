//! The layer by its name in a pipeline: settings, and what a reload keeps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{
    Kind, Pipeline, Protocol, Refusable, Refusal, Registry, Stage,
    http::{CallBody, GovernedBody, lift},
    pipeline::{Fate, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_rate_limit::register;
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tower::{Service, service_fn};

struct Http;

impl Protocol for Http {
    const NAME: &'static str = "http";
    type Request = http::Request<CallBody<String>>;
    type Response = http::Response<GovernedBody<String>>;
    type Error = Refusable<Infallible>;
}

fn registry() -> Registry<Http> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry
}

fn specs(layers: Value) -> Vec<LayerSpec> {
    let (specs, faults) = LayerSpec::read_list(&Node::from(layers));
    assert!(faults.is_empty(), "{faults:?}");
    specs
}

fn make(layers: Value, previous: &States<Http>) -> (Pipeline<Http>, States<Http>) {
    let site = Site::library();
    let checked = registry().check(&specs(layers), &site).unwrap();
    let mut next = States::new();
    (checked.make(&site, previous, &mut next), next)
}

fn fault(layers: Value) -> String {
    let faults = registry().check(&specs(layers), &Site::library()).unwrap_err();
    assert_eq!(faults.len(), 1);
    faults[0].to_string()
}

/// Calls until the first refusal; how many were admitted.
async fn drain(pipeline: &Pipeline<Http>) -> u32 {
    let leaf = service_fn(async |_: http::Request<String>| Ok::<_, Infallible>(http::Response::new(String::new())));
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    for admitted in 0..10_000 {
        std::future::poll_fn(|cx| stage.poll_ready(cx)).await.unwrap();
        if let Err(error) = stage.call(http::Request::default()).await {
            let rejection = error.rejection().unwrap();
            assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::RateLimited, "rate_limit"));
            return admitted;
        }
    }
    panic!("not limited at all");
}

#[tokio::test(start_paused = true)]
async fn the_rate_alone_or_a_mapping() {
    let none = States::new();
    assert_eq!(drain(&make(json!([{ "rate_limit": "20/s" }]), &none).0).await, 20);
    assert_eq!(drain(&make(json!([{ "rate_limit": { "rate": "120/m" } }]), &none).0).await, 2);
    assert_eq!(drain(&make(json!([{ "rate_limit": { "rate": "20/s", "burst": 5 } }]), &none).0).await, 5);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_eq!(
        fault(json!([{ "rate_limit": { "rate": "20/s", "brust": 5 } }])),
        "[0].rate_limit: unknown key `brust`; did you mean `burst`?"
    );
    for later in ["key", "mode", "max_wait", "quotas", "global"] {
        let message = fault(json!([{ "rate_limit": { "rate": "20/s", later: 1 } }]));
        assert!(message.contains(&format!("unknown key `{later}`")), "{message}");
    }
    for (settings, expected) in [
        (json!("20"), "`20` is not a rate"),
        (json!(20), "`20` is not a rate"),
        (json!({ "rate": "0/s" }), "`0/s` is not a rate: expected a count of at least 1"),
        (json!({ "rate": "20/s", "burst": 0 }), "from 1 to 4294967295"),
        (json!({ "burst": 5 }), "missing key `rate`"),
        (json!(["20/s"]), "expected a rate such as `100/s`, or a mapping with `rate`"),
        (json!({}), "missing key `rate`"),
    ] {
        let message = fault(json!([{ "rate_limit": settings }]));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn defaults_are_filled_in_where_settings_are_shown() {
    let layers = specs(json!([{ "rate_limit": "90/m" }, { "rate_limit": { "rate": "5/s", "burst": 9 } }]));
    let checked = registry().check(&layers, &Site::library()).unwrap();
    let shown: Vec<Value> = checked.effective().map(|layer| layer.settings).collect();
    assert_eq!(shown, [json!({ "rate": "90/m", "burst": 2 }), json!({ "rate": "5/s", "burst": 9 })]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_retunes_and_does_not_refill() {
    let (first, states) = make(json!([{ "rate_limit": { "rate": "10/s", "burst": 10 } }]), &States::new());
    assert_eq!(drain(&first).await, 10);

    let (second, states) = make(json!([{ "rate_limit": { "rate": "1000/s", "burst": 10 } }]), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    assert_eq!(drain(&second).await, 0);
    tokio::time::advance(Duration::from_millis(5)).await;
    assert_eq!(drain(&second).await, 5);
    assert_eq!(drain(&first).await, 0, "a call that began under the old pipeline meets the same bucket");

    let (third, states) = make(json!([{ "rate_limit": { "rate": "1000/s", "burst": 10 } }]), &states);
    assert_eq!(states.report().count(Fate::Kept), 1);
    assert_eq!(drain(&third).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_lets_pass_and_marks_the_answer() {
    let (pipeline, _) = make(json!([{ "rate_limit": { "rate": "1/s", "shadow": true } }]), &States::new());
    let leaf = service_fn(async |_: http::Request<String>| Ok::<_, Infallible>(http::Response::new(String::new())));
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    let mut marks = Vec::new();
    for _ in 0..3 {
        std::future::poll_fn(|cx| stage.poll_ready(cx)).await.unwrap();
        let response = stage.call(http::Request::default()).await.unwrap();
        marks.push(response.headers().get("x-mesh-shadow").map(|mark| mark.to_str().unwrap().to_owned()));
    }
    assert_eq!(marks, [None, Some("rate_limit".to_owned()), Some("rate_limit".to_owned())]);
}
