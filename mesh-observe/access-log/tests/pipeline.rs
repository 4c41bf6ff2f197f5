//! The layer by its name in a pipeline.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_access_log::{AccessLog, AccessLogSettings, Format, register};
use mesh_core::{
    Governed as _, Kind, Pipeline, Protocol, Registry, Rejection, Stage, gate_fn,
    pipeline::{Fate, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_test::{Line, line, mock::mock};
use serde_json::{Value, json};
use std::{
    fs,
    future::Future,
    path::PathBuf,
    pin::pin,
    task::{Context, Poll, Waker},
};
use support::PATIENCE;
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

fn make(layers: Value, previous: &States<Line>) -> (Pipeline<Line>, States<Line>) {
    let site = Site::library();
    let checked = registry().check(&specs(layers), &site).unwrap();
    let mut next = States::new();
    (checked.make(&site, previous, &mut next), next)
}

#[test]
fn over_a_protocol_that_is_not_http_and_over_a_reload() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pipeline-{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    let settings = |text: &str| json!([{ "access_log": { "format": { "text": text }, "path": path } }]);
    let call = |pipeline: &Pipeline<Line>, status| {
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        handle.answer_with(move |_| Ok(line::Reply::new(status)));
        let mut stage = pipeline.apply(Stage::<Line>::new(service));
        let call = pin!(stage.call(line::Request::new("orders", "place").with("who", "me\"you")));
        let Poll::Ready(Ok(reply)) = call.poll(&mut Context::from_waker(Waker::noop())) else { panic!("no answer") };
        reply
    };
    let text = "%PROTOCOL% %REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(:PATH)% %REQ(Who)% %OUTCOME% %RESPONSE_CODE%";
    let (pipeline, states) = make(settings(text), &States::new());
    assert_eq!(states.report().count(Fate::New), 1);
    let mut before = call(&pipeline, line::OK);
    let (_, kept) = make(settings(text), &states);
    assert_eq!(kept.report().count(Fate::Kept), 1);
    let (changed, next) = make(settings("after %REQ(:PATH)%"), &kept);
    assert_eq!(next.report().count(Fate::Reset), 1);
    call(&changed, line::OK).guards().end_well();
    // what was under way is written as it would have been, to the file that stayed open
    before.guards().end_well();
    drop((pipeline, states, kept, changed, next));
    assert!(mesh_access_log::flush(PATIENCE));
    let log = fs::read_to_string(&path).unwrap();
    assert_eq!(log, "after /orders/place\nline place orders /orders/place me\\\"you success 20\n");
}

#[test]
fn settings() {
    let effective = |settings: Value| {
        let checked = registry::<Line>().check(&specs(json!([{ "access_log": settings }])), &Site::library()).unwrap();
        checked.effective().map(|layer| layer.settings).next().unwrap()
    };
    let default = json!({ "format": "text", "path": null, "when": {} });
    assert_eq!(effective(Value::Null), default);
    assert_eq!(effective(json!({})), default);
    assert_eq!(effective(json!("json")), json!({ "format": "json", "path": null, "when": {} }));
    let own = json!({
        "format": { "json": { "b": "%PROTOCOL%", "a": "%DURATION%" } },
        "path": "/var/log/access.log",
        "when": { "status": ["404", "5xx"], "errors": true, "min_duration": "1s", "sample": "1%" },
    });
    assert_eq!(effective(own.clone()), own);
    assert_eq!(effective(json!({ "when": { "status": [404] } }))["when"], json!({ "status": ["404"] }));
}

#[test]
fn what_is_wrong_is_said() {
    let fault = |settings: Value| {
        let faults =
            registry::<Line>().check(&specs(json!([{ "access_log": settings }])), &Site::library()).unwrap_err();
        match &faults[0].suggestion {
            Some(suggestion) => format!("{}; {suggestion}", faults[0]),
            None => faults[0].to_string(),
        }
    };
    let said = fault(json!({ "format": { "text": "ok %RESPONSE_COD%" } }));
    assert!(said.starts_with("[0].access_log.format.text: unknown operator `%RESPONSE_COD%` at character 4"), "{said}");
    assert!(said.contains("did you mean `%RESPONSE_CODE%`?"), "{said}");
    let said = fault(json!({ "format": { "json": { "a": "x", "b": "%HOSTNAME%" } } }));
    assert!(said.starts_with("[0].access_log.format.json.b: unknown operator"), "{said}");
    assert!(said.contains("START_TIME"), "{said}");
    assert!(fault(json!("jsn")).contains("did you mean `json`?"));
    assert!(fault(json!("%PROTOCOL%")).contains("{ text: '%PROTOCOL%' }"));
    assert!(fault(json!({ "path": "" })).contains("empty path"));
    assert!(fault(json!({ "paht": "x" })).contains("did you mean `path`?"));
    assert!(fault(json!({ "when": { "status": ["6xx"] } })).contains("5xx"));
    assert!(fault(json!({ "format": { "text": "a", "json": {} } })).contains("access_log.format"));
    assert!(fault(json!({ "format": { "json": {} } })).contains("without fields"));
}

/// A gate that might refuse is not asked, and hears nothing of it.
#[test]
fn what_is_refused_before_the_pipeline_is_logged() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("refused-{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    let format = Format::text("%REQ(:PATH)% %OUTCOME% %RESPONSE_FLAGS%").unwrap();
    let log = AccessLog::new(AccessLogSettings { format, path: Some(path.clone()), ..AccessLogSettings::default() });
    let pipeline = Pipeline::<Line>::builder()
        .gate("limit", gate_fn(|_: &mut line::Request| panic!("it is not asked")))
        .gate("access_log", log)
        .build();
    let observers = pipeline.observers();
    for kind in [Kind::Malformed, Kind::HeadersTooLarge] {
        observers.tell_refused(&mut line::Request::new("orders", "place"), &mut Rejection::new(kind));
    }
    drop((pipeline, observers));
    assert!(mesh_access_log::flush(PATIENCE));
    assert_eq!(fs::read_to_string(&path).unwrap(), "/orders/place rejected DPE\n/orders/place rejected DPE\n");
    Pipeline::<Line>::default()
        .observers()
        .tell_refused(&mut line::Request::new("a", "b"), &mut Rejection::new(Kind::Malformed));
}
