//! The end of a body: taps, gRPC trailers, HEAD and answers without a body, guards that move to another response.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt;
use mesh_core::{
    BoxError, Code, GateLayer, Governed, Guards, Kind, Outcome, Refusal, Rejection, Side, Tap, Verdict, http::governed,
    time,
};
use mesh_test::{Ended, HeldClock, Http, Messages, Spy, Step, TestBody, TestError, line};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use tower::{Service, ServiceBuilder, service_fn};

/// The body is cut off after so long.
struct Total(time::Sleep);

impl Tap for Total {
    fn poll_frame(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(match self.poll_idle(cx) {
            Poll::Ready(rejection) => Err(rejection),
            Poll::Pending => Ok(()),
        })
    }

    fn poll_idle(&mut self, cx: &mut Cx<'_>) -> Poll<Rejection> {
        Pin::new(&mut self.0).poll(cx).map(|()| Rejection::new(Kind::Timeout))
    }
}

/// The body waits for ever.
struct Stop;

impl Tap for Stop {
    fn poll_frame(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Pending
    }

    fn poll_idle(&mut self, _: &mut Cx<'_>) -> Poll<Rejection> {
        Poll::Pending
    }
}

/// Nothing at all.
struct Go;

impl Tap for Go {
    fn poll_frame(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, _: &mut Cx<'_>) -> Poll<Rejection> {
        Poll::Pending
    }
}

type Request = http::Request<TestBody>;
type Response = <Http as Messages>::Response;

/// A service over HTTP that gives this answer, in a governed stack with a spy around taps.
fn stack<F>(
    spy: &GateLayer<Spy>,
    taps: fn() -> Vec<Box<dyn Tap>>,
    answer: F,
) -> impl Service<Request, Response = Response, Error = TestError>
where
    F: Fn() -> http::Response<TestBody> + Clone,
{
    let tapped = tower::util::MapResponseLayer::new(move |mut response: Response| {
        taps().into_iter().for_each(|tap| response.guards().tap(tap));
        response
    });
    let leaf = service_fn(move |_: Request| std::future::ready(Ok::<_, TestError>(answer())));
    ServiceBuilder::new().layer(governed((spy.clone(), tapped))).service(leaf)
}

fn get() -> Request {
    http::Request::get("http://orders/").body(TestBody::empty()).unwrap()
}

fn grpc(steps: Vec<Step>) -> http::Response<TestBody> {
    http::Response::builder().header("content-type", "application/grpc").body(TestBody::of(steps)).unwrap()
}

fn no_taps() -> Vec<Box<dyn Tap>> {
    Vec::new()
}

fn total() -> Vec<Box<dyn Tap>> {
    vec![Box::new(Total(time::sleep(Duration::from_secs(5))))]
}

fn poll_frame(response: &mut Response) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BoxError>>> {
    Pin::new(response.body_mut()).poll_frame(&mut Cx::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_tap_that_cuts_gives_trailers_on_grpc() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = GateLayer::new(Spy::default());
    let mut service =
        stack(&spy, total, || grpc(vec![Step::data("x"), Step::Wait, Step::data("y"), Step::grpc_status(0)]));
    let mut response = service.call(get()).await.unwrap();
    assert!(matches!(poll_frame(&mut response), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
    clock.advance(Duration::from_secs(5));
    let Poll::Ready(Some(Ok(frame))) = poll_frame(&mut response) else { panic!("trailers") };
    let trailers = frame.into_trailers().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"4".parse().unwrap(), &"timeout".parse().unwrap())
    );
    assert!(matches!(poll_frame(&mut response), Poll::Ready(None)));
    let end = Ended {
        outcome: Outcome::TimedOut,
        side: Side::Upstream,
        code: Code::Grpc(4),
        response_bytes: 1,
        refused: Some(Kind::Timeout),
    };
    assert_eq!(spy.gate().ends(), [end]);
}

#[tokio::test]
async fn a_tap_that_cuts_is_an_error_on_http() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = GateLayer::new(Spy::default());
    let answer = || http::Response::new(TestBody::of([Step::data("x"), Step::Wait, Step::data("y")]));
    let mut service = stack(&spy, total, answer);
    let mut response = service.call(get()).await.unwrap();
    assert!(matches!(poll_frame(&mut response), Poll::Ready(Some(Ok(_)))));
    assert!(poll_frame(&mut response).is_pending());
    clock.advance(Duration::from_secs(5));
    let Poll::Ready(Some(Err(error))) = poll_frame(&mut response) else { panic!("an error") };
    assert_eq!(error.rejection().unwrap().kind(), Kind::Timeout);
    assert_eq!(spy.gate().outcomes(), [Outcome::TimedOut]);
    // a second time nothing is left
    assert!(matches!(poll_frame(&mut response), Poll::Ready(None)));
}

#[tokio::test]
async fn a_throttle_does_not_stop_the_time() {
    for taps in [
        (|| vec![Box::new(Stop) as Box<dyn Tap>, Box::new(Total(time::sleep(Duration::from_secs(5))))])
            as fn() -> Vec<_>,
        || vec![Box::new(Total(time::sleep(Duration::from_secs(5)))) as Box<dyn Tap>, Box::new(Stop)],
    ] {
        let clock = HeldClock::new();
        let _installed = clock.install();
        let spy = GateLayer::new(Spy::default());
        let mut service = stack(&spy, taps, || http::Response::new(TestBody::of([Step::data("x")])));
        let mut response = service.call(get()).await.unwrap();
        assert!(poll_frame(&mut response).is_pending());
        clock.advance(Duration::from_secs(5));
        assert!(matches!(poll_frame(&mut response), Poll::Ready(Some(Err(_)))));
        assert_eq!(spy.gate().outcomes(), [Outcome::TimedOut]);
    }
}

#[tokio::test]
async fn a_failed_head_under_a_tap_is_still_a_failure() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let spy = GateLayer::new(Spy::default());
    let answer = || http::Response::builder().status(503).body(TestBody::of([Step::data("x")])).unwrap();
    let mut service = stack(&spy, total, answer);
    drop(service.call(get()).await.unwrap());
    service.call(get()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(spy.gate().outcomes(), [Outcome::Failure, Outcome::Failure]);

    // the same where the gate is in a run
    let spy = Arc::new(Spy::default());
    let pipeline = mesh_core::Pipeline::<Http>::builder()
        .made("spy", mesh_core::pipeline::Made::Gate(spy.clone()))
        .layer(
            "taps",
            tower::util::MapResponseLayer::new(|mut response: Response| {
                response.guards().tap(Box::new(Stop));
                response
            }),
        )
        .build();
    let leaf = service_fn(async |_: <Http as Messages>::Request| Ok(Http::failed().unwrap()));
    let mut stage = pipeline.apply(mesh_core::Stage::new(leaf));
    drop(stage.call(Http::request()).await.unwrap());
    assert_eq!(spy.outcomes(), [Outcome::Failure]);
}

#[tokio::test]
async fn grpc_ends_with_its_trailers() {
    let spy = GateLayer::new(Spy::default());
    let read = async |steps: Vec<Step>| {
        let mut service = stack(&spy, no_taps, move || grpc(steps.clone()));
        let _ = service.call(get()).await.unwrap().into_body().collect().await;
        let end = *spy.gate().ends().last().unwrap();
        (end.outcome, end.code)
    };
    assert_eq!(read(vec![Step::data("x"), Step::grpc_status(0)]).await, (Outcome::Success, Code::Grpc(0)));
    assert_eq!(read(vec![Step::data("x"), Step::grpc_status(14)]).await, (Outcome::Failure, Code::Grpc(14)));
    assert_eq!(read(vec![Step::data("x"), Step::grpc_status(5)]).await, (Outcome::Success, Code::Grpc(5)));
    // without a status, or without trailers, it has failed
    assert_eq!(read(vec![Step::Trailers(http::HeaderMap::new())]).await.0, Outcome::Failure);
    assert_eq!(read(vec![Step::data("x")]).await.0, Outcome::Failure);
    assert_eq!(read(vec![Step::data("x"), Step::Error]).await.0, Outcome::Failure);
    // trailers only
    let spy = GateLayer::new(Spy::default());
    let only = || {
        let mut response = grpc(vec![]);
        response.headers_mut().insert("grpc-status", "7".parse().unwrap());
        response
    };
    let mut service = stack(&spy, no_taps, only);
    drop(service.call(get()).await.unwrap());
    service.call(get()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(spy.gate().outcomes(), [Outcome::Cancelled, Outcome::Success]);
    // every message read, but not the trailers: nobody knows
    let spy = GateLayer::new(Spy::default());
    let mut service = stack(&spy, no_taps, || grpc(vec![Step::data("x"), Step::grpc_status(0)]));
    let mut response = service.call(get()).await.unwrap();
    assert!(matches!(poll_frame(&mut response), Poll::Ready(Some(Ok(_)))));
    drop(response);
    assert_eq!(spy.gate().outcomes(), [Outcome::Cancelled]);
}

#[tokio::test]
async fn what_nobody_reads_ends_well() {
    let spy = GateLayer::new(Spy::default());
    let stream = || TestBody::of([Step::data("x")]);
    let ends = async |method: Method, status: u16, body: fn() -> TestBody| {
        let mut service = stack(&spy, no_taps, move || http::Response::builder().status(status).body(body()).unwrap());
        let request = http::Request::builder().method(method).uri("/").body(TestBody::empty()).unwrap();
        drop(service.call(request).await.unwrap());
        *spy.gate().outcomes().last().unwrap()
    };
    assert_eq!(ends(Method::HEAD, 200, stream).await, Outcome::Success);
    assert_eq!(ends(Method::HEAD, 503, stream).await, Outcome::Failure);
    assert_eq!(ends(Method::GET, 204, stream).await, Outcome::Success);
    assert_eq!(ends(Method::GET, 304, stream).await, Outcome::Success);
    assert_eq!(ends(Method::GET, 200, TestBody::empty).await, Outcome::Success);
    assert_eq!(ends(Method::GET, 200, stream).await, Outcome::Cancelled);
    assert_eq!(ends(Method::GET, 200, || TestBody::full("x")).await, Outcome::Cancelled);
}

#[tokio::test]
async fn a_sized_body_ends_with_its_last_byte() {
    let spy = GateLayer::new(Spy::default());
    let mut service = stack(&spy, no_taps, || http::Response::new(TestBody::full("hello")));
    let mut response = service.call(get()).await.unwrap();
    assert!(matches!(poll_frame(&mut response), Poll::Ready(Some(Ok(_)))));
    assert!(response.body().is_end_stream());
    // hyper does not poll it again
    drop(response);
    let end = spy.gate().ends()[0];
    assert_eq!((end.outcome, end.response_bytes), (Outcome::Success, 5));
}

#[tokio::test]
async fn what_is_open_moves_to_another_response() {
    let spy = Arc::new(Spy::default());
    let pipeline =
        mesh_core::Pipeline::<Http>::builder().made("spy", mesh_core::pipeline::Made::Gate(spy.clone())).build();
    let leaf = service_fn(async |_: <Http as Messages>::Request| Ok(Http::answer()));
    let mut stage = pipeline.apply(mesh_core::Stage::new(leaf));
    // as a crossing of protocols does it: an answer of one becomes an answer of another
    let mut there = stage.call(Http::request()).await.unwrap();
    let mut here = line::Reply::new(line::OK);
    here.guards().append(std::mem::take(there.guards()));
    drop(there);
    assert_eq!((spy.opened(), spy.open()), (1, 1));
    here.guards().end_well();
    drop(here);
    spy.assert_each_ended_once("moved");
    assert_eq!(spy.outcomes(), [Outcome::Success]);

    // to one on which something is open already, which has no head of its own yet
    let mut there = stage.call(Http::request()).await.unwrap();
    let mut here = line::Reply::new(line::OK);
    here.guards().tap(Box::new(Stop));
    here.guards().append(std::mem::take(there.guards()));
    drop((there, here));
    assert_eq!(spy.outcomes(), [Outcome::Success, Outcome::Cancelled]);
}

#[test]
fn lists_are_recycled_empty() {
    let mut guards = Guards::new();
    guards.tap(Box::new(Stop));
    guards.add_bytes(7);
    guards.end(Verdict::without_answer(Outcome::Failure, Side::Upstream));
    assert!(guards.is_empty());
    let mut next = Guards::new();
    next.tap(Box::new(Go));
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(matches!(next.poll_frame(&mut cx), Poll::Ready(None)));
    assert_eq!((next.head_outcome(), next.head_code()), (None, Code::None));
}
