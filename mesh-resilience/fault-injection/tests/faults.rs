//! What the layer does to calls, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{
    Answer, BoxError, Code, Kind, Refusal, Rejection,
    http::{CallBody, GovernedBody, lift},
    units::Ratio,
};
use mesh_fault_injection::{Abort, AbortSettings, DelaySettings, FaultInjectionLayer, FaultSettings};
use std::{convert::Infallible, num::NonZeroU32, time::Duration};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

async fn answer(n: u32) -> Result<u32, BoxError> {
    Ok(n)
}

fn kind(error: &BoxError) -> Kind {
    error.rejection().unwrap().kind()
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_delayed_and_then_aborted() {
    let layer = FaultInjectionLayer::new().delay(SECOND, Ratio::ONE).abort(Abort::Grpc(14), Ratio::ONE).results_only();
    let start = Instant::now();
    let error = layer.layer(service_fn(answer)).oneshot(1).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Fault, "fault_injection"));
    assert_eq!(rejection.answer(), Some(Answer::Code(Code::Grpc(14))));
    assert!(start.elapsed() >= SECOND);
    let injected = layer.handle().injected();
    assert_eq!((injected.delays, injected.aborts, layer.handle().active()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_cancelled_with_the_call_and_holds_nothing_below() {
    let layer = FaultInjectionLayer::new().delay(SECOND, Ratio::ONE).results_only();
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let below = calls.clone();
    let mut service = layer.layer(service_fn(move |n: u32| {
        below.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        answer(n)
    }));
    let call = tokio::spawn(service.ready().await.unwrap().call(1));
    tokio::task::yield_now().await;
    assert_eq!((layer.handle().active(), calls.load(std::sync::atomic::Ordering::Relaxed)), (1, 0));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!((layer.handle().active(), calls.load(std::sync::atomic::Ordering::Relaxed)), (0, 0));
    assert_eq!(service.ready().await.unwrap().call(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_are_delayed_at_once() {
    let layer =
        FaultInjectionLayer::new().delay(SECOND, Ratio::ONE).max_active(NonZeroU32::new(2).unwrap()).results_only();
    let service = layer.layer(service_fn(answer));
    let start = Instant::now();
    let calls: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    let mut delayed = 0;
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().active(), 2);
    for call in calls {
        call.await.unwrap().unwrap();
        delayed = delayed.max(start.elapsed().as_millis());
    }
    assert!(delayed >= 1000);
    assert_eq!((layer.handle().injected().delays, layer.handle().eligible(), layer.handle().active()), (2, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_itself_and_by_the_switch() {
    let abort = Some(AbortSettings { with: Abort::Status(500), percent: Ratio::ONE });
    let settings = FaultSettings { abort, until: Some(SECOND), ..FaultSettings::default() };
    let layer = FaultInjectionLayer::from(settings).results_only();
    let mut service = layer.layer(service_fn(answer));
    assert_eq!(kind(&service.ready().await.unwrap().call(1).await.unwrap_err()), Kind::Fault);
    layer.handle().switch(false);
    assert!(service.ready().await.unwrap().call(1).await.is_ok());
    layer.handle().switch(true);
    assert!(service.ready().await.unwrap().call(1).await.is_err());
    advance(SECOND).await;
    assert!(service.ready().await.unwrap().call(1).await.is_ok(), "its time is over");
    layer.handle().set(settings);
    assert!(service.ready().await.unwrap().call(1).await.is_err(), "and begins anew");
}

type Request = http::Request<CallBody<String>>;
type Response = http::Response<GovernedBody<String>>;

/// Calls with these headers; the refusal, or the headers that arrived below.
async fn call(layer: &FaultInjectionLayer, headers: &[(&str, &str)]) -> Result<Vec<String>, Rejection> {
    let leaf = service_fn(async |request: http::Request<String>| {
        let names: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
        Ok::<_, Infallible>(http::Response::new(names.join(",")))
    });
    let mut request = http::Request::builder().uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request: Request = request.body(CallBody::new(mesh_core::Context::none(), String::new())).unwrap();
    let response: Result<Response, _> = layer.layer(lift(leaf)).oneshot(request).await;
    match response {
        Ok(response) => {
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            let names = std::str::from_utf8(&body).unwrap().split(',').filter(|name| !name.is_empty());
            Ok(names.map(String::from).collect())
        }
        Err(mut error) => Err(std::mem::replace(error.rejection_mut().unwrap(), Rejection::new(Kind::Fault))),
    }
}

fn asked(percent: u8) -> FaultInjectionLayer {
    let percent = Ratio::from_percent(percent).unwrap();
    FaultInjectionLayer::from(FaultSettings {
        delay: Some(DelaySettings { fixed: SECOND, percent }),
        abort: Some(AbortSettings { with: Abort::Status(503), percent }),
        header: true,
        ..FaultSettings::default()
    })
}

#[tokio::test(start_paused = true)]
async fn a_request_asks_for_its_fault_within_what_is_set() {
    let layer = asked(100);
    let start = Instant::now();
    assert_eq!(call(&layer, &[("x-other", "1")]).await.unwrap(), ["x-other"], "who asks for nothing gets nothing");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let refused = call(&layer, &[("x-envoy-fault-abort-request", "418")]).await.unwrap_err();
    assert_eq!(refused.answer(), Some(Answer::Code(Code::Http(418))));
    let refused = call(&layer, &[("x-envoy-fault-abort-grpc-request", "7")]).await.unwrap_err();
    assert_eq!(refused.answer(), Some(Answer::Code(Code::Grpc(7))));
    // longer than allowed, and the header goes no further
    let names = call(&layer, &[("x-envoy-fault-delay-request", "60000"), ("x-other", "1")]).await.unwrap();
    assert_eq!(names, ["x-other"]);
    assert!(start.elapsed() >= SECOND && start.elapsed() < SECOND * 2, "{:?}", start.elapsed());
    for nonsense in ["9", "99999", "-1", "", "5xx"] {
        call(&layer, &[("x-envoy-fault-abort-request", nonsense)]).await.unwrap();
    }
    let rare = [("x-envoy-fault-abort-request", "500"), ("x-envoy-fault-abort-request-percentage", "0")];
    call(&layer, &rare).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_set_cannot_be_asked_for() {
    let settings = FaultSettings {
        delay: Some(DelaySettings { fixed: SECOND, percent: Ratio::ZERO }),
        header: true,
        ..FaultSettings::default()
    };
    let layer = FaultInjectionLayer::from(settings);
    let start = Instant::now();
    let all = [("x-envoy-fault-abort-request", "500"), ("x-envoy-fault-delay-request", "100")];
    assert!(call(&layer, &all).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO, "none of them is to be delayed");
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_requests_the_same_faults() {
    let abort = Some(AbortSettings { with: Abort::Status(500), percent: Ratio::from_percent(50).unwrap() });
    let run = async |seed| {
        let layer = FaultInjectionLayer::from(FaultSettings { abort, seed: Some(seed), ..FaultSettings::default() });
        let mut hits = Vec::new();
        for id in 0..64 {
            hits.push(call(&layer, &[("x-request-id", &format!("request-{id}"))]).await.is_err());
        }
        hits
    };
    let (one, same, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert!((16..48).contains(&one.iter().filter(|hit| **hit).count()), "{one:?}");
}

/// Without ids, the same order of calls gives the same faults: also where requests cannot be looked at.
#[tokio::test(start_paused = true)]
async fn a_seed_numbers_requests_that_have_no_id() {
    let abort = Some(AbortSettings { with: Abort::Status(500), percent: Ratio::from_percent(50).unwrap() });
    let settings = FaultSettings { abort, seed: Some(1), ..FaultSettings::default() };
    let looked_at = async || {
        let layer = FaultInjectionLayer::from(settings);
        let mut hits = Vec::new();
        for _ in 0..64 {
            hits.push(call(&layer, &[]).await.is_err());
        }
        hits
    };
    let results_only = async || {
        let mut service = FaultInjectionLayer::from(settings).results_only().layer(service_fn(answer));
        let mut hits = Vec::new();
        for n in 0..64 {
            hits.push(service.ready().await.unwrap().call(n).await.is_err());
        }
        hits
    };
    let hits = looked_at().await;
    assert!((16..48).contains(&hits.iter().filter(|hit| **hit).count()), "{hits:?}");
    assert_eq!(hits, looked_at().await);
    assert_eq!(hits, results_only().await);
}
