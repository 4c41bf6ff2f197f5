//! The contract of governance layers. A balancer is applied to a function that gives services; here each endpoint's is
//! a clone of the service below.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{Endpoints, Target, Whole};
use mesh_lb::{Balance, BalanceLayer, Load, Policy};
use mesh_test::{Contract, Line, Messages, Plain, contract};
use std::{net::SocketAddr, sync::Mutex};
use tower::Layer;

#[global_allocator]
static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;

#[derive(Clone)]
struct OverBelow<M>(BalanceLayer<M>);

impl<S: Clone + Send + 'static, M: Clone> Layer<S> for OverBelow<M> {
    type Service = Balance<S, M>;

    fn layer(&self, below: S) -> Self::Service {
        let below = Mutex::new(below);
        self.0.layer(move |_: &_| below.lock().unwrap().clone())
    }
}

fn layer(policy: Policy, endpoints: u16) -> BalanceLayer {
    let targets =
        (1..=endpoints).map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], port))).with_weight(port.into()));
    BalanceLayer::new(Endpoints::fixed(targets), policy)
}

fn expectations<M: Messages, N: Clone + 'static>(contract: Contract<M, OverBelow<N>>, allocations: u64) {
    contract
        .settled(|layer| layer.0.endpoints().load().endpoints().iter().all(|endpoint| endpoint.in_flight() == 0))
        .retune(|layer| layer.0.set_policy(Policy::default()))
        .allocations(allocations)
        .check();
}

/// While time stands still p2c may come late to an endpoint that has failed, or that it does not know; what the first
/// call of an endpoint allocates is not a call's then.
fn p2c() -> [(Policy, u64); 2] {
    [(Policy::p2c(Load::LeastRequest), 1), (Policy::default(), 1)]
}

#[test]
fn followed_to_the_end_of_the_body() {
    for (policy, allocations) in [(Policy::Random, 0), (Policy::RoundRobin, 0)].into_iter().chain(p2c()) {
        for endpoints in [1, 2, 5] {
            let allocations = if endpoints == 1 { 0 } else { allocations };
            let make = move || OverBelow::<Whole>(layer(policy, endpoints));
            expectations(contract::layer::<Line, _>(make), allocations);
        }
    }
}

#[test]
fn followed_to_the_result() {
    for (policy, endpoints, allocations) in [(Policy::Random, 1, 0), (Policy::Random, 5, 0), (Policy::default(), 5, 1)]
    {
        let make = move || OverBelow(layer(policy, endpoints).results_only());
        expectations(contract::layer::<Plain, _>(make), allocations);
    }
}

#[test]
fn in_a_pipeline() {
    expectations(contract::layer::<Line, _>(|| OverBelow::<Whole>(layer(Policy::Random, 3))).in_a_pipeline(), 0);
    expectations(contract::layer::<Line, _>(|| OverBelow::<Whole>(layer(Policy::default(), 3))).in_a_pipeline(), 1);
}
