//! What is measured: calls of a service that answers at once, through limits that have room.

use mesh_concurrency_limit::{ConcurrencyLimitLayer, QueueLayer};
use mesh_core::{
    BoxError, Context, Nanos, ResultsOnly,
    http::{CallBody, GovernedBody},
};
use mesh_test::{Step, TestBody, TestError};
use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, limit::ConcurrencyLimitLayer as Towers};

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Box<dyn FnMut(u64)>);

pub(crate) const VARIANTS: [Variant; 12] = [
    ("service alone", || plain(Leaf)),
    ("limit", || plain(limit().layer(Leaf))),
    ("limit, limit", || plain(limit().layer(limit().layer(Leaf)))),
    ("limit, full", plain_refused),
    ("waiting limit", || plain(waiting().layer(Leaf))),
    ("waiting limit, waiting limit", || plain(waiting().layer(waiting().layer(Leaf)))),
    ("back-pressure", || plain(limit().back_pressure().layer(Leaf))),
    ("tower's limit", || plain(Towers::new(100).layer(Leaf))),
    ("tower's limit, tower's limit", || plain(Towers::new(100).layer(Towers::new(100).layer(Leaf)))),
    ("http: service alone", || whole(Answers)),
    ("http: limit until end", || whole(limit().until_end().layer(Answers))),
    ("http: limit until end, twice", || whole(limit().until_end().layer(limit().until_end().layer(Answers)))),
];

fn limit() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(NonZeroU32::MIN.saturating_add(99))
}

fn waiting() -> QueueLayer<ResultsOnly> {
    limit().wait(Duration::from_secs(1))
}

#[derive(Clone)]
pub(crate) struct Leaf;

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        ready(Ok(black_box(n)))
    }
}

fn once<R, S: Service<R>>(service: &mut S, request: R) -> Result<S::Response, S::Error> {
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it answers at once"),
    }
}

fn plain<S: Service<u32, Response = u32> + 'static>(mut service: S) -> Box<dyn FnMut(u64)> {
    Box::new(move |calls| (0..calls).for_each(|_| assert!(black_box(once(&mut service, black_box(1))).is_ok())))
}

/// One call holds the only permit.
fn plain_refused() -> Box<dyn FnMut(u64)> {
    let mut service = ConcurrencyLimitLayer::new(NonZeroU32::MIN).layer(Leaf);
    assert!(service.poll_ready(&mut Cx::from_waker(Waker::noop())).is_ready());
    let open = service.call(1);
    Box::new(move |calls| {
        let _open = &open;
        (0..calls).for_each(|_| assert!(black_box(once(&mut service, black_box(1))).is_err()));
    })
}

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;

/// A small response of HTTP.
#[derive(Clone)]
struct Answers;

impl Service<Request> for Answers {
    type Response = Response;
    type Error = mesh_core::Refusable<TestError>;
    type Future = Ready<Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(http::Response::new(GovernedBody::new(TestBody::of([Step::data("an answer")])))))
    }
}

fn whole<S: Service<Request, Response = Response> + 'static>(mut service: S) -> Box<dyn FnMut(u64)> {
    Box::new(move |calls| {
        for _ in 0..calls {
            let body = CallBody::new(Context::begin(Nanos::from_nanos(1), None), TestBody::empty());
            let Ok(mut response) = once(&mut service, http::Request::new(body)) else { panic!("it answers") };
            response.body_mut().guards_mut().end_well();
        }
    })
}
