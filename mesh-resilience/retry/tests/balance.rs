//! A balancer below: another attempt goes to another endpoint.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{Endpoint, Endpoints, Rejection, Target};
use mesh_lb::{BalanceLayer, Policy};
use mesh_retry::{Condition, RetryLayer};
use mesh_test::{Line, line};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};
use tower::{Layer, ServiceExt, service_fn};

fn endpoints(number: u16) -> Endpoints {
    Endpoints::fixed((1..=number).map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], port)))))
}

type Answer = fn(u16) -> Result<line::Reply, line::Error>;

/// The ports that a call was sent to, and what came back.
async fn ports(policy: Policy, number: u16, attempts: u32, answer: Answer) -> (Vec<u16>, Result<u8, line::Error>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let endpoints = endpoints(number);
    let balancer = BalanceLayer::new(endpoints.clone(), policy).layer(move |endpoint: &Arc<Endpoint>| {
        let port = endpoint.address().to_string().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let log = log.clone();
        service_fn(move |_: line::Request| {
            log.lock().unwrap().push(port);
            std::future::ready(answer(port))
        })
    });
    let layer = RetryLayer::new().attempts(NonZeroU32::new(attempts).unwrap()).on([Condition::ServerError]);
    let service = layer.methods(["*"]).budget(None).protocol::<Line>().layer(balancer);
    let reply = service.oneshot(line::Request::new("orders", "place")).await;
    let status = reply.map(|reply| reply.status);
    for endpoint in endpoints.load().endpoints() {
        assert_eq!(endpoint.in_flight(), 0);
    }
    let ports = seen.lock().unwrap().clone();
    (ports, status)
}

#[tokio::test(start_paused = true)]
async fn each_attempt_goes_to_another_endpoint() {
    for policy in [Policy::Random, Policy::RoundRobin] {
        for _ in 0..50 {
            let (mut ports, status) = ports(policy, 4, 4, |_| Ok(line::Reply::new(line::FAILED))).await;
            assert_eq!(status.unwrap(), line::FAILED);
            ports.sort_unstable();
            assert_eq!(ports, [1, 2, 3, 4]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_is_left_for_another_at_once() {
    for _ in 0..50 {
        let refusing: Answer = |port| {
            if port == 1 {
                Err(Rejection::new(mesh_core::Kind::CircuitOpen).elsewhere().into())
            } else {
                Ok(line::Reply::new(line::OK))
            }
        };
        let (ports, status) = ports(Policy::Random, 2, 2, refusing).await;
        assert_eq!((status.unwrap(), ports.last()), (line::OK, Some(&2)));
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_only_one_it_is_tried_again() {
    let (ports, _) = ports(Policy::Random, 1, 3, |_| Ok(line::Reply::new(line::FAILED))).await;
    assert_eq!(ports, [1, 1, 1]);
}
