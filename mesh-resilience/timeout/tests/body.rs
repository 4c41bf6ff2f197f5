//! The time for all of it, and the time in which nothing moves: before the head of the response and after it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use http_body_util::BodyExt as _;
use mesh_core::{
    BoxError, Code, Context as Call, GateLayer, Kind, Name, Outcome, Refusable, Refusal, Rejection, Side,
    http::{CallBody, GovernedBody},
    time,
};
use mesh_test::{BodyHandle, HeldClock, Spy, Step, TestBody, TestError, mock::mock};
use mesh_timeout::{TimeoutLayer, TimeoutSettings};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;
type Error = Refusable<TestError>;
type Frame = Option<Result<http_body::Frame<bytes::Bytes>, BoxError>>;

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn frame(response: &mut Response) -> Poll<Frame> {
    poll(pin!(response.body_mut().frame()))
}

fn is_data(frame: &Poll<Frame>) -> bool {
    matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.is_data())
}

/// A request that arrives now, and its record.
fn request(body: TestBody, protocol: Name) -> (Request, Call) {
    let call = Call::begin(time::now(), None);
    call.set_protocol(protocol);
    (http::Request::new(CallBody::new(call.clone(), body)), call)
}

/// One without a body.
fn get() -> (Request, Call) {
    let (request, call) = request(TestBody::empty(), Name::HTTP);
    call.end_request_on_arrival();
    (request, call)
}

fn grpc() -> (Request, Call) {
    let (request, call) = request(TestBody::empty(), Name::GRPC);
    call.end_request_on_arrival();
    (request, call)
}

/// A response whose body is fed by hand.
fn fed(content_type: &'static str) -> (Response, BodyHandle) {
    let (body, sender) = TestBody::fed();
    let mut response = http::Response::new(GovernedBody::new(body).grpc(content_type == "application/grpc"));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(content_type));
    (response, sender)
}

/// What a layer makes of a call: under way, and answered.
struct Rig {
    clock: HeldClock,
    spy: Arc<Spy>,
    call: Pin<Box<dyn Future<Output = Result<Response, Error>>>>,
    upstream: mesh_test::mock::Call<Request, Response, Error>,
}

impl Rig {
    fn call(clock: &HeldClock, layer: &TimeoutLayer, request: Request) -> Self {
        let (service, handle) = mock::<Request, Response, Error>();
        handle.hold_answers();
        let spy = Arc::new(Spy::default());
        let mut service = GateLayer::shared(spy.clone()).layer(layer.layer(service));
        assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        let mut call: Pin<Box<dyn Future<Output = _>>> = Box::pin(service.call(request));
        assert!(poll(call.as_mut()).is_pending());
        let upstream = handle.try_next().unwrap();
        Self { clock: clock.clone(), spy, call, upstream }
    }

    fn answer(mut self, response: Response) -> (Response, Arc<Spy>) {
        self.upstream.answer(response);
        match poll(self.call.as_mut()) {
            Poll::Ready(Ok(response)) => (response, self.spy),
            _ => panic!("no answer"),
        }
    }

    /// The call is given up after exactly so long from now.
    fn given_up_after(mut self, after: Duration) {
        self.clock.advance(after - NANO);
        assert!(poll(self.call.as_mut()).is_pending(), "too early");
        self.clock.advance(NANO);
        let Poll::Ready(Err(error)) = poll(self.call.as_mut()) else { panic!("too late") };
        assert_eq!(error.rejection().map(Rejection::kind), Some(Kind::Timeout));
        assert_eq!((self.spy.outcomes(), self.clock.sleeping()), (vec![Outcome::TimedOut], 0));
    }
}

/// The body breaks off at exactly so long from now, and all is dropped and told.
fn cut_after(clock: &HeldClock, after: Duration, mut response: Response, sender: &BodyHandle, spy: &Spy) -> Frame {
    assert!(frame(&mut response).is_pending());
    assert_eq!(clock.sleeping(), 1, "one timer");
    clock.advance(after - NANO);
    assert!(frame(&mut response).is_pending(), "too early");
    clock.advance(NANO);
    let Poll::Ready(last) = frame(&mut response) else { panic!("too late") };
    assert!(sender.is_dropped(), "nobody reads on");
    let end = spy.ends()[0];
    assert_eq!((end.outcome, end.side, end.refused), (Outcome::TimedOut, Side::Upstream, Some(Kind::Timeout)));
    spy.assert_each_ended_once("cut");
    assert_eq!(clock.sleeping(), 0);
    last
}

fn is_timeout(last: Frame) -> bool {
    let Some(Err(error)) = last else { return false };
    let rejection = error.rejection().unwrap();
    (rejection.kind(), rejection.layer().as_str()) == (Kind::Timeout, "timeout")
}

fn grpc_status(last: Frame) -> String {
    let trailers = last.unwrap().unwrap().into_trailers().unwrap();
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

#[test]
fn the_total_counts_from_arrival_and_becomes_the_deadline() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = TimeoutLayer::new(SECOND * 9).total(SECOND * 5);
    let (request, call) = get();
    clock.advance(SECOND * 2);
    let rig = Rig::call(&clock, &layer, request);
    assert_eq!(call.deadline(), call.arrived().map(|arrived| arrived.plus(SECOND * 5)));
    rig.given_up_after(SECOND * 3);
}

#[test]
fn the_total_counts_while_the_client_is_still_sending() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (body, _sender) = TestBody::fed();
    let layer = TimeoutLayer::new(SECOND).total(SECOND * 5);
    Rig::call(&clock, &layer, request(body, Name::HTTP).0).given_up_after(SECOND * 5);
}

#[test]
fn a_body_is_cut_at_the_total() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let rig = Rig::call(&clock, &TimeoutLayer::deadline_only().total(SECOND * 5), get().0);
    clock.advance(SECOND);
    let (response, sender) = fed("text/plain");
    let (mut response, spy) = rig.answer(response);
    sender.feed(Step::data("some"));
    assert!(is_data(&frame(&mut response)));
    assert!(is_timeout(cut_after(&clock, SECOND * 4, response, &sender, &spy)));
}

#[test]
fn a_body_that_never_pauses_is_cut_at_the_total() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let rig = Rig::call(&clock, &TimeoutLayer::deadline_only().total(SECOND * 3), get().0);
    let steps = (0..10).map(|_| Step::data("more"));
    let (mut response, spy) = rig.answer(http::Response::new(GovernedBody::new(TestBody::of(steps))));
    for _ in 0..3 {
        assert!(is_data(&frame(&mut response)));
        clock.advance(SECOND);
    }
    let Poll::Ready(last) = frame(&mut response) else { panic!("pending") };
    assert!(is_timeout(last));
    assert_eq!(spy.outcomes(), [Outcome::TimedOut]);
}

#[test]
fn a_body_within_the_total_ends_as_it_ends() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = TimeoutLayer::deadline_only().total(SECOND * 3).idle(SECOND);
    let rig = Rig::call(&clock, &layer, get().0);
    let steps = [Step::data("some"), Step::Wait, Step::data("more")];
    let (mut response, spy) = rig.answer(http::Response::new(GovernedBody::new(TestBody::of(steps))));
    while let Poll::Pending | Poll::Ready(Some(_)) = frame(&mut response) {}
    assert_eq!((spy.outcomes(), clock.sleeping()), (vec![Outcome::Success], 0));
}

#[test]
fn a_grpc_stream_obeys_the_total_up_to_its_head_only() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = TimeoutLayer::deadline_only().total(SECOND * 5);
    Rig::call(&clock, &layer, grpc().0).given_up_after(SECOND * 5);

    let (request, call) = grpc();
    let rig = Rig::call(&clock, &layer, request);
    assert_eq!(call.deadline(), None, "it would go on to those further in, who keep it after the head");
    let (response, sender) = fed("application/grpc");
    let (mut response, spy) = rig.answer(response);
    assert!(frame(&mut response).is_pending());
    assert_eq!(clock.sleeping(), 0);
    clock.advance(SECOND * 99);
    sender.feed(Step::data("late"));
    assert!(is_data(&frame(&mut response)));
    sender.feed(Step::grpc_status(0));
    assert!(matches!(frame(&mut response), Poll::Ready(Some(Ok(_)))));
    assert_eq!(spy.outcomes(), [Outcome::Success]);
}

#[test]
fn an_upgrade_obeys_the_total_up_to_its_head_only() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let rig = Rig::call(&clock, &TimeoutLayer::deadline_only().total(SECOND * 5), get().0);
    let (mut response, sender) = fed("text/plain");
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let (mut response, spy) = rig.answer(response);
    clock.advance(SECOND * 99);
    sender.end();
    assert!(matches!(frame(&mut response), Poll::Ready(None)));
    assert_eq!((spy.outcomes(), spy.ends()[0].code), (vec![Outcome::Success], Code::Http(101)));
}

#[test]
fn a_call_in_which_nothing_moves_is_given_up() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = TimeoutLayer::new(SECOND * 9).idle(SECOND * 2);
    Rig::call(&clock, &layer, get().0).given_up_after(SECOND * 2);
    // one whose client has stopped sending
    let (body, _sender) = TestBody::fed();
    Rig::call(&clock, &layer, request(body, Name::HTTP).0).given_up_after(SECOND * 2);
}

#[test]
fn an_upload_that_goes_on_is_not_idle() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (body, sender) = TestBody::fed();
    let layer = TimeoutLayer::deadline_only().idle(SECOND);
    let mut rig = Rig::call(&clock, &layer, request(body, Name::HTTP).0);
    for _ in 0..50 {
        clock.advance(SECOND * 2 / 3);
        sender.feed(Step::data("more"));
        assert!(is_data(
            &poll(pin!(rig.upstream.request_mut().body_mut().frame()))
                .map(|frame| { frame.map(|frame| frame.map_err(BoxError::from)) })
        ));
        assert!(poll(rig.call.as_mut()).is_pending());
    }
    // its end is a move, and known to the nanosecond
    sender.end();
    assert!(matches!(poll(pin!(rig.upstream.request_mut().body_mut().frame())), Poll::Ready(None)));
    assert!(poll(rig.call.as_mut()).is_pending());
    rig.given_up_after(SECOND);
}

#[test]
fn a_body_is_cut_when_nothing_moves_and_frames_leave_the_timer_alone() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let rig = Rig::call(&clock, &TimeoutLayer::deadline_only().idle(SECOND), get().0);
    let (response, sender) = fed("text/plain");
    let (mut response, spy) = rig.answer(response);
    assert_eq!(clock.sleeping(), 0, "no timer while nobody waits for the body");
    clock.advance(SECOND * 9);
    assert!(frame(&mut response).is_pending(), "a body that nobody reads is not idle");
    let armed = clock.next_deadline();
    for _ in 0..3 {
        clock.advance(SECOND / 5);
        sender.feed(Step::data("more"));
        assert!(is_data(&frame(&mut response)));
        assert!(frame(&mut response).is_pending());
        assert_eq!((clock.sleeping(), clock.next_deadline()), (1, armed));
    }
    for _ in 0..9 {
        clock.advance(SECOND * 4 / 5);
        sender.feed(Step::data("more"));
        assert!(is_data(&frame(&mut response)));
    }
    assert!(is_timeout(cut_after(&clock, SECOND, response, &sender, &spy)));
}

#[test]
fn a_grpc_stream_that_is_idle_ends_with_trailers() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let rig = Rig::call(&clock, &TimeoutLayer::deadline_only().idle(SECOND * 2).total(SECOND), grpc().0);
    let (response, sender) = fed("application/grpc");
    let (mut response, spy) = rig.answer(response);
    for _ in 0..5 {
        sender.feed(Step::data("a message"));
        assert!(is_data(&frame(&mut response)));
        assert!(frame(&mut response).is_pending());
        clock.advance(SECOND * 3 / 2);
    }
    sender.feed(Step::data("the last"));
    assert!(is_data(&frame(&mut response)));
    assert_eq!(grpc_status(cut_after(&clock, SECOND * 2, response, &sender, &spy)), "4");
}

#[test]
fn a_stream_whose_client_goes_on_sending_is_not_idle() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (body, upload) = TestBody::fed();
    let (request, call) = request(body, Name::GRPC);
    let mut rig = Rig::call(&clock, &TimeoutLayer::deadline_only().idle(SECOND), request);
    let mut sent = std::mem::take(rig.upstream.request_mut().body_mut());
    let (response, sender) = fed("application/grpc");
    let (mut response, spy) = rig.answer(response);
    assert!(frame(&mut response).is_pending());
    for _ in 0..50 {
        clock.advance(SECOND * 2 / 3);
        upload.feed(Step::data("more"));
        assert!(poll(pin!(sent.frame())).is_ready());
        assert!(frame(&mut response).is_pending());
    }
    assert!(call.request_ended().is_none());
    // looked at when the timer goes off, so given up within two periods
    let mut quiet = Duration::ZERO;
    let last = loop {
        quiet += SECOND / 10;
        clock.advance(SECOND / 10);
        match frame(&mut response) {
            Poll::Pending => assert!(quiet < SECOND * 2, "too late"),
            Poll::Ready(last) => break last,
        }
    };
    assert!(quiet >= SECOND, "too early: {quiet:?}");
    assert_eq!((grpc_status(last).as_str(), spy.outcomes()), ("4", vec![Outcome::TimedOut]));
    assert!(sender.is_dropped());
}

#[test]
fn the_earlier_of_total_and_idle_cuts() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    for (total, idle, cut) in [(2, 3, 2), (3, 2, 2)] {
        let layer = TimeoutLayer::deadline_only().total(SECOND * total).idle(SECOND * idle);
        let rig = Rig::call(&clock, &layer, get().0);
        let (response, sender) = fed("text/plain");
        let (response, spy) = rig.answer(response);
        assert!(is_timeout(cut_after(&clock, SECOND * cut, response, &sender, &spy)));
    }
}

#[test]
fn of_any_service_all_limits_end_with_the_result() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    for layer in [TimeoutLayer::new(SECOND).total(SECOND * 2), TimeoutLayer::new(SECOND * 2).idle(SECOND)] {
        let (service, _handle) = mock::<u32, u32, BoxError>();
        let mut service = layer.results_only().layer(service);
        assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        let mut call = pin!(service.call(1));
        assert!(poll(call.as_mut()).is_pending());
        clock.advance(SECOND - NANO);
        assert!(poll(call.as_mut()).is_pending());
        clock.advance(NANO);
        assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(_))));
    }
}

#[test]
fn all_are_retuned_by_the_handle() {
    let layer = TimeoutLayer::new(SECOND).total(SECOND * 2).idle(SECOND * 3);
    let handle = layer.handle();
    let settings = TimeoutSettings { response: Some(SECOND), total: Some(SECOND * 2), idle: Some(SECOND * 3) };
    assert_eq!(handle.settings(), settings);
    handle.set_response(None);
    assert_eq!(handle.settings(), TimeoutSettings { response: None, ..settings });
    handle.set(TimeoutSettings::default());
    assert_eq!(layer.clone().handle().settings(), TimeoutSettings::default());
}
