//! The layer by its name in a pipeline: settings, and what a reload keeps.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{
    Pipeline, Protocol, Registry, Stage,
    pipeline::{Fate, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_retry::register;
use mesh_test::{Line, line, mock::mock};
use serde_json::{Value, json};
use tower::ServiceExt;

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

fn make(settings: Value, previous: &States<Line>) -> (Pipeline<Line>, States<Line>) {
    let site = Site::library();
    let checked = registry().check(&specs(json!([{ "retry": settings }])), &site).unwrap();
    let mut next = States::new();
    (checked.make(&site, previous, &mut next), next)
}

/// How often a call is sent whose every attempt fails.
async fn attempts(pipeline: &Pipeline<Line>) -> u64 {
    let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
    handle.answer_with(|_| Ok(line::Reply::new(line::FAILED)));
    let stage = pipeline.apply(Stage::<Line>::new(service));
    assert_eq!(stage.oneshot(line::Request::new("orders", "place")).await.unwrap().status, line::FAILED);
    handle.calls()
}

fn settings(attempts: u32, budget: Value) -> Value {
    json!({ "attempts": attempts, "on": ["5xx"], "methods": ["place"], "budget": budget })
}

#[tokio::test(start_paused = true)]
async fn the_settings_are_kept() {
    let first = States::new();
    assert_eq!(attempts(&make(settings(4, json!("20%")), &first).0).await, 4);
    assert_eq!(attempts(&make(settings(1, json!("20%")), &first).0).await, 1);
    assert_eq!(attempts(&make(json!(5), &first).0).await, 1, "this failure is not among the defaults");
    let nothing_saved = json!({ "ratio": "100%", "reserve": 0, "ttl": "1s" });
    assert_eq!(attempts(&make(settings(9, nothing_saved), &first).0).await, 2, "its own deposit");
    assert_eq!(attempts(&make(settings(30, json!("off")), &first).0).await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_budget() {
    let (first, states) = make(settings(100, json!({ "ratio": "0%", "reserve": 3, "ttl": "3600s" })), &States::new());
    let spent = attempts(&first).await;
    assert!((4..=100).contains(&spent));
    let (second, states) = make(settings(9, json!({ "ratio": "0%", "reserve": 1, "ttl": "3600s" })), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    let sent = attempts(&second).await;
    assert!(sent <= 4, "it was not refilled: {sent}");
    let (_, states) = make(settings(9, json!({ "ratio": "0%", "reserve": 1, "ttl": "3600s" })), &states);
    assert_eq!(states.report().count(Fate::Kept), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let fault = |settings: Value| {
        let faults = registry::<Line>().check(&specs(json!([{ "retry": settings }])), &Site::library()).unwrap_err();
        assert_eq!(faults.len(), 1);
        faults[0].to_string()
    };
    for (settings, expected) in [
        (json!(0), "`0` attempts are not possible: expected a number from 1 (no retry) to 100"),
        (json!({ "attempts": 101 }), "`101` attempts are not possible"),
        (json!("often"), "`often` is not a number of attempts"),
        (json!({ "attempt": 3 }), "unknown key `attempt`; did you mean `attempts`?"),
        (json!({ "on": ["5xx", "gateway-errors"] }), "did you mean `gateway-error`?"),
        (json!({ "on": [] }), "`on` names nothing to be tried again"),
        (json!({ "budget": "20" }), "a percentage"),
        (json!({ "budget": { "ratio": "0%", "reserve": 0 } }), "a budget of nothing allows no retry"),
        (json!({ "backoff": { "base": "1s", "max": "10ms" } }), "the backoff's `base` is longer than its `max`"),
        (json!({ "backoff": { "base": 25 } }), "is not a duration"),
        (json!({ "max_body": "many" }), "a size"),
        (json!([3]), "expected a number of attempts such as `3`, or a mapping with `attempts`"),
    ] {
        let message = fault(settings);
        assert!(message.starts_with("[0].retry") && message.contains(expected), "{message}");
    }
    let shadow = json!([{ "retry": { "attempts": 2, "shadow": true } }]);
    let shadow = registry::<Line>().check(&specs(shadow), &Site::library()).unwrap_err();
    assert!(shadow[0].to_string().contains("cannot be a shadow"), "{}", shadow[0]);
}

#[test]
fn settings_are_shown_with_every_default() {
    let list = json!(["retry", { "retry": { "budget": "off", "on": ["5xx"] } }]);
    let checked = registry::<Line>().check(&specs(list), &Site::library()).unwrap();
    let shown: Vec<Value> = checked.effective().map(|layer| layer.settings).collect();
    let defaults = json!({
        "attempts": 3,
        "on": ["connect-failure", "refused-stream", "reset", "unavailable"],
        "methods": ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"],
        "budget": { "ratio": "20%", "reserve": 10, "ttl": "10s" },
        "backoff": { "base": "25ms", "max": "250ms" },
        "max_body": "64KiB",
    });
    assert_eq!(shown[0], defaults);
    assert_eq!((&shown[1]["budget"], &shown[1]["on"]), (&json!("off"), &json!(["5xx"])));
}
