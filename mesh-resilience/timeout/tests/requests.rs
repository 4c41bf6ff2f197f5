//! What the request says: while it has not ended no response is due, and its deadline counts from its arrival.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use http_body_util::BodyExt as _;
use mesh_core::{
    Context as Call, GateLayer, Kind, Outcome, Refusable, Refusal, RequestView, Side,
    http::{CallBody, GovernedBody},
    time,
};
use mesh_test::{
    HeldClock, Spy, Step, TestBody, TestError,
    mock::{Handle, Mock, mock},
};
use mesh_timeout::{Timeout, TimeoutLayer};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;
type Error = Refusable<TestError>;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

type TimedMock = Timeout<Mock<Request, Response, Error>>;

fn service(layer: TimeoutLayer) -> (TimedMock, Handle<Request, Response, Error>) {
    let (service, handle) = mock();
    let mut service = layer.layer(service);
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    (service, handle)
}

fn request(body: TestBody) -> (Request, Call) {
    let call = Call::begin(time::now(), None);
    (http::Request::new(CallBody::new(call.clone(), body)), call)
}

/// A request without a body, with a deadline from now.
fn due_in(deadline: Duration) -> Request {
    let (request, call) = request(TestBody::empty());
    call.end_request_on_arrival();
    call.limit_deadline(time::now().plus(deadline));
    request
}

fn grpc(body: TestBody) -> Response {
    let mut response = http::Response::new(GovernedBody::new(body).grpc(true));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

fn kind<T>(polled: Poll<Result<T, Error>>) -> Option<Kind> {
    match polled {
        Poll::Ready(Err(error)) => Some(error.rejection().unwrap().kind()),
        _ => None,
    }
}

#[test]
fn a_stream_that_the_client_still_sends_is_not_cut() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (mut service, handle) = service(TimeoutLayer::new(SECOND));
    let (body, sender) = TestBody::fed();
    let mut call = pin!(service.call(request(body).0));
    assert!(poll(call.as_mut()).is_pending());
    let mut upstream = handle.try_next().unwrap();
    for _ in 0..100 {
        sender.feed(Step::data("more"));
        assert!(matches!(poll(pin!(upstream.request_mut().body_mut().frame())), Poll::Ready(Some(Ok(_)))));
        clock.advance(SECOND / 3);
        assert!(poll(call.as_mut()).is_pending());
    }
    // 100 thirds: the timer was set again at each third of them, last at 33 s; the request ends at 33.3 s
    sender.end();
    assert!(matches!(poll(pin!(upstream.request_mut().body_mut().frame())), Poll::Ready(None)));
    let ended = upstream.request().context().request_ended().unwrap();
    assert_eq!(ended, time::now());
    clock.advance(SECOND - Duration::from_nanos(1));
    assert!(poll(call.as_mut()).is_pending(), "a whole period after the request's end");
    clock.advance(Duration::from_nanos(1));
    assert_eq!(kind(poll(call.as_mut())), Some(Kind::Timeout));
    assert_eq!(time::now().since(ended), SECOND);
}

#[test]
fn a_bidirectional_stream_is_answered_whenever_it_is() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (mut service, handle) = service(TimeoutLayer::new(SECOND));
    let (body, _sender) = TestBody::fed();
    let mut call = pin!(service.call(request(body).0));
    assert!(poll(call.as_mut()).is_pending());
    let upstream = handle.try_next().unwrap();
    for _ in 0..10 {
        clock.advance(SECOND * 7);
        assert!(poll(call.as_mut()).is_pending());
    }
    upstream.answer(grpc(TestBody::empty()));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(_))));
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn a_request_that_has_waited_further_out_has_the_whole_time() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (mut service, _handle) = service(TimeoutLayer::new(SECOND));
    let (request, call) = request(TestBody::empty());
    call.end_request_on_arrival();
    clock.advance(SECOND * 5);
    let mut call = pin!(service.call(request));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(SECOND - Duration::from_nanos(1));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(Duration::from_nanos(1));
    assert_eq!(kind(poll(call.as_mut())), Some(Kind::Timeout));
}

#[test]
fn a_call_after_its_deadline_is_not_made() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (mut service, handle) = service(TimeoutLayer::new(SECOND));
    let request = due_in(SECOND);
    clock.advance(SECOND);
    assert_eq!(kind(poll(pin!(service.call(request)))), Some(Kind::Timeout));
    assert_eq!((handle.calls(), clock.sleeping()), (0, 0));
}

#[test]
fn the_earlier_of_deadline_and_response_fires_by_one_timer() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    for (deadline, response, fires) in [(2, 3, 2), (3, 2, 2)] {
        let (mut service, _handle) = service(TimeoutLayer::new(SECOND * response));
        let mut call = pin!(service.call(due_in(SECOND * deadline)));
        assert!(poll(call.as_mut()).is_pending());
        assert_eq!(clock.sleeping(), 1);
        clock.advance(SECOND * fires - Duration::from_nanos(1));
        assert!(poll(call.as_mut()).is_pending());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(kind(poll(call.as_mut())), Some(Kind::Timeout));
    }
}

#[test]
fn the_deadline_counts_while_the_request_goes_on_and_without_a_time_for_the_response() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    for layer in [TimeoutLayer::new(SECOND / 3), TimeoutLayer::deadline_only()] {
        let (mut service, _handle) = service(layer);
        let (body, _sender) = TestBody::fed();
        let (request, call) = request(body);
        call.limit_deadline(time::now().plus(SECOND));
        let mut call = pin!(service.call(request));
        for _ in 0..3 {
            assert!(poll(call.as_mut()).is_pending());
            clock.advance(SECOND / 3);
        }
        assert!(poll(call.as_mut()).is_pending());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(kind(poll(call.as_mut())), Some(Kind::Timeout));
    }
}

/// The call's response through a timeout with a spy around it.
fn answered(spy: &Arc<Spy>, request: Request, response: Response) -> Response {
    let (service, handle) = mock::<Request, Response, Error>();
    handle.hold_answers();
    let mut service = GateLayer::shared(spy.clone()).layer(TimeoutLayer::new(SECOND).layer(service));
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    let mut call = pin!(service.call(request));
    assert!(poll(call.as_mut()).is_pending());
    handle.try_next().unwrap().answer(response);
    match poll(call.as_mut()) {
        Poll::Ready(Ok(response)) => response,
        _ => panic!("no answer"),
    }
}

#[test]
fn a_grpc_stream_is_cut_at_its_deadline_with_trailers() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = Arc::new(Spy::default());
    let (body, sender) = TestBody::fed();
    let mut response = answered(&spy, due_in(SECOND * 4), grpc(body));
    assert_eq!(clock.sleeping(), 0, "no timer while nobody waits for the body");
    sender.feed(Step::data("a message"));
    assert!(matches!(poll(pin!(response.body_mut().frame())), Poll::Ready(Some(Ok(_)))));
    assert!(poll(pin!(response.body_mut().frame())).is_pending());
    assert_eq!(clock.sleeping(), 1);
    clock.advance(SECOND * 4 - Duration::from_nanos(1));
    assert!(poll(pin!(response.body_mut().frame())).is_pending());
    clock.advance(Duration::from_nanos(1));
    let Poll::Ready(Some(Ok(frame))) = poll(pin!(response.body_mut().frame())) else { panic!("no trailers") };
    assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "4");
    assert!(sender.is_dropped(), "nobody reads on");
    assert!(matches!(poll(pin!(response.body_mut().frame())), Poll::Ready(None)));
    let end = spy.ends()[0];
    assert_eq!((end.outcome, end.side, end.refused), (Outcome::TimedOut, Side::Upstream, Some(Kind::Timeout)));
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn a_grpc_stream_that_never_pauses_is_cut_too() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = Arc::new(Spy::default());
    let steps = (0..10).map(|_| Step::data("a message"));
    let mut response = answered(&spy, due_in(SECOND * 3), grpc(TestBody::of(steps)));
    for _ in 0..3 {
        assert!(matches!(poll(pin!(response.body_mut().frame())), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
        clock.advance(SECOND);
    }
    let Poll::Ready(Some(Ok(frame))) = poll(pin!(response.body_mut().frame())) else { panic!("no trailers") };
    assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "4");
    assert_eq!(spy.outcomes(), [Outcome::TimedOut]);
}

#[test]
fn a_grpc_stream_within_its_deadline_ends_as_it_ends() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = Arc::new(Spy::default());
    let body = TestBody::of([Step::data("a message"), Step::Wait, Step::grpc_status(0)]);
    let mut response = answered(&spy, due_in(SECOND * 3), grpc(body));
    while let Poll::Pending | Poll::Ready(Some(_)) = poll(pin!(response.body_mut().frame())) {}
    assert_eq!((spy.outcomes(), clock.sleeping()), (vec![Outcome::Success], 0));
}

#[test]
fn a_body_that_is_not_grpc_goes_on_after_the_head() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = Arc::new(Spy::default());
    let (body, sender) = TestBody::fed();
    let mut response = answered(&spy, due_in(SECOND), http::Response::new(GovernedBody::new(body)));
    clock.advance(SECOND * 9);
    sender.feed(Step::data("late"));
    sender.end();
    assert!(matches!(poll(pin!(response.body_mut().frame())), Poll::Ready(Some(Ok(_)))));
    assert!(matches!(poll(pin!(response.body_mut().frame())), Poll::Ready(None)));
    assert_eq!(spy.outcomes(), [Outcome::Success]);
}
