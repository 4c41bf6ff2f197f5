//! The layer by its name in a pipeline: settings, and what a reload keeps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::FutureExt as _;
use mesh_core::{
    Kind, Pipeline, Protocol, Refusable, Refusal, Registry, Stage,
    http::{CallBody, GovernedBody, lift},
    pipeline::{Fate, Shape, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_fault_injection::register;
use serde_json::{Value, json};
use std::convert::Infallible;
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

fn specs(settings: Value) -> Vec<LayerSpec> {
    let (specs, faults) = LayerSpec::read_list(&Node::from(json!([{ "fault_injection": settings }])));
    assert!(faults.is_empty(), "{faults:?}");
    specs
}

fn make(settings: Value, previous: &States<Http>) -> (Pipeline<Http>, States<Http>) {
    let site = Site::library();
    let checked = registry().check(&specs(settings), &site).unwrap();
    let mut next = States::new();
    (checked.make(&site, previous, &mut next), next)
}

async fn is_aborted(pipeline: &Pipeline<Http>) -> bool {
    let leaf = service_fn(async |_: http::Request<String>| Ok::<_, Infallible>(http::Response::new(String::new())));
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    std::future::poll_fn(|cx| stage.poll_ready(cx)).await.unwrap();
    match stage.call(http::Request::default()).await {
        Ok(_) => false,
        Err(error) => {
            let rejection = error.rejection().unwrap();
            assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Fault, "fault_injection"));
            true
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_which_pauses_where_it_delays() {
    let shape = |settings| {
        let checked = registry().check(&specs(settings), &Site::library()).unwrap();
        checked.effective().next().unwrap().shape
    };
    assert_eq!(shape(json!({ "abort": { "status": 503 } })), Shape::Gate);
    assert_eq!(shape(json!({ "delay": { "fixed": "1ms" } })), Shape::PausingGate);
    let none = States::new();
    assert!(is_aborted(&make(json!({ "abort": { "reset": true } }), &none).0).await);
    assert!(!is_aborted(&make(json!({ "abort": { "grpc": 14, "percent": "0%" } }), &none).0).await);
    let start = tokio::time::Instant::now();
    assert!(!is_aborted(&make(json!({ "delay": { "fixed": "2s" } }), &none).0).await);
    assert!(start.elapsed().as_secs() == 2);
    let both = json!({ "delay": { "fixed": "2s" }, "abort": { "status": 503 } });
    assert!(is_aborted(&make(both, &none).0).await);
    assert!(start.elapsed().as_secs() == 4);
}

/// At most two are delayed at once, and who gives up makes room.
#[tokio::test(start_paused = true)]
async fn who_gives_up_a_delayed_call_makes_room() {
    let (pipeline, _states) = make(json!({ "delay": { "fixed": "2s" }, "max_active": 2 }), &States::new());
    let leaf = service_fn(async |_: http::Request<String>| Ok::<_, Infallible>(http::Response::new(String::new())));
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    let mut now = || stage.call(http::Request::default()).now_or_never().is_some();
    assert!(!now() && !now() && !now(), "each is dropped");
    let _delayed = [stage.call(http::Request::default()), stage.call(http::Request::default())];
    assert!(stage.call(http::Request::default()).now_or_never().is_some(), "there are two");
}

#[tokio::test(start_paused = true)]
async fn a_reload_goes_on_with_the_new_settings() {
    let (first, states) = make(json!({ "abort": { "status": 503 } }), &States::new());
    assert!(is_aborted(&first).await);
    let (second, states) = make(json!({ "abort": { "status": 503, "percent": "0%" } }), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    assert!(!is_aborted(&second).await);
    assert!(!is_aborted(&first).await, "the same faults");
}

#[tokio::test(start_paused = true)]
async fn a_reload_gives_no_more_time_unless_it_changes_something() {
    let settings = json!({ "abort": { "status": 503 }, "until": "10s" });
    let (pipeline, states) = make(settings.clone(), &States::new());
    tokio::time::advance(std::time::Duration::from_secs(9)).await;
    assert!(is_aborted(&pipeline).await);
    let (pipeline, states) = make(settings, &states);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(!is_aborted(&pipeline).await, "ten seconds are over");
    let (pipeline, _) = make(json!({ "abort": { "status": 504 }, "until": "10s" }), &states);
    assert!(is_aborted(&pipeline).await);
}

#[test]
fn what_is_wrong_is_said() {
    for (settings, expected) in [
        (json!({}), "no fault is named"),
        (json!({ "abort": { "percent": "1%" } }), "exactly one of `status`, `grpc` and `reset: true`"),
        (json!({ "abort": { "status": 503, "grpc": 14 } }), "exactly one of `status`, `grpc` and `reset: true`"),
        (json!({ "abort": { "reset": false } }), "exactly one of"),
        (json!({ "abort": { "status": 99 } }), "`99` is no status to answer with"),
        (json!({ "abort": { "grpc": 17 } }), "`17` is no gRPC status"),
        (json!({ "delay": { "fixed": "0s" } }), "expected a duration above `0s`"),
        (json!({ "delay": { "percent": "1%" } }), "missing key `fixed`"),
        (json!({ "delay": { "fixed": "1s", "percent": "101%" } }), "is not a percentage"),
        (json!({ "delya": { "fixed": "1s" } }), "unknown key `delya`; did you mean `delay`?"),
        (json!({ "abort": { "status": 503 }, "max_active": 0 }), "from 1"),
        (json!({ "throttle": "1kb/s" }), "unknown key `throttle`"),
    ] {
        let faults = registry().check(&specs(settings), &Site::library()).unwrap_err();
        assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
    }
}
