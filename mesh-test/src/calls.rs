//! Calls that are answered at once: what benches and counts of a layer are made of.
//!
//! ```
//! use mesh_core::{GateLayer, gate_fn};
//! use mesh_test::calls::{Leaf, Run, plain};
//! use tower_layer::Layer;
//!
//! // by name, and as functions that make so many calls: for `instructions::count` and for criterion
//! let variants: [(&str, fn() -> Run); 2] = [
//!     ("service alone", || plain(Leaf)),
//!     ("a gate", || plain(GateLayer::new(gate_fn(|_: &mut u32| Ok(()))).results_only().layer(Leaf))),
//! ];
//! variants.map(|(_, make)| make()(1000));
//! ```

use mesh_core::BoxError;
use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower_service::Service;

/// Makes so many calls of what it was made for.
pub type Run = Box<dyn FnMut(u64)>;

/// Answers a number with itself, at once.
#[derive(Clone, Copy, Debug)]
pub struct Leaf;

impl Service<u32> for Leaf {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, n: u32) -> Self::Future {
        ready(Ok(black_box(n)))
    }
}

/// One call.
///
/// # Errors
/// That of the call.
///
/// # Panics
/// If the service is not ready, or does not answer, at once.
#[inline(always)]
pub fn once<R, S: Service<R>>(service: &mut S, request: R) -> Result<S::Response, S::Error> {
    once_in(&mut Context::from_waker(Waker::noop()), service, request)
}

#[inline(always)]
fn once_in<R, S: Service<R>>(cx: &mut Context<'_>, service: &mut S, request: R) -> Result<S::Response, S::Error> {
    assert!(service.poll_ready(cx).is_ready());
    match pin!(service.call(request)).poll(cx) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it answers at once"),
    }
}

/// Calls that succeed: another end panics.
pub fn plain<S: Service<u32, Response = u32> + 'static>(mut service: S) -> Run {
    Box::new(move |calls| numbers(&mut service, calls, |result| assert!(black_box(result).is_ok())))
}

/// Calls that fail: another end panics.
pub fn refused<S: Service<u32, Response = u32> + 'static>(mut service: S) -> Run {
    Box::new(move |calls| numbers(&mut service, calls, |result| assert!(black_box(result).is_err())))
}

/// So many calls, in a loop within a loop: what is in there is hot to the compiler, and so are calls in a program that
/// makes many.
#[inline(always)]
fn numbers<S: Service<u32>>(service: &mut S, calls: u64, check: impl Fn(Result<S::Response, S::Error>)) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut left = calls;
    while left > 0 {
        let round = left.min(1000);
        (0..round).for_each(|_| check(once_in(&mut cx, service, black_box(1))));
        left -= round;
    }
}

#[cfg(feature = "http")]
pub use whole::{Answers, Request, Response, whole};

#[cfg(feature = "http")]
mod whole {
    use super::{Run, once};
    use crate::{Http, Step, TestBody};
    use mesh_core::{
        Context as Call, Nanos, Protocol,
        http::{CallBody, GovernedBody},
    };
    use std::{
        future::{Ready, ready},
        task::{Context, Poll},
    };
    use tower_service::Service;

    /// A request of HTTP.
    pub type Request = <Http as Protocol>::Request;
    /// A response of HTTP.
    pub type Response = <Http as Protocol>::Response;

    /// Answers with a small response of HTTP, at once.
    #[derive(Clone, Copy, Debug)]
    pub struct Answers;

    impl Service<Request> for Answers {
        type Response = Response;
        type Error = <Http as Protocol>::Error;
        type Future = Ready<Result<Response, Self::Error>>;

        #[inline]
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        #[inline]
        fn call(&mut self, _: Request) -> Self::Future {
            ready(Ok(http::Response::new(GovernedBody::new(TestBody::of([Step::data("an answer")])))))
        }
    }

    /// Calls over HTTP whose bodies end well, with a record of each.
    pub fn whole<S: Service<Request, Response = Response> + 'static>(mut service: S) -> Run {
        Box::new(move |calls| {
            for _ in 0..calls {
                let body = CallBody::new(Call::begin(Nanos::from_nanos(1), None), TestBody::empty());
                let Ok(mut response) = once(&mut service, http::Request::new(body)) else { panic!("it answers") };
                response.body_mut().guards_mut().end_well();
            }
        })
    }
}
