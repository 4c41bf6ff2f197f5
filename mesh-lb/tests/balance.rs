//! Balancing in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod feed;

use feed::Feed;
use mesh_core::{
    BoxError, Endpoint, EndpointId, Endpoints, Governed, HealthFlag, Kind, Outcome, Refusal, RequestView, Target,
    drop_as, units::Ratio,
};
use mesh_lb::{Balance, BalanceLayer, NoEndpoint, Policy};
use mesh_test::line::{self, Reply, Request};
use std::{
    collections::HashMap,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, ServiceExt};

fn target(port: u16) -> Target {
    Target::new(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Answers with its own name.
#[derive(Clone)]
struct Named(String);

impl Named {
    fn make(endpoint: &Arc<Endpoint>) -> Self {
        Self(endpoint.address().to_string())
    }
}

impl Service<Request> for Named {
    type Response = Reply;
    type Error = line::Error;
    type Future = Ready<Result<Reply, line::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), line::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok(Reply::new(line::OK).with_result(&self.0)))
    }
}

fn fixed(weights: &[u32], policy: Policy) -> BalanceLayer {
    let targets = (1..).zip(weights).map(|(port, weight)| target(port).with_weight(*weight));
    BalanceLayer::new(Endpoints::fixed(targets), policy)
}

fn request() -> Request {
    Request::new("orders", "place")
}

/// One call of a service that answers at once.
fn call<S: Service<Request, Response = Reply, Error = line::Error>>(service: &mut S, request: Request) -> Reply {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("it answers at once"),
    }
}

fn counts(mut names: impl FnMut() -> String, calls: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    (0..calls).for_each(|_| *counts.entry(names()).or_default() += 1);
    counts
}

#[test]
fn round_robin_is_exact_over_all_clones() {
    let service = fixed(&[1, 2, 3], Policy::RoundRobin).layer(Named::make);
    let counted = counts(|| call(&mut service.clone(), request()).result.clone(), 600);
    let expected = [("127.0.0.1:1", 100), ("127.0.0.1:2", 200), ("127.0.0.1:3", 300)];
    assert_eq!(counted, expected.map(|(name, count)| (name.to_string(), count)).into());
}

#[test]
fn services_made_on_their_own_begin_at_different_places() {
    let layer = fixed(&[1; 100], Policy::RoundRobin);
    let firsts = counts(|| call(&mut layer.layer(Named::make), request()).result.clone(), 200);
    assert!(firsts.len() > 50, "{} places of 100", firsts.len());
}

#[test]
fn attempts_of_one_request_go_to_different_endpoints() {
    for policy in [Policy::Random, Policy::RoundRobin] {
        for _ in 0..100 {
            let mut service = fixed(&[1, 50, 1, 1], policy).layer(Named::make);
            let first = request();
            let context = first.context().clone();
            let mut reached = vec![call(&mut service, first).result.clone()];
            for _ in 0..3 {
                let mut attempt = request();
                attempt.context = context.clone();
                reached.push(call(&mut service, attempt).result.clone());
            }
            reached.sort();
            reached.dedup();
            assert_eq!(reached.len(), 4, "{policy:?}");
            let mut fifth = request();
            fifth.context = context.clone();
            call(&mut service, fifth);
            assert_eq!(context.tries(), 5, "when all have been tried they are tried again");
        }
    }
}

#[test]
fn a_pick_is_counted_until_the_end_of_the_answer() {
    let layer = fixed(&[1], Policy::Random);
    let endpoint = layer.endpoints().load().endpoints()[0].clone();
    let mut service = layer.layer(Named::make);
    let asked = request();
    let context = asked.context().clone();
    let mut answer = call(&mut service, asked);
    assert_eq!((endpoint.in_flight(), endpoint.picks(), endpoint.failures()), (1, 1, 0));
    assert_eq!(context.endpoint(), Some(endpoint.id()));
    answer.guards().end_well();
    assert_eq!(endpoint.in_flight(), 0);
    let answer = call(&mut service, request());
    drop_as(Outcome::TimedOut, || drop(answer));
    assert_eq!((endpoint.in_flight(), endpoint.picks(), endpoint.failures()), (0, 2, 1));
}

#[test]
fn nothing_to_call_is_refused_with_the_reason() {
    let refused = |layer: &BalanceLayer| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = pin!(layer.layer(Named::make).call(request())).poll(&mut cx) else {
            panic!("refused at once")
        };
        let rejection = error.rejection().unwrap();
        assert_eq!(rejection.kind(), Kind::NoEndpoint);
        *std::error::Error::source(rejection).unwrap().downcast_ref::<NoEndpoint>().unwrap()
    };
    assert_eq!(refused(&fixed(&[], Policy::Random)), NoEndpoint::Empty);
    let layer = fixed(&[1, 1], Policy::RoundRobin).panic_threshold(Ratio::ZERO);
    for endpoint in layer.endpoints().load().endpoints() {
        endpoint.health().set(HealthFlag::Ejected, true);
    }
    assert_eq!(refused(&layer), NoEndpoint::NoneEligible { endpoints: 2 });
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_first_result() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let service = BalanceLayer::new(endpoints, Policy::Random).layer(Named::make);
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(request()))).collect();
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    assert!(waiting.iter().all(|call| !call.is_finished()));
    feed.set([target(7)]);
    settle().await;
    for call in waiting {
        assert!(call.is_finished());
        assert_eq!(call.await.unwrap().unwrap().result, "127.0.0.1:7");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_first_result_has_an_end() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let service = BalanceLayer::new(endpoints, Policy::Random).first_result(Duration::from_secs(2)).layer(Named::make);
    let timed = async |service: &Balance<Named>| {
        let began = tokio::time::Instant::now();
        let error = service.clone().oneshot(request()).await.unwrap_err();
        let rejection = error.rejection().unwrap();
        assert_eq!(rejection.kind(), Kind::NoEndpoint);
        assert_eq!(rejection.to_string(), "refused: no_endpoint: discovery has not given a result yet");
        began.elapsed()
    };
    let first = timed(&service).await;
    assert!(first >= Duration::from_secs(2) && first < Duration::from_millis(2_010), "{first:?}");
    assert_eq!(timed(&service).await, Duration::ZERO, "the time is over for all");
    feed.set([target(7)]);
    settle().await;
    assert_eq!(service.oneshot(request()).await.unwrap().result, "127.0.0.1:7");
}

#[tokio::test(start_paused = true)]
async fn a_change_keeps_services_and_counts() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    feed.set([target(1), target(2)]);
    settle().await;
    let made: Arc<Mutex<Vec<EndpointId>>> = Arc::default();
    let alive = Arc::new(());
    let mut service = BalanceLayer::new(endpoints.clone(), Policy::RoundRobin).layer({
        let (made, alive) = (made.clone(), alive.clone());
        move |endpoint: &Arc<Endpoint>| {
            made.lock().unwrap().push(endpoint.id());
            let (named, alive) = (Named::make(endpoint), alive.clone());
            // the service holds a sign that it is alive
            named.map_response(move |reply: Reply| {
                let _ = &alive;
                reply
            })
        }
    });
    let mut clone = service.clone();
    let open: Vec<Reply> = (0..4).map(|_| call(&mut service, request())).collect();
    (0..4).for_each(|_| drop(call(&mut clone, request())));
    assert_eq!(made.lock().unwrap().len(), 2, "a clone of the balancer clones what was made");

    feed.set([target(2).with_weight(3), target(3), target(1)]);
    settle().await;
    let set = endpoints.load();
    assert_eq!(set.endpoints().iter().map(|endpoint| endpoint.in_flight()).collect::<Vec<_>>(), [2, 0, 2]);
    let counted = counts(|| call(&mut service, request()).result.clone(), 500);
    assert_eq!(counted["127.0.0.1:2"], 300);
    assert_eq!(made.lock().unwrap().len(), 3, "only the new one is made");
    drop(open);
    assert!(set.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));

    feed.set([target(3)]);
    settle().await;
    // made by `service`: the original and its own clone; `clone` has not called it yet
    (0..2).for_each(|_| drop(call(&mut service, request())));
    call(&mut clone, request());
    assert_eq!(Arc::strong_count(&alive) - 2, 3, "services of those that left are dropped");
}

#[tokio::test(start_paused = true)]
async fn a_policy_can_be_changed_while_it_runs() {
    let layer = fixed(&[1, 1, 1], Policy::Random);
    let mut service = layer.layer(Named::make);
    call(&mut service, request());
    layer.clone().set_policy(Policy::RoundRobin);
    assert_eq!(layer.policy(), Policy::RoundRobin);
    let counted = counts(|| call(&mut service, request()).result.clone(), 300);
    assert!(counted.values().all(|count| *count == 100), "{counted:?}");
}

#[test]
fn a_plain_list_and_any_response() {
    let double = tower::service_fn(|n: u32| ready(Ok::<u32, BoxError>(n * 2)));
    let triple = tower::service_fn(|n: u32| ready(if n == 0 { Err(BoxError::from("zero")) } else { Ok(n * 3) }));
    let list = [
        (target(1), tower::util::BoxCloneService::new(double)),
        (target(2), tower::util::BoxCloneService::new(triple)),
    ];
    let balance = Balance::over(Policy::RoundRobin, list).judge(|n: &u32| match n {
        6 => Outcome::Failure,
        _ => Outcome::Success,
    });
    let mut results = Vec::new();
    let mut ask = |n: u32| {
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(balance.clone().call(n)).poll(&mut cx) {
            Poll::Ready(result) => results.push(result.map_err(|error| error.to_string())),
            Poll::Pending => panic!("answered at once"),
        }
    };
    [1, 1, 0, 0, 2, 2].into_iter().for_each(&mut ask);
    for pair in results.chunks_mut(2) {
        pair.sort();
    }
    let zero = Err("zero".to_string());
    assert_eq!(results, [Ok(2), Ok(3), Ok(0), zero, Ok(4), Ok(6)]);
    let failures: Vec<u64> =
        balance.endpoints().load().endpoints().iter().map(|endpoint| endpoint.failures()).collect();
    assert_eq!(failures, [0, 2], "an error, and an answer that was judged");
}
