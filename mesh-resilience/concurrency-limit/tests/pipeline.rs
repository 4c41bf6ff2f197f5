//! The layer by its name in a pipeline: settings, and what a reload keeps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_concurrency_limit::register;
use mesh_core::{
    Context as Call, Endpoint, Kind, Pipeline, Protocol, Refusal, Registry, Stage, Target,
    pipeline::{Fate, Place, Site, States},
    spec::{LayerSpec, Node},
    time,
};
use mesh_test::{
    Line, line,
    mock::{Handle, mock},
};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::Service;

fn registry() -> Registry<Line> {
    let mut registry = Registry::new();
    register(&mut registry);
    registry
}

fn specs(settings: Value) -> Vec<LayerSpec> {
    let (specs, faults) = LayerSpec::read_list(&Node::from(json!([{ "concurrency_limit": settings }])));
    assert!(faults.is_empty(), "{faults:?}");
    specs
}

fn make(settings: Value, previous: &States<Line>) -> (Pipeline<Line>, States<Line>) {
    make_at(&Site::library(), settings, previous)
}

fn make_at(site: &Site<Line>, settings: Value, previous: &States<Line>) -> (Pipeline<Line>, States<Line>) {
    let checked = registry().check(&specs(settings), site).unwrap();
    let mut next = States::new();
    (checked.make(site, previous, &mut next), next)
}

fn fault(settings: Value) -> String {
    let faults = registry().check(&specs(settings), &Site::library()).unwrap_err();
    assert_eq!(faults.len(), 1);
    faults[0].to_string()
}

type Answer = Result<<Line as Protocol>::Response, line::Error>;
type Calling = Pin<Box<dyn Future<Output = Answer>>>;

/// A stage over a service that does not answer by itself.
struct Rig {
    stage: Stage<Line>,
    upstream: Handle<line::Request, line::Reply, line::Error>,
}

impl Rig {
    fn new(pipeline: &Pipeline<Line>) -> Self {
        let (service, upstream) = mock::<line::Request, line::Reply, line::Error>();
        Self { stage: pipeline.apply(Stage::new(service)), upstream }
    }

    fn call(&mut self) -> Calling {
        let mut request = line::Request::new("orders", "place");
        request.context = Call::begin(time::now(), None);
        Box::pin(self.stage.call(request))
    }
}

fn poll(call: &mut Calling) -> Poll<Answer> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Whether the call is refused at once, for lack of permits.
fn is_refused(call: &mut Calling) -> bool {
    match poll(call) {
        Poll::Ready(Err(error)) => {
            let rejection = error.rejection().unwrap();
            assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Saturated, "concurrency_limit"));
            true
        }
        Poll::Ready(Ok(_)) => panic!("answered"),
        Poll::Pending => false,
    }
}

/// Calls, each unanswered, until one is refused; those under way.
fn drain(pipeline: &Pipeline<Line>) -> (Vec<Calling>, Rig) {
    let (mut rig, mut calls) = (Rig::new(pipeline), Vec::new());
    loop {
        let mut call = rig.call();
        if is_refused(&mut call) {
            return (calls, rig);
        }
        calls.push(call);
        assert!(calls.len() < 1000, "not limited at all");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_alone_or_a_mapping() {
    for settings in [json!(3), json!("3"), json!({ "max": 3 }), json!({ "max": 3, "until_end": true })] {
        assert_eq!(drain(&make(settings, &States::new()).0).0.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn some_wait_for_their_turn_and_those_too_many_are_refused() {
    for (settings, waiting) in [
        (json!({ "max": 2, "wait": "100ms" }), 2),
        (json!({ "max": 2, "wait": { "timeout": "100ms" } }), 2),
        (json!({ "max": 2, "wait": { "timeout": "100ms", "queue": 5 } }), 5),
    ] {
        let (pipeline, _) = make(settings, &States::new());
        let (mut calls, rig) = drain(&pipeline);
        assert_eq!((calls.len(), rig.upstream.calls()), (2 + waiting, 2));
        drop(calls.remove(0));
        assert!(poll(&mut calls[1]).is_pending());
        assert_eq!(rig.upstream.calls(), 3, "the first of those who wait");
        tokio::time::advance(Duration::from_millis(101)).await;
        let refused = calls.iter_mut().map(is_refused).filter(|refused| *refused).count();
        assert_eq!(refused, waiting - 1);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_eq!(
        fault(json!({ "max": 3, "wiat": "1s" })),
        "[0].concurrency_limit: unknown key `wiat`; did you mean `wait`?"
    );
    for later in ["adaptive", "key", "priority"] {
        let message = fault(json!({ "max": 3, later: 1 }));
        assert!(message.contains(&format!("unknown key `{later}`")), "{message}");
    }
    for (settings, expected) in [
        (json!(0), "from 1 to 4294967295"),
        (json!("many"), "`many` is not a number of requests"),
        (json!({ "max": 0 }), "from 1 to 4294967295"),
        (json!({ "until_end": true }), "missing key `max`"),
        (json!({ "max": 3, "wait": "0s" }), "expected a duration above `0s`"),
        (json!({ "max": 3, "wait": { "queue": 3 } }), "missing key `timeout`"),
    ] {
        let message = fault(settings);
        assert!(message.contains(expected), "{message}");
    }
    // one that waits has taken the request when it refuses
    let shadow = fault(json!({ "max": 3, "wait": "1s", "shadow": true }));
    assert!(shadow.contains("cannot be a shadow"), "{shadow}");
    assert!(registry().check(&specs(json!({ "max": 3, "shadow": true })), &Site::library()).is_ok());
}

#[test]
fn defaults_are_filled_in_where_settings_are_shown() {
    let shown = |settings: Value| {
        let checked = registry().check(&specs(settings), &Site::library()).unwrap();
        checked.effective().next().unwrap().settings
    };
    assert_eq!(shown(json!(9)), json!({ "max": 9, "until_end": false }));
    assert_eq!(
        shown(json!({ "max": 9, "wait": "1s" })),
        json!({ "max": 9, "wait": { "timeout": "1s", "queue": 9 }, "until_end": false })
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_permits_that_are_taken() {
    let (first, states) = make(json!(2), &States::new());
    let (calls, _upstream) = drain(&first);
    assert_eq!(calls.len(), 2);

    let (second, states) = make(json!({ "max": 3 }), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    let (more, _second) = drain(&second);
    assert_eq!(more.len(), 1);
    assert_eq!(drain(&first).0.len(), 0, "a call that begins under the old pipeline meets the same permits");

    // from refusing to waiting, with the same permits
    let (third, states) = make(json!({ "max": 3, "wait": { "timeout": "1s", "queue": 1 } }), &states);
    assert_eq!(states.report().count(Fate::Retuned), 1);
    let (waiting, rig) = drain(&third);
    assert_eq!((waiting.len(), rig.upstream.calls()), (1, 0));
    drop((calls, more, waiting));

    let (fourth, states) = make(json!({ "max": 3, "wait": { "timeout": "1s", "queue": 1 } }), &states);
    assert_eq!(states.report().count(Fate::Kept), 1);
    assert_eq!(drain(&fourth).1.upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn at_an_endpoint_another_may_be_tried() {
    let refusal = |site: Site<Line>, settings: Value| {
        let (pipeline, _) = make_at(&site, settings, &States::new());
        let mut rig = Rig::new(&pipeline);
        let mut first = rig.call();
        assert!(poll(&mut first).is_pending());
        let Poll::Ready(Err(error)) = poll(&mut rig.call()) else { panic!("admitted") };
        error.rejection().unwrap().may_go_elsewhere()
    };
    let endpoint = || {
        let endpoint = Endpoint::new(Target::new("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap()));
        Site::new(Place::Endpoint, "clusters.orders").with_endpoint(endpoint)
    };
    let full = json!({ "max": 1, "wait": { "timeout": "1s", "queue": 0 } });
    assert!(refusal(endpoint(), json!(1)) && refusal(endpoint(), full.clone()));
    assert!(!refusal(Site::library(), json!(1)) && !refusal(Site::library(), full));
}
