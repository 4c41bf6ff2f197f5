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

fn expectations<M: Messages, N: Clone + 'static>(contract: Contract<M, OverBelow<N>>) {
    contract
        .settled(|layer| layer.0.endpoints().load().endpoints().iter().all(|endpoint| endpoint.in_flight() == 0))
        .retune(|layer| layer.0.set_policy(Policy::default()))
        .allocations(0)
        .check();
}

const POLICIES: [Policy; 3] = [Policy::Random, Policy::RoundRobin, Policy::p2c(Load::LeastRequest)];

#[test]
fn followed_to_the_end_of_the_body() {
    for policy in POLICIES {
        for endpoints in [1, 2, 5] {
            expectations(contract::layer::<Line, _>(move || OverBelow::<Whole>(layer(policy, endpoints))));
        }
    }
    // while time stands still an endpoint that is not known stays so: with more than one it may be met late
    expectations(contract::layer::<Line, _>(|| OverBelow::<Whole>(layer(Policy::default(), 1))));
}

#[test]
fn followed_to_the_result() {
    for (policy, endpoints) in [(Policy::Random, 1), (Policy::Random, 5), (Policy::default(), 1)] {
        expectations(contract::layer::<Plain, _>(move || OverBelow(layer(policy, endpoints).results_only())));
    }
}

#[test]
fn in_a_pipeline() {
    expectations(
        contract::layer::<Line, _>(|| OverBelow::<Whole>(layer(Policy::p2c(Load::LeastRequest), 3))).in_a_pipeline(),
    );
}
