//! The time for the response: when it counts, when it fires, and what those further in and out hear of it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{BoxError, GateLayer, Kind, Outcome, Refusal, Rejection, Side, refusal};
use mesh_test::{HeldClock, Spy, mock::mock};
use mesh_timeout::TimeoutLayer;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, ServiceBuilder};

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<R, S: Service<R>>(service: &mut S) {
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

fn rejection<T>(polled: Poll<Result<T, BoxError>>) -> (Kind, String) {
    let Poll::Ready(Err(error)) = polled else { panic!("no error") };
    let rejection = error.rejection().unwrap();
    (rejection.kind(), rejection.layer().to_string())
}

#[test]
fn it_fires_when_the_time_is_over_and_not_before() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, BoxError>();
    let mut service = TimeoutLayer::new(SECOND).results_only().layer(service);
    ready(&mut service);
    let mut call = pin!(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND - NANO);
    assert!(poll(call.as_mut()).is_pending());
    assert!(!handle.try_next().unwrap().is_abandoned());
    clock.advance(NANO);
    assert_eq!(rejection(poll(call.as_mut())), (Kind::Timeout, "timeout".into()));
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn an_answer_in_time_comes_out() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, BoxError>();
    let mut service = TimeoutLayer::new(SECOND).results_only().layer(service);
    ready(&mut service);
    let mut call = pin!(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND * 2);
    // the answer is there when the poll comes, however late that is
    handle.try_next().unwrap().answer(7);
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(7))));
}

#[test]
fn an_immediate_answer_arms_no_timer_and_a_dropped_call_leaves_none() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, BoxError>();
    let mut service = TimeoutLayer::new(SECOND).results_only().layer(service);

    handle.answer_with(|n| Ok(n + 1));
    ready(&mut service);
    let mut call = Box::pin(service.call(1));
    assert_eq!(clock.sleeping(), 0, "not by the call");
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(2))));
    assert_eq!(clock.sleeping(), 0, "not by an answer that is there");

    handle.hold_answers();
    ready(&mut service);
    let mut call = Box::pin(service.call(1));
    assert_eq!(clock.sleeping(), 0);
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(clock.sleeping(), 1);
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(clock.sleeping(), 1, "one for the call");
    drop(call);
    assert_eq!(clock.sleeping(), 0);
}

/// A spy below the timeout and one above it.
fn between_spies() -> (Arc<Spy>, Arc<Spy>, HeldClock) {
    (Arc::new(Spy::default()), Arc::new(Spy::default()), HeldClock::new())
}

#[test]
fn those_further_in_hear_that_it_took_too_long_and_those_further_out_too() {
    let (above, below, clock) = between_spies();
    let _installed = clock.install();
    let (service, _handle) = mock::<u32, u32, BoxError>();
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::shared(above.clone()).results_only())
        .layer(TimeoutLayer::new(SECOND).named("whole_call").results_only())
        .layer(GateLayer::shared(below.clone()).results_only())
        .service(service);
    ready(&mut service);
    let mut call = pin!(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND);
    assert_eq!(rejection(poll(call.as_mut())), (Kind::Timeout, "whole_call".into()));
    for spy in [above, below] {
        let end = spy.ends()[0];
        assert_eq!((end.outcome, end.side), (Outcome::TimedOut, Side::Upstream));
        spy.assert_each_ended_once("fired");
    }
}

#[test]
fn a_call_that_is_dropped_is_cancelled_for_all() {
    let (above, below, clock) = between_spies();
    let _installed = clock.install();
    let (service, _handle) = mock::<u32, u32, BoxError>();
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::shared(above.clone()).results_only())
        .layer(TimeoutLayer::new(SECOND).results_only())
        .layer(GateLayer::shared(below.clone()).results_only())
        .service(service);
    ready(&mut service);
    let mut call = Box::pin(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND * 2);
    drop(call);
    assert_eq!((above.outcomes(), below.outcomes()), (vec![Outcome::Cancelled], vec![Outcome::Cancelled]));
}

#[derive(Debug)]
enum Typed {
    Refused(Rejection),
    Own(u32),
}
refusal!(Typed, Refused);

#[test]
fn a_typed_error_stays_itself() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, Typed>();
    let mut service = TimeoutLayer::new(SECOND).results_only().layer(service);
    ready(&mut service);
    let mut call = Box::pin(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    handle.try_next().unwrap().fail(Typed::Own(9));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(Typed::Own(9)))));

    ready(&mut service);
    let mut call = Box::pin(service.call(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND);
    let Poll::Ready(Err(Typed::Refused(rejection))) = poll(call.as_mut()) else { panic!("no refusal") };
    assert_eq!(rejection.kind(), Kind::Timeout);
}

#[test]
fn a_change_reaches_clones_and_services_made_before_but_no_call_under_way() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, _handle) = mock::<u32, u32, BoxError>();
    let layer = TimeoutLayer::new(SECOND).results_only();
    let handle = layer.handle();
    let mut clone = layer.layer(service.clone());
    let mut service = layer.layer(service);
    ready(&mut service);
    let mut before = pin!(service.call(1));
    assert!(poll(before.as_mut()).is_pending());

    assert_eq!(handle.response(), Some(SECOND));
    handle.set_response(SECOND * 3);
    ready(&mut clone);
    let mut after = pin!(clone.call(1));
    assert!(poll(after.as_mut()).is_pending());
    clock.advance(SECOND);
    assert!(poll(before.as_mut()).is_ready());
    assert!(poll(after.as_mut()).is_pending());
    clock.advance(SECOND * 2);
    assert!(poll(after.as_mut()).is_ready());

    handle.set_response(None);
    assert_eq!(handle.response(), None);
    ready(&mut clone);
    let mut unlimited = pin!(clone.call(1));
    assert!(poll(unlimited.as_mut()).is_pending());
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn in_no_time_only_what_is_there_at_once_is_answered() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, BoxError>();
    let mut service = TimeoutLayer::new(Duration::ZERO).results_only().layer(service);
    ready(&mut service);
    assert_eq!(rejection(poll(pin!(service.call(1)))), (Kind::Timeout, "timeout".into()));
    handle.answer_with(Ok);
    ready(&mut service);
    assert!(matches!(poll(pin!(service.call(1))), Poll::Ready(Ok(1))));
}

/// The timer of tokio, and its clock.
#[tokio::test(start_paused = true)]
async fn under_tokio() {
    let (service, _handle) = mock::<u32, u32, BoxError>();
    let mut service = TimeoutLayer::new(SECOND * 5).results_only().layer(service);
    let start = tokio::time::Instant::now();
    std::future::poll_fn(|cx| Service::<u32>::poll_ready(&mut service, cx)).await.unwrap();
    let error = service.call(1).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().kind(), Kind::Timeout);
    let elapsed = start.elapsed();
    assert!(elapsed >= SECOND * 5 && elapsed < SECOND * 5 + Duration::from_millis(5), "{elapsed:?}");
}
