//! How the layers behave, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_concurrency_limit::{ConcurrencyLimitLayer, QueueLayer};
use mesh_core::{BoxError, Kind, Refusal, ResultsOnly};
use std::{num::NonZeroU32, time::Duration};
use tokio::{sync::oneshot, time::Instant};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn max(max: u32) -> NonZeroU32 {
    NonZeroU32::new(max).unwrap()
}

/// Takes so many milliseconds.
async fn work(millis: u64) -> Result<u64, BoxError> {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(millis)
}

fn kind(error: &BoxError) -> Kind {
    error.rejection().unwrap().kind()
}

fn waiting(count: u32, millis: u64) -> QueueLayer<ResultsOnly> {
    ConcurrencyLimitLayer::new(max(count)).wait(Duration::from_millis(millis)).queue(8)
}

#[tokio::test(start_paused = true)]
async fn one_too_many_is_refused_and_a_dropped_call_makes_room() {
    let limit = ConcurrencyLimitLayer::new(max(2));
    let mut service = limit.layer(service_fn(work));
    let first = service.ready().await.unwrap().call(10);
    let second = service.clone().ready().await.unwrap().call(10);
    let refused = service.ready().await.unwrap().call(10).await.unwrap_err();
    assert_eq!((kind(&refused), limit.handle().in_flight()), (Kind::Saturated, 2));
    drop(second);
    assert_eq!(limit.handle().in_flight(), 1);
    let third = service.ready().await.unwrap().call(10);
    assert_eq!((first.await.unwrap(), third.await.unwrap()), (10, 10));
    assert_eq!(limit.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order_and_up_to_their_time() {
    let layer = waiting(1, 100);
    let service = layer.layer(service_fn(work));
    let start = Instant::now();
    // each takes 40 ms, one at a time: the fourth would begin after 120
    let calls: Vec<_> = (0..4).map(|_| service.clone().oneshot(40)).collect();
    let mut ended = Vec::new();
    for result in futures_in_order(calls).await {
        ended.push((result.map_err(|error| kind(&error)), start.elapsed().as_millis()));
    }
    assert_eq!(ended[0].0, Ok(40));
    assert_eq!(ended[1].0, Ok(40));
    assert_eq!(ended[2].0, Ok(40));
    assert_eq!(ended[3].0, Err(Kind::Saturated));
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (0, 0));
}

/// Runs all at once, each as a task of its own.
async fn futures_in_order<F>(calls: Vec<F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end() {
    let layer = waiting(1, 1000).queue(1);
    let service = layer.layer(service_fn(work));
    let calls: Vec<_> = (0..3).map(|_| service.clone().oneshot(10)).collect();
    let results = futures_in_order(calls).await;
    let refused: Vec<bool> = results.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_does_not_go_to_one_who_has_given_up() {
    let layer = waiting(1, 1000);
    let mut service = layer.layer(service_fn(work));
    let first = tokio::spawn(service.ready().await.unwrap().call(10));
    tokio::task::yield_now().await;
    let gives_up = tokio::spawn(service.clone().oneshot(10));
    tokio::task::yield_now().await;
    let stays = tokio::spawn(service.clone().oneshot(10));
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().waiting(), 2);
    gives_up.abort();
    assert!(gives_up.await.unwrap_err().is_cancelled());
    assert_eq!(layer.handle().waiting(), 1);
    assert_eq!((first.await.unwrap().unwrap(), stays.await.unwrap().unwrap()), (10, 10));
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn more_permits_reach_those_who_wait_and_fewer_take_none_away() {
    let layer = waiting(1, 1000);
    let service = layer.layer(service_fn(work));
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(10))).collect();
    tokio::task::yield_now().await;
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (1, 2));
    layer.handle().set_max(max(3));
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (3, 0));
    layer.handle().set_max(max(1));
    let late = tokio::spawn(service.clone().oneshot(5));
    tokio::task::yield_now().await;
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (3, 1));
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 10);
    }
    assert_eq!(late.await.unwrap().unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn back_pressure_is_told_in_readiness_and_takes_nothing() {
    let limit = ConcurrencyLimitLayer::new(max(1));
    let service = limit.clone().back_pressure().layer(service_fn(work));
    // polled ready and left alone: no permit is stranded
    let (mut idle, mut busy, mut next) = (service.clone(), service.clone(), service);
    idle.ready().await.unwrap();
    let call = tokio::spawn(busy.ready().await.unwrap().call(10));
    tokio::task::yield_now().await;
    assert!(tokio::time::timeout(Duration::from_millis(5), next.ready()).await.is_err());
    assert_eq!(call.await.unwrap().unwrap(), 10);
    assert_eq!(next.ready().await.unwrap().call(3).await.unwrap(), 3);
    // two that were ready at once: the second waits for its turn
    let mut both = (next.clone(), next.clone());
    both.0.ready().await.unwrap();
    both.1.ready().await.unwrap();
    let (one, two) = (both.0.call(4), both.1.call(5));
    assert_eq!((one.await.unwrap(), two.await.unwrap()), (4, 5));
    assert_eq!((limit.handle().in_flight(), limit.handle().waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn in_towers_buffer_calls_queue_up_before_it() {
    let limit = ConcurrencyLimitLayer::new(max(2));
    let service = ServiceBuilder::new().buffer(8).layer(limit.clone().back_pressure()).service(service_fn(work));
    let calls: Vec<_> = (0..6).map(|_| service.clone().oneshot(10)).collect();
    let start = Instant::now();
    assert!(futures_in_order(calls).await.iter().all(Result::is_ok));
    assert!(start.elapsed() >= Duration::from_millis(30) && start.elapsed() < Duration::from_millis(40));
}

#[tokio::test(start_paused = true)]
async fn each_service_may_have_permits_of_its_own() {
    let layer = ConcurrencyLimitLayer::new(max(1)).per_service();
    let (mut one, mut other) = (layer.layer(service_fn(work)), layer.layer(service_fn(work)));
    let _busy = one.ready().await.unwrap().call(10);
    assert!(one.clone().oneshot(1).await.is_err());
    assert_eq!(other.ready().await.unwrap().call(1).await.unwrap(), 1);
}

/// An error of one's own.
#[derive(Debug)]
enum Own {
    Refused(mesh_core::Rejection),
    #[allow(dead_code, reason = "an enum of one variant would need no match")]
    Broken,
}

mesh_core::refusal!(Own, Refused);

#[tokio::test(start_paused = true)]
async fn an_error_of_ones_own_keeps_its_type() {
    let (release, released) = oneshot::channel::<()>();
    let limit = ConcurrencyLimitLayer::new(max(1));
    let mut released = Some(released);
    let mut service = limit.layer(service_fn(move |_: ()| {
        let released = released.take();
        async move {
            if let Some(released) = released {
                let _ = released.await;
            }
            Ok::<_, Own>(())
        }
    }));
    let first = service.ready().await.unwrap().call(());
    let Err(Own::Refused(rejection)) = service.ready().await.unwrap().call(()).await else { panic!("admitted") };
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Saturated, "concurrency_limit"));
    release.send(()).unwrap();
    first.await.unwrap();
}
