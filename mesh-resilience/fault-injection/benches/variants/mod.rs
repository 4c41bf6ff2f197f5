//! What is measured: calls of a service that answers at once, through layers that inject nothing into them, or all.

use mesh_core::{
    BoxError, Context, Nanos, ResultsOnly,
    http::{CallBody, GovernedBody},
    units::Ratio,
};
use mesh_fault_injection::{Abort, FaultInjectionLayer};
use mesh_test::{Step, TestBody, TestError};
use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};
use tower_resilience_chaos::ChaosLayer;

/// Of its errors and of its latencies one in a thousand million million: never, and yet it draws.
macro_rules! chaos {
    () => {
        ChaosLayer::builder()
            .latency_rate(1e-15)
            .min_latency(Duration::from_secs(1))
            .max_latency(Duration::from_secs(1))
            .error_rate(1e-15)
            .error_fn(|_: &u32| BoxError::from("chaos"))
            .build()
    };
}
/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Box<dyn FnMut(u64)>);

pub(crate) const VARIANTS: [Variant; 15] = [
    ("service alone", || plain(Leaf)),
    ("off", || plain(off().layer(Leaf))),
    ("off, off", || plain(off().layer(off().layer(Leaf)))),
    ("off, off, off", || plain(off().layer(off().layer(off().layer(Leaf))))),
    ("armed", || plain(armed().layer(Leaf))),
    ("armed, armed", || plain(armed().layer(armed().layer(Leaf)))),
    ("armed, armed, armed", || plain(armed().layer(armed().layer(armed().layer(Leaf))))),
    ("aborted", || plain(faults(Ratio::ONE).layer(Leaf))),
    ("tower-resilience's chaos", || plain(chaos!().layer(Leaf))),
    ("tower-resilience's chaos, twice", || plain(chaos!().layer(chaos!().layer(Leaf)))),
    ("http: service alone", || whole(Answers)),
    ("http: off", || whole(http_off().layer(Answers))),
    ("http: off, off", || whole(http_off().layer(http_off().layer(Answers)))),
    ("http: armed", || whole(http_armed().layer(Answers))),
    ("http: armed, armed", || whole(http_armed().layer(http_armed().layer(Answers)))),
];

fn aborts(percent: Ratio) -> FaultInjectionLayer {
    FaultInjectionLayer::new().abort(Abort::Status(503), percent)
}

fn faults(percent: Ratio) -> FaultInjectionLayer<ResultsOnly> {
    aborts(percent).results_only()
}

/// Both kinds are drawn for, and hit nothing.
fn http_armed() -> FaultInjectionLayer {
    aborts(Ratio::ZERO).delay(Duration::from_secs(1), Ratio::ZERO)
}

fn armed() -> FaultInjectionLayer<ResultsOnly> {
    http_armed().results_only()
}

fn http_off() -> FaultInjectionLayer {
    let layer = http_armed();
    layer.handle().switch(false);
    layer
}

fn off() -> FaultInjectionLayer<ResultsOnly> {
    http_off().results_only()
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
    Box::new(move |calls| {
        (0..calls).for_each(|_| {
            let _ = black_box(once(&mut service, black_box(1)));
        });
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
