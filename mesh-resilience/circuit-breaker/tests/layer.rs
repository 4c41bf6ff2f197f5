//! The layer in plain tower stacks, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_circuit_breaker::{
    CircuitBreakerLayer, CircuitBreakerSettings, Counts, FailureSettings, HalfOpenSettings, State, WindowSettings,
};
use mesh_core::{BoxError, Classifier, Kind, Outcome, Refusal, Rejection, drop_as, refusal, units::Ratio};
use std::{
    future::{Future, pending},
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// What a server is told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Do {
    Answer(u16),
    Fail,
    Hang,
}

fn server() -> impl Service<Do, Response = u16, Error = BoxError, Future: Send> + Clone {
    service_fn(|what| async move {
        match what {
            Do::Answer(status) => Ok(status),
            Do::Fail => Err(BoxError::from("out of order")),
            Do::Hang => pending().await,
        }
    })
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn after(failures: u32) -> CircuitBreakerLayer {
    CircuitBreakerLayer::consecutive_failures(number(failures))
}

async fn call<S: Service<Do, Response = u16, Error: Refusal>>(service: &mut S, what: Do) -> Result<u16, Option<Kind>> {
    assert!(std::future::poll_fn(|cx| service.poll_ready(cx)).await.is_ok());
    service.call(what).await.map_err(|error| error.rejection().map(Rejection::kind))
}

const OPEN: Result<u16, Option<Kind>> = Err(Some(Kind::CircuitOpen));
const FAILED: Result<u16, Option<Kind>> = Err(None);
const WELL: Do = Do::Answer(200);

async fn over() {
    advance(Duration::from_millis(6_001)).await;
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_probe_closes_it() {
    let layer = after(3).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    for what in [Do::Fail, Do::Fail, WELL, Do::Fail, Do::Fail] {
        call(&mut service, what).await.ok();
    }
    assert_eq!(handle.state(), State::Closed);
    assert_eq!(handle.counts(), Counts { consecutive_failures: 2, calls: 0, failures: 0 });
    assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    assert_eq!(handle.state(), State::Open);

    let error = service.ready().await.unwrap().call(WELL).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    let wait = rejection.retry_after_hint().unwrap();
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::CircuitOpen, "circuit_breaker"));
    assert!(!rejection.may_go_elsewhere(), "the same breaker would answer");
    assert!((4.0..=6.01).contains(&wait.as_secs_f64()), "{wait:?}");
    assert!(handle.open_for().unwrap() <= wait);

    advance(wait - Duration::from_millis(1)).await;
    assert_eq!(call(&mut service, WELL).await, OPEN);
    advance(Duration::from_millis(1)).await;
    assert_eq!(call(&mut service, WELL).await, Ok(200));
    assert_eq!((handle.state(), handle.open_for()), (State::Closed, None));
}

#[tokio::test(start_paused = true)]
async fn too_large_a_part_of_the_last_calls_opens_it() {
    let window = WindowSettings {
        calls: number(10),
        failure_rate: Ratio::from_percent(40).unwrap(),
        min_calls: Some(number(5)),
    };
    let layer = CircuitBreakerLayer::window(window).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    // however long it went well before
    for _ in 0..1000 {
        call(&mut service, WELL).await.unwrap();
    }
    for what in [Do::Fail, WELL, Do::Fail, WELL, Do::Fail, WELL] {
        call(&mut service, what).await.ok();
    }
    assert_eq!(handle.counts(), Counts { consecutive_failures: 0, calls: 10, failures: 3 });
    assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    assert_eq!(handle.state(), State::Open);
    over().await;
    call(&mut service, WELL).await.unwrap();
    assert_eq!(handle.counts(), Counts { consecutive_failures: 0, calls: 0, failures: 0 });
    // four failures are all of four calls, but the rate counts from five on
    for _ in 0..4 {
        assert_eq!(call(&mut service, Do::Fail).await, FAILED);
        assert_eq!(handle.state(), State::Closed);
    }
    assert_eq!(call(&mut service, WELL).await, Ok(200));
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_as_large_as_it_was_said() {
    let half_open = HalfOpenSettings { probes: number(2), successes: Some(number(3)), max_duration: None };
    let layer = after(1).half_open(half_open).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    call(&mut service, Do::Fail).await.unwrap_err();
    over().await;
    let mut first = Box::pin(service.call(Do::Hang));
    let second = Box::pin(service.call(Do::Hang));
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(call(&mut service, WELL).await, OPEN, "two are under way");
    drop(second);
    for _ in 0..2 {
        assert_eq!(call(&mut service, WELL).await, Ok(200));
        assert_eq!(handle.state(), State::HalfOpen);
    }
    // one that never ends is given up
    let third = service.call(Do::Hang);
    assert_eq!(call(&mut service, WELL).await, OPEN);
    advance(Duration::from_millis(5_001)).await;
    for _ in 0..3 {
        assert_eq!(call(&mut service, WELL).await, Ok(200));
    }
    assert_eq!(handle.state(), State::Closed);
    drop((first, third));
    assert_eq!(handle.state(), State::Closed);
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_counts_if_it_was_for_time() {
    let failure = FailureSettings { dropped_after: Some(Duration::from_secs(2)), ..FailureSettings::default() };
    let layer = after(1).failure(failure).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    for seconds in [0, 1] {
        let mut hanging = Box::pin(service.call(Do::Hang));
        assert!(poll(hanging.as_mut()).is_pending());
        advance(Duration::from_secs(seconds)).await;
        drop(hanging);
        assert_eq!(handle.state(), State::Closed);
    }
    // a caller with a timeout of its own
    let hanging = tokio::time::timeout(Duration::from_secs(2), service.call(Do::Hang));
    assert!(hanging.await.is_err());
    assert_eq!(handle.state(), State::Open);

    // a timeout of ours says so, without any setting
    let layer = after(1).results_only();
    let hanging = layer.layer(server()).call(Do::Hang);
    drop_as(Outcome::TimedOut, || drop(hanging));
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_other_layers_do_not_count() {
    let layer = after(1).results_only();
    let mut service = layer.layer(service_fn(async |kind: Kind| Err::<(), _>(Rejection::new(kind))));
    for kind in [Kind::RateLimited, Kind::Saturated, Kind::CircuitOpen, Kind::NoEndpoint, Kind::Fault] {
        service.ready().await.unwrap().call(kind).await.unwrap_err();
        assert_eq!(layer.handle().state(), State::Closed, "{kind:?}");
    }
    service.ready().await.unwrap().call(Kind::Timeout).await.unwrap_err();
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn responses_and_ends_are_judged_as_one_likes() {
    let judge = |status: &u16| if *status == 418 { Outcome::Failure } else { Outcome::Success };
    let layer = after(1).judge(judge);
    let mut service = layer.layer(server());
    assert_eq!(call(&mut service, Do::Answer(500)).await, Ok(500));
    assert_eq!(layer.handle().state(), State::Closed);
    assert_eq!(call(&mut service, Do::Answer(418)).await, Ok(418));
    assert_eq!(layer.handle().state(), State::Open);

    let layer = after(1).classifier(Classifier::new(|_| Outcome::Success)).results_only();
    assert_eq!(call(&mut layer.layer(server()), Do::Fail).await, FAILED);
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_breaker_for_all_clones_and_applications() {
    let layer = after(1).results_only();
    let (mut first, mut second) = (layer.layer(server()), layer.clone().layer(server()));
    let mut third = second.clone();
    call(&mut first, Do::Fail).await.unwrap_err();
    assert_eq!(call(&mut second, WELL).await, OPEN);
    assert_eq!(call(&mut third, WELL).await, OPEN);

    let layer = after(1).results_only().per_service();
    let (mut first, mut second) = (layer.layer(server()), layer.layer(server()));
    let mut third = first.clone();
    call(&mut first, Do::Fail).await.unwrap_err();
    assert_eq!(call(&mut third, WELL).await, OPEN);
    assert_eq!(call(&mut second, WELL).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn an_operator_has_the_last_word() {
    let layer = after(1).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    handle.force_open();
    advance(Duration::from_secs(86_400)).await;
    let error = service.ready().await.unwrap().call(WELL).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().retry_after_hint(), None, "nobody knows");
    handle.disable();
    for _ in 0..10 {
        assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    }
    assert_eq!(handle.state(), State::Disabled);
    handle.reset();
    assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    assert_eq!(handle.state(), State::Open);
    handle.reset();
    assert_eq!(call(&mut service, WELL).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn every_change_is_told_once_in_order() {
    let layer = after(2).named("orders").results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, reading) = (told.clone(), handle.clone());
    handle.listen(move |change| {
        assert_eq!(reading.state(), change.to, "a listener may read");
        heard.lock().unwrap().push((change.from, change.to, change.generation, change.open_for.is_some()));
    });
    for _ in 0..2 {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    over().await;
    call(&mut service, WELL).await.unwrap();
    handle.disable();
    handle.disable();
    handle.reset();
    use State::{Closed, Disabled, HalfOpen, Open};
    let expected = [
        (Closed, Open, 1, true),
        (Open, HalfOpen, 2, false),
        (HalfOpen, Closed, 3, false),
        (Closed, Disabled, 4, false),
        (Disabled, Closed, 6, false),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_handle_retunes_and_forgets_nothing() {
    let layer = after(3).results_only();
    let (mut service, handle) = (layer.layer(server()), layer.handle());
    for _ in 0..2 {
        call(&mut service, Do::Fail).await.unwrap_err();
    }
    let settings = CircuitBreakerSettings { open_for: Duration::from_secs(60), ..handle.settings() };
    handle.set_settings(settings.clone());
    assert_eq!(handle.settings(), settings);
    assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    assert!(handle.open_for().unwrap() >= Duration::from_secs(48));
}

#[tokio::test(start_paused = true)]
async fn a_shadow_counts_and_lets_pass() {
    let layer = after(1).results_only();
    let mut service = layer.layer(server());
    layer.set_shadow(true);
    assert_eq!(call(&mut service, Do::Fail).await, FAILED);
    assert_eq!(layer.handle().state(), State::Open);
    assert_eq!(call(&mut service, WELL).await, Ok(200));
    layer.set_shadow(false);
    assert_eq!(call(&mut service, WELL).await, OPEN);
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_nothing_and_is_not_refused() {
    let layer = after(1).results_only();
    let mut service = layer.layer(server());
    call(&mut service, Do::Fail).await.unwrap_err();
    service.ready().await.unwrap();
    over().await;
    for _ in 0..10 {
        service.clone().ready().await.unwrap();
    }
    assert_eq!(layer.handle().state(), State::Open, "a trial begins with a call");
    assert_eq!(call(&mut service, WELL).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_typed_error_carries_the_refusal_and_messages_need_not_be_send() {
    #[derive(Debug)]
    enum Error {
        Refused(Rejection),
        Broken,
    }
    refusal!(Error, Refused);
    let mut service = ServiceBuilder::new()
        .layer(after(1).results_only())
        .service(service_fn(async |_: std::rc::Rc<str>| Err::<std::rc::Rc<str>, _>(Error::Broken)));
    assert!(matches!(service.ready().await.unwrap().call("rc".into()).await, Err(Error::Broken)));
    match pin!(service.ready().await.unwrap().call("rc".into())).await {
        Err(Error::Refused(rejection)) => assert_eq!(rejection.kind(), Kind::CircuitOpen),
        other => panic!("{other:?}"),
    }
}
