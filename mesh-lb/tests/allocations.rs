//! Calls allocate nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{BoxError, Endpoints, Target};
use mesh_lb::{Balance, Load, Policy};
use mesh_test::alloc::{Counting, count};
use std::{
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower::Service;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone)]
struct Echo;

impl Service<u32> for Echo {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        ready(Ok(number))
    }
}

#[test]
fn ten_thousand_calls_allocate_nothing() {
    for policy in [Policy::Random, Policy::RoundRobin, Policy::p2c(Load::LeastRequest), Policy::default()] {
        let targets = (1_u16..=20).map(|port| {
            Target::new(SocketAddr::from(([127, 0, 0, 1], port))).with_weight(u32::from(port).div_ceil(10))
        });
        let mut service = Balance::new(Endpoints::fixed(targets), policy, |_| Echo).results_only();
        let endpoints = service.endpoints().clone();
        let mut call = || {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(pin!(service.call(1)).poll(&mut cx), Poll::Ready(Ok(1))));
        };
        while endpoints.load().endpoints().iter().any(|endpoint| endpoint.picks() == 0) {
            call();
        }
        let ((), allocated) = count(|| (0..10_000).for_each(|_| call()));
        assert_eq!(allocated.count, 0, "{policy:?}");
    }
}
