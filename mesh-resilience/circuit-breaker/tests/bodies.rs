//! Over HTTP: what counts is the end of the body, the status in the trailers, and what the head asks for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, State};
use mesh_core::{
    Context as Call, Protocol, Refusable,
    http::{CallBody, lift},
};
use mesh_test::{Http, Messages, Step, TestBody};
use std::{
    convert::Infallible,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};
use tower::{Layer, Service, service_fn};

type Response = <Http as Protocol>::Response;

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::consecutive_failures(NonZeroU32::MIN)
}

/// Calls once; the response has not been read.
async fn ask(layer: &CircuitBreakerLayer, answer: fn() -> http::Response<TestBody>) -> Result<Response, ()> {
    let leaf = service_fn(move |_: http::Request<TestBody>| async move { Ok::<_, Infallible>(answer()) });
    let mut service = layer.layer(lift(leaf));
    let request = http::Request::new(CallBody::new(Call::none(), TestBody::empty()));
    match service.call(request).await {
        Ok(response) => Ok(response),
        Err(Refusable::Refused(_)) => Err(()),
        Err(Refusable::Inner(never)) => match never {},
    }
}

fn read(response: &mut Response) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(<Http as Messages>::poll_end(response, &mut cx).is_ready());
}

fn status(status: u16, steps: Vec<Step>) -> http::Response<TestBody> {
    http::Response::builder().status(status).body(TestBody::of(steps)).unwrap()
}

fn grpc(code: u16) -> http::Response<TestBody> {
    let mut response = status(200, vec![Step::data("message"), Step::grpc_status(code)]);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

async fn opens(answer: fn() -> http::Response<TestBody>) -> Arc<CircuitBreaker> {
    let layer = layer();
    let mut response = ask(&layer, answer).await.unwrap();
    assert_eq!(layer.handle().state(), State::Closed, "the end counts");
    read(&mut response);
    drop(response);
    layer.handle()
}

#[tokio::test(start_paused = true)]
async fn statuses_count_at_the_end() {
    for (answer, state) in [
        ((|| status(200, vec![Step::data("well")])) as fn() -> _, State::Closed),
        (|| status(404, vec![]), State::Closed),
        (|| status(501, vec![]), State::Closed),
        (|| status(500, vec![Step::data("sorry")]), State::Open),
        (|| status(200, vec![Step::data("we"), Step::Error]), State::Open),
        (|| grpc(0), State::Closed),
        (|| grpc(5), State::Closed),
        (|| grpc(13), State::Open),
    ] {
        assert_eq!(opens(answer).await.state(), state, "{:?}", answer().status());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_left_unread_says_nothing() {
    let layer = layer();
    drop(ask(&layer, || status(200, vec![Step::data("a"), Step::data("b")])).await.unwrap());
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_the_head_asks_for_is_kept_to() {
    fn asking(name: &'static str, value: &'static str) -> http::Response<TestBody> {
        let mut response = status(503, vec![]);
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
        response
    }
    let open_for = async |answer| opens(answer).await.open_for().unwrap();
    let seconds = Duration::from_secs;
    assert!(open_for(|| asking("retry-after", "1")).await < seconds(7));
    assert!((seconds(60)..seconds(61)).contains(&open_for(|| asking("retry-after", "60")).await));
    assert!((seconds(300)..seconds(301)).contains(&open_for(|| asking("retry-after", "86400")).await));
    assert!((seconds(8)..seconds(9)).contains(&open_for(|| asking("grpc-retry-pushback-ms", "7500")).await));
    assert!(open_for(|| asking("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")).await < seconds(7));
}

/// Only the failure that opens the breaker is asked, not those before.
#[tokio::test(start_paused = true)]
async fn the_failure_that_opens_it_is_the_one_that_is_asked() {
    let layer = CircuitBreakerLayer::consecutive_failures(NonZeroU32::MIN.saturating_add(1));
    for answer in [(|| status(500, vec![])) as fn() -> _, || {
        http::Response::builder().status(503).header("retry-after", "100").body(TestBody::empty()).unwrap()
    }] {
        read(&mut ask(&layer, answer).await.unwrap());
    }
    assert!(layer.handle().open_for().unwrap() >= Duration::from_secs(100));
    assert!(ask(&layer, || status(200, vec![])).await.is_err());
}
