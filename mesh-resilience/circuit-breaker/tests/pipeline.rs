//! The layer by its name in a pipeline: settings, what a reload keeps, and a breaker for each endpoint.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_circuit_breaker::{CircuitBreakerSettings, register};
use mesh_core::{
    Endpoint, HealthFlag, Kind, Pipeline, Protocol, Refusable, Refusal, Registry, Stage, Target,
    http::{CallBody, GovernedBody, lift},
    pipeline::{Fate, Place, Site, States},
    spec::{LayerSpec, Node},
};
use serde_json::{Value, json};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
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

fn make_at(site: &Site<Http>, layers: Value, previous: &States<Http>) -> (Pipeline<Http>, States<Http>) {
    let checked = registry().check(&specs(layers), site).unwrap();
    let mut next = States::new();
    (checked.make(site, previous, &mut next), next)
}

fn make(layers: Value, previous: &States<Http>) -> (Pipeline<Http>, States<Http>) {
    make_at(&Site::library(), layers, previous)
}

fn fault(settings: Value) -> String {
    let layers = specs(json!([{ "circuit_breaker": settings }]));
    let faults = registry().check(&layers, &Site::library()).unwrap_err();
    assert_eq!(faults.len(), 1);
    faults[0].to_string()
}

fn shown(settings: Value) -> Value {
    let layers = specs(json!([{ "circuit_breaker": settings }]));
    let checked = registry().check(&layers, &Site::library()).unwrap();
    checked.effective().next().unwrap().settings
}

/// A call that is answered with this status: `Err` where the breaker refuses it, and for how long.
async fn ask(pipeline: &Pipeline<Http>, status: u16) -> Result<u16, Option<Duration>> {
    let leaf = service_fn(move |_: http::Request<String>| async move {
        Ok::<_, Infallible>(http::Response::builder().status(status).body(String::new()).unwrap())
    });
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    std::future::poll_fn(|cx| stage.poll_ready(cx)).await.unwrap();
    match stage.call(http::Request::default()).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => {
            let rejection = error.rejection().unwrap();
            assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::CircuitOpen, "circuit_breaker"));
            Err(rejection.retry_after_hint())
        }
    }
}

/// How many calls with this status it takes to open it.
async fn opens_after(pipeline: &Pipeline<Http>, status: u16) -> u32 {
    for calls in 0..1000 {
        if ask(pipeline, status).await.is_err() {
            return calls;
        }
    }
    panic!("it does not open")
}

#[tokio::test(start_paused = true)]
async fn the_settings_are_followed() {
    let none = States::new();
    let pipeline = |settings: Value| make(json!([{ "circuit_breaker": settings }]), &none).0;
    assert_eq!(opens_after(&pipeline(json!({})), 500).await, 5);
    assert_eq!(opens_after(&pipeline(json!({ "consecutive_failures": 3 })), 503).await, 3);
    assert_eq!(opens_after(&pipeline(json!({ "window": {} })), 500).await, 20);
    assert_eq!(opens_after(&pipeline(json!({ "window": { "calls": 10 } })), 500).await, 10);
    assert_eq!(opens_after(&pipeline(json!({ "window": { "calls": 50, "min_calls": 7 } })), 500).await, 7);
    let both = json!({ "consecutive_failures": 2, "window": { "calls": 50 } });
    assert_eq!(opens_after(&pipeline(both), 500).await, 2);
    assert_eq!(opens_after(&pipeline(json!({ "failure": { "http": [429, "5xx"] } })), 429).await, 5);
    assert_eq!(opens_after(&pipeline(json!({ "force": "open" })), 200).await, 0);
    let disabled = pipeline(json!({ "force": "disabled" }));
    for _ in 0..20 {
        assert_eq!(ask(&disabled, 500).await, Ok(500));
    }
    let long = pipeline(json!({ "consecutive_failures": 1, "open_for": "1m" }));
    assert_eq!(ask(&long, 500).await, Ok(500));
    assert!(ask(&long, 200).await.unwrap_err().unwrap() >= Duration::from_secs(48));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_eq!(
        fault(json!({ "consecutive_failure": 5 })),
        "[0].circuit_breaker: unknown key `consecutive_failure`; did you mean `consecutive_failures`?"
    );
    for later in ["time", "slow", "slow_rate", "key"] {
        assert!(fault(json!({ later: 1 })).contains(&format!("unknown key `{later}`")));
    }
    for (settings, expected) in [
        (json!({ "consecutive_failures": 0 }), "from 1 to 4294967295"),
        (json!({ "open_for": "0s" }), "`open_for` is out of range: expected a duration from `1ms` to `5m`"),
        (json!({ "open_for": "6m" }), "`open_for` is out of range"),
        (json!({ "open_for": 5 }), "did you mean `5s`?"),
        (json!({ "window": { "calls": 1_048_577 } }), "expected at most 1048576"),
        (json!({ "window": { "failure_rate": "0%" } }), "would open it without a failure"),
        (json!({ "window": { "failure_rate": 50 } }), "did you mean `50%`?"),
        (json!({ "window": { "calls": 10, "min_calls": 11 } }), "of 11 is never reached by 10 `calls`"),
        (json!({ "half_open": { "max_duration": "0s" } }), "`half_open.max_duration` is out of range"),
        (json!({ "half_open": { "probes": 0 } }), "from 1 to 4294967295"),
        (json!({ "failure": { "dropped_after": "0s" } }), "`failure.dropped_after` is out of range"),
        (json!({ "failure": { "http": [600] } }), "`600` is not an HTTP status"),
        (json!({ "failure": { "http": ["fatal"] } }), "`fatal` is not an HTTP status"),
        (json!({ "failure": { "grpc": ["unavailible"] } }), "`unavailible` is not a gRPC code"),
        (json!({ "force": "closed" }), "closed"),
        (json!(0), "`0` is not a number of failures in a row"),
        (json!("often"), "`often` is not a number of failures in a row"),
    ] {
        let message = fault(settings.clone());
        assert!(message.contains(expected), "{settings}: {message}");
    }
}

#[test]
fn defaults_are_filled_in_where_settings_are_shown() {
    let failure = json!({
        "http": ["500", "502-599"],
        "grpc": ["unknown", "deadline_exceeded", "internal", "unavailable", "data_loss"],
        "transport": true,
    });
    let half_open = json!({ "probes": 1, "successes": 1, "max_duration": "5s" });
    assert_eq!(
        shown(json!({})),
        json!({ "consecutive_failures": 5, "open_for": "5s", "half_open": half_open, "failure": failure })
    );
    assert_eq!(shown(json!(7))["consecutive_failures"], json!(7), "the number alone");
    assert_eq!(shown(Value::Null), shown(json!({})), "the name alone");
    let full = json!({
        "window": { "calls": 100, "failure_rate": "50%", "min_calls": 20 },
        "open_for": "10s",
        "half_open": { "probes": 3, "successes": 3, "max_duration": "10s" },
        "force": "open",
        "failure": { "http": ["5xx"], "grpc": ["unavailable"], "transport": false, "dropped_after": "2s" },
    });
    let brief = json!({
        "window": {}, "open_for": "10s", "half_open": { "probes": 3 }, "force": "open",
        "failure": { "http": ["500-599"], "grpc": [14], "transport": false, "dropped_after": "2s" },
    });
    assert_eq!(shown(brief), full);
    assert_eq!(shown(full.clone()), full, "what is shown can be read");
    let default: CircuitBreakerSettings = serde_json::from_value(json!({})).unwrap();
    assert_eq!(default, CircuitBreakerSettings::default());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_counted_and_the_state() {
    let of = |failures: u32| json!([{ "circuit_breaker": { "consecutive_failures": failures } }]);
    let (first, states) = make(of(3), &States::new());
    for _ in 0..2 {
        assert_eq!(ask(&first, 500).await, Ok(500));
    }
    let (second, states) = make(of(4), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    assert_eq!(opens_after(&second, 500).await, 2);
    assert!(ask(&first, 200).await.is_err(), "a call that began under the old pipeline meets the same breaker");

    let window = json!([{ "circuit_breaker": { "window": { "calls": 10 } } }]);
    let (third, states) = make(window.clone(), &states);
    assert!(ask(&third, 200).await.is_err(), "it is open still");
    let (fourth, states) = make(window, &states);
    assert_eq!(states.report().count(Fate::Kept), 1);
    assert!(ask(&fourth, 200).await.is_err());

    let (fifth, states) = make(json!([{ "circuit_breaker": { "force": "disabled" } }]), &states);
    assert_eq!(ask(&fifth, 500).await, Ok(500));
    let (sixth, _) = make(json!([{ "circuit_breaker": {} }]), &states);
    assert_eq!(opens_after(&sixth, 500).await, 5);
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_its_own_and_it_writes_the_health() {
    let endpoint = |port: u16| Endpoint::new(Target::new(SocketAddr::from(([127, 0, 0, 1], port))));
    let (one, other) = (endpoint(9001), endpoint(9002));
    let site = |endpoint: &Arc<Endpoint>| {
        Site::<Http>::new(Place::Endpoint, "clusters.orders").with_endpoint(endpoint.clone())
    };
    let layers = json!([{ "circuit_breaker": {} }]);
    let checked = registry().check(&specs(layers), &Site::new(Place::Endpoint, "clusters.orders")).unwrap();
    let make = |endpoint| checked.make(&site(endpoint), &States::new(), &mut States::new());
    let (first, second) = (make(&one), make(&other));
    assert_eq!(opens_after(&first, 500).await, 5);
    assert_eq!(one.health().reasons().collect::<Vec<_>>(), [HealthFlag::CircuitOpen]);
    assert!(other.health().is_eligible());
    assert_eq!(ask(&second, 200).await, Ok(200));
    tokio::time::advance(Duration::from_millis(6_001)).await;
    assert!(one.health().is_eligible());
    assert_eq!(ask(&first, 200).await, Ok(200));
    assert!(one.health().is_eligible());
}

#[tokio::test(start_paused = true)]
async fn a_shadow_lets_pass_and_marks_the_answer() {
    let (pipeline, _) =
        make(json!([{ "circuit_breaker": { "consecutive_failures": 1, "shadow": true } }]), &States::new());
    let leaf = service_fn(async |_: http::Request<String>| {
        Ok::<_, Infallible>(http::Response::builder().status(500).body(String::new()).unwrap())
    });
    let mut stage: Stage<Http> = pipeline.apply(Stage::new(lift(leaf)));
    for marked in [false, true, true] {
        std::future::poll_fn(|cx| stage.poll_ready(cx)).await.unwrap();
        let response = stage.call(http::Request::default()).await.unwrap();
        assert_eq!(response.headers().contains_key("x-mesh-shadow"), marked);
    }
}
