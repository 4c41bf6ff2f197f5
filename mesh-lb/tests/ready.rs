//! Endpoints that are not ready.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{BoxError, Endpoint, Endpoints, ResultsOnly, Target};
use mesh_lb::{Balance, BalanceLayer, Policy};
use mesh_test::mock::{Handle, Mock, mock};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::task::yield_now;
use tower::{Layer, Service, ServiceExt};

type Service1 = Mock<u32, u32, BoxError>;
type Handles = Arc<Mutex<Vec<Handle<u32, u32, BoxError>>>>;

/// A balancer over so many mocks, which are made at their first call.
fn balance(endpoints: u16) -> (Balance<Service1, ResultsOnly>, Endpoints, Handles) {
    let targets = (1..=endpoints).map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], port))));
    let endpoints = Endpoints::fixed(targets);
    let made: Handles = Arc::default();
    let layer = BalanceLayer::new(endpoints.clone(), Policy::RoundRobin).results_only();
    let service = layer.layer({
        let made = made.clone();
        move |_: &Arc<Endpoint>| {
            let (service, handle) = mock();
            made.lock().unwrap().push(handle);
            service
        }
    });
    (service, endpoints, made)
}

/// The same, with every mock made, in the order of the handles.
type Warm = (Balance<Service1, ResultsOnly>, Endpoints, Vec<Handle<u32, u32, BoxError>>);

fn warm(endpoints: u16) -> Warm {
    let (mut service, set, made) = balance(endpoints);
    (0..endpoints).for_each(|_| drop(service.call(0)));
    let handles = made.lock().unwrap().clone();
    for handle in &handles {
        while handle.try_next().is_some() {}
    }
    (service, set, handles)
}

fn in_flight(endpoints: &Endpoints) -> u32 {
    endpoints.load().endpoints().iter().map(|endpoint| endpoint.in_flight()).sum()
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_ready_is_passed_over() {
    let (mut service, endpoints, handles) = warm(3);
    handles[0].hold_ready();
    handles[2].hold_ready();
    for _ in 0..6 {
        let response = tokio::spawn(service.call(1));
        handles[1].try_next().unwrap().answer(2);
        assert_eq!(response.await.unwrap().unwrap(), 2);
    }
    assert_eq!(in_flight(&endpoints), 0);
    let picks: u64 = endpoints.load().endpoints().iter().map(|endpoint| endpoint.picks()).sum();
    assert_eq!(picks, 3 + 6, "to be passed over is not to be picked");
}

#[tokio::test(start_paused = true)]
async fn where_none_is_ready_the_call_waits_for_one() {
    let (mut service, endpoints, handles) = warm(2);
    handles.iter().for_each(Handle::hold_ready);
    let response = tokio::spawn(service.call(1));
    yield_now().await;
    assert_eq!(in_flight(&endpoints), 1);
    assert!(!response.is_finished());
    handles.iter().for_each(Handle::release_ready);
    let call = tokio::select! { call = handles[0].next() => call, call = handles[1].next() => call };
    call.answer(5);
    assert_eq!(response.await.unwrap().unwrap(), 5);
    assert_eq!(in_flight(&endpoints), 0);
    assert_eq!(handles.iter().map(Handle::unready_calls).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_goes_to_the_call_that_waits_and_not_to_an_instance_that_was_left() {
    let (service, endpoints, handles) = warm(2);
    handles.iter().for_each(|handle| handle.scarce(1));
    let calls: Vec<_> = (0..20).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    let answering = tokio::spawn(async move {
        loop {
            let call = tokio::select! { call = handles[0].next() => call, call = handles[1].next() => call };
            yield_now().await;
            let number = *call.request();
            call.answer(number);
        }
    });
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), number as u32);
    }
    answering.abort();
    assert_eq!(in_flight(&endpoints), 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_readiness_failed_is_made_anew_once() {
    let (mut service, endpoints, made) = balance(1);
    let mut clone = service.clone();
    drop((service.call(0), clone.call(0)));
    let first = made.lock().unwrap()[0].clone();
    first.fail_ready("the connection is gone".into());
    assert_eq!(service.call(1).await.unwrap_err().to_string(), "the connection is gone");
    let endpoint = endpoints.load().endpoints()[0].clone();
    assert_eq!((endpoint.in_flight(), endpoint.failures()), (0, 1));
    let second = |service: &mut Balance<Service1, ResultsOnly>| drop(service.call(2));
    second(&mut service);
    assert_eq!(made.lock().unwrap().len(), 2);
    // the clone finds its own instance broken, and takes what was made meanwhile
    first.fail_ready("the connection is gone".into());
    assert!(clone.call(1).await.is_err());
    second(&mut clone);
    assert_eq!(made.lock().unwrap().len(), 2);
    assert_eq!(made.lock().unwrap()[1].calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_waiting_is_the_calls() {
    let (mut service, endpoints, handles) = warm(1);
    handles[0].hold_ready();
    let response = tokio::spawn(service.call(1));
    yield_now().await;
    handles[0].fail_ready("gone".into());
    assert_eq!(response.await.unwrap().unwrap_err().to_string(), "gone");
    assert_eq!((in_flight(&endpoints), endpoints.load().endpoints()[0].failures()), (0, 1));
}
