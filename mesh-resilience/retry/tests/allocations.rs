//! What keeping an HTTP request allocates where it succeeds at once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use mesh_core::http::governed;
use mesh_retry::RetryLayer;
use mesh_test::alloc::{Counting, count};
use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of a call, in steady state.
fn per_call(mut service: impl Service<Request<Body>, Error = Infallible>, request: impl Fn() -> Request<Body>) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        let request = request();
        assert!(service.poll_ready(&mut cx).is_ready());
        count(|| assert!(matches!(pin!(service.call(request)).poll(&mut cx), Poll::Ready(Ok(_))))).1.count
    };
    call();
    call()
}

/// Reads the request's body to its end.
fn reader() -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
    service_fn(async |request: Request<Body>| {
        request.into_body().collect().await.unwrap();
        Ok::<_, Infallible>(Response::new(Body::empty()))
    })
}

fn added(request: impl Fn() -> Request<Body>) -> u64 {
    let with = per_call(governed(RetryLayer::new().bodies(Body::new)).layer(reader()), &request);
    with - per_call(governed(()).layer(reader()), &request)
}

#[test]
fn a_head_without_headers_costs_none_and_a_body_a_few() {
    assert_eq!(added(|| Request::new(Body::empty())), 0);
    let headers =
        || Request::get("/orders").header("host", "shop").header("accept", "*/*").body(Body::empty()).unwrap();
    assert!(added(headers) <= 5, "{}", added(headers));
    let body = || Request::put("/").body(Body::from("order")).unwrap();
    assert!(added(body) <= 6, "{}", added(body));
    println!("{} for headers, {} for a body", added(headers), added(body));
}
