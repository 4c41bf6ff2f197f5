//! The layer in plain tower stacks, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{BoxError, Kind, Refusal, Rejection, refusal, units::Rate};
use mesh_rate_limit::{Quota, RateLimitLayer};
use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn burst(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn layer(text: &str, n: u32) -> RateLimitLayer {
    RateLimitLayer::new(rate(text)).burst(burst(n))
}

/// A service that takes whatever type of request and gives it back, with a boxed error.
fn echo<R: Send + 'static>()
-> impl Service<R, Response = R, Error = BoxError, Future: Send + Unpin> + Clone + Send + 'static {
    service_fn(|request: R| std::future::ready(Ok::<R, BoxError>(request)))
}

/// Calls until the first refusal; how many were admitted.
async fn drain<S>(service: &mut S) -> u32
where
    S: Service<u32, Response = u32>,
    S::Error: Refusal,
{
    for admitted in 0..1_000_000 {
        poll_ready(service).await;
        if let Err(error) = service.call(7).await {
            assert_eq!(error.rejection().map(Rejection::kind), Some(Kind::RateLimited));
            return admitted;
        }
    }
    panic!("not limited at all");
}

async fn poll_ready<S: Service<u32>>(service: &mut S) {
    assert!(std::future::poll_fn(|cx| service.poll_ready(cx)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_refused_with_the_time_to_come_back() {
    let mut service = layer("10/s", 3).layer(echo());
    assert_eq!(drain(&mut service).await, 3);
    let error = service.call(1).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!(rejection.retry_after_hint(), Some(Duration::from_millis(100)));
    assert_eq!(rejection.layer().as_str(), "rate_limit");
    assert!(!rejection.may_go_elsewhere());

    advance(Duration::from_millis(99)).await;
    assert_eq!(drain(&mut service).await, 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(drain(&mut service).await, 1);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(drain(&mut service).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_never_reaches_the_service_and_an_admitted_one_comes_back_as_it_was() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let mut service = layer("1/s", 2).layer(service_fn(move |text: String| {
        counted.fetch_add(1, Relaxed);
        async move { if text == "bad" { Err(BoxError::from("its own")) } else { Ok(text.into_bytes()) } }
    }));
    assert_eq!(service.ready().await.unwrap().call("good".into()).await.unwrap(), b"good");
    let error = service.ready().await.unwrap().call("bad".into()).await.unwrap_err();
    assert!(error.rejection().is_none());
    assert_eq!(error.to_string(), "its own");
    assert!(service.ready().await.unwrap().call("good".into()).await.unwrap_err().rejection().is_some());
    assert_eq!(calls.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_nothing() {
    let mut service = layer("1/s", 2).layer(echo());
    for _ in 0..10 {
        poll_ready(&mut service).await;
        let mut clone = service.clone();
        poll_ready(&mut clone).await;
    }
    assert_eq!(drain(&mut service).await, 2);
}

#[tokio::test(start_paused = true)]
async fn one_bucket_for_all_clones_and_applications() {
    let layer = layer("10/s", 5);
    let mut first = layer.layer(echo());
    let mut second = layer.clone().layer(echo());
    let mut third = first.clone();
    poll_ready(&mut second).await;
    second.call(1).await.unwrap();
    poll_ready(&mut third).await;
    third.call(1).await.unwrap();
    assert_eq!(layer.handle().available(), 3);
    assert_eq!(drain(&mut first).await, 3);
    assert_eq!(drain(&mut second).await + drain(&mut third).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_for_each_service_is_asked_for_by_name() {
    let layer = layer("10/s", 5).per_service();
    let (mut first, mut second) = (layer.layer(echo()), layer.layer(echo()));
    let mut clone = first.clone();
    assert_eq!(drain(&mut first).await, 5);
    assert_eq!(drain(&mut clone).await, 0);
    assert_eq!(drain(&mut second).await, 5);
}

#[tokio::test(start_paused = true)]
async fn the_handle_retunes_without_a_refill() {
    let layer = layer("10/s", 5);
    let (mut service, handle) = (layer.layer(echo()), layer.handle());
    assert_eq!(drain(&mut service).await, 5);
    let quota = Quota::new(rate("1000/s")).with_burst(burst(5));
    handle.set_quota(quota);
    assert_eq!(handle.quota(), Some(quota));
    assert_eq!(drain(&mut service).await, 0);
    advance(Duration::from_millis(2)).await;
    assert_eq!(drain(&mut service).await, 2);

    handle.set_quota(None);
    assert_eq!((handle.quota(), handle.available()), (None, u32::MAX));
    for _ in 0..1000 {
        poll_ready(&mut service).await;
        service.call(1).await.unwrap();
    }
    handle.set_quota(quota);
    assert_eq!(drain(&mut service).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_counts_and_lets_pass() {
    let layer = layer("10/s", 1);
    let mut service = layer.layer(echo());
    layer.set_shadow(true);
    for _ in 0..100 {
        poll_ready(&mut service).await;
        assert_eq!(service.call(3).await.unwrap(), 3);
    }
    layer.set_shadow(false);
    assert_eq!(drain(&mut service).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_typed_error_carries_the_refusal() {
    #[derive(Debug)]
    enum Error {
        Refused(Rejection),
        Negative,
    }
    refusal!(Error, Refused);

    let mut service = ServiceBuilder::new()
        .layer(layer("1/m", 2))
        .service(service_fn(async |n: i64| if n < 0 { Err(Error::Negative) } else { Ok(n) }));
    assert_eq!(service.ready().await.unwrap().call(4).await.unwrap(), 4);
    assert!(matches!(service.ready().await.unwrap().call(-4).await, Err(Error::Negative)));
    match service.ready().await.unwrap().call(4).await {
        Err(Error::Refused(rejection)) => assert_eq!(rejection.retry_after_hint(), Some(Duration::from_secs(60))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_rejection_itself_may_be_the_error_and_messages_need_not_be_send() {
    let mut service =
        layer("1/m", 1).layer(service_fn(|text: std::rc::Rc<str>| std::future::ready(Ok::<_, Rejection>(text))));
    assert_eq!(&*service.ready().await.unwrap().call("rc".into()).await.unwrap(), "rc");
    assert_eq!(service.ready().await.unwrap().call("rc".into()).await.unwrap_err().kind(), Kind::RateLimited);
}
