//! What is learned from heads, ends and drops, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{Endpoint, Endpoints, Governed, Head, HealthFlag, Outcome, Target, drop_as, time};
use mesh_lb::{Balance, Load, Policy};
use mesh_test::line::{self, Reply, Request};
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::Service;

/// Dubbo's *server error*.
const BROKEN: u8 = 80;

/// Answers after so many polls, with this status and this metadata.
#[derive(Clone)]
struct Server {
    polls: u32,
    status: u8,
    says: Option<(&'static str, &'static [u8])>,
}

impl Server {
    fn with(status: u8) -> Self {
        Self { polls: 0, status, says: None }
    }
}

impl Future for Server {
    type Output = Result<Reply, line::Error>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
            return Poll::Pending;
        }
        let mut reply = Reply::new(self.status);
        if let Some((name, value)) = self.says {
            reply.set(name, value);
        }
        Poll::Ready(Ok(reply))
    }
}

impl Service<Request> for Server {
    type Response = Reply;
    type Error = line::Error;
    type Future = Server;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), line::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Server {
        self.clone()
    }
}

fn both() -> [Policy; 2] {
    [Policy::p2c(Load::LeastRequest), Policy::default()]
}

fn balance(policy: Policy, count: u16, server: Server) -> (Balance<Server>, Vec<Arc<Endpoint>>) {
    let endpoints = Endpoints::fixed((1..=count).map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], port)))));
    let list = endpoints.load().endpoints().to_vec();
    (Balance::new(endpoints, policy, move |_| server.clone()), list)
}

fn poll(call: Pin<&mut impl Future<Output = Result<Reply, line::Error>>>) -> Poll<Result<Reply, line::Error>> {
    call.poll(&mut Context::from_waker(Waker::noop()))
}

fn call(balance: &mut Balance<Server>) -> Reply {
    match poll(Box::pin(balance.call(Request::new("orders", "place"))).as_mut()) {
        Poll::Ready(reply) => reply.unwrap(),
        Poll::Pending => panic!("it answers at once"),
    }
}

fn in_flight(endpoints: &[Arc<Endpoint>]) -> u32 {
    endpoints.iter().map(|endpoint| endpoint.in_flight()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_poll_leaves_nothing_in_flight() {
    for policy in both() {
        for dropped_after in 0..6 {
            let (mut balance, endpoints) = balance(policy, 3, Server { polls: 4, ..Server::with(line::OK) });
            let mut call = Box::pin(balance.call(Request::new("orders", "place")));
            let mut reply = None;
            for _ in 0..dropped_after {
                assert_eq!(in_flight(&endpoints), 1);
                if let Poll::Ready(ready) = poll(call.as_mut()) {
                    reply = Some(ready.unwrap());
                    break;
                }
            }
            assert_eq!((in_flight(&endpoints), reply.is_some()), (1, dropped_after == 5));
            drop(call);
            assert_eq!(in_flight(&endpoints), u32::from(reply.is_some()), "the body is under way");
            if let Some(mut reply) = reply {
                reply.guards().end_well();
            }
            assert_eq!(in_flight(&endpoints), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_be_left_alone_is() {
    let answers: [(&'static str, &'static [u8], u64); 4] = [
        ("retry-after", b"7", 7),
        ("grpc-retry-pushback-ms", b"7000", 7),
        ("retry-after", b"86400", 300),
        ("retry-after", b"Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ];
    for policy in both() {
        for (name, value, seconds) in answers {
            let says = Some((name, value));
            let (mut balance, endpoints) = balance(policy, 3, Server { says, ..Server::with(BROKEN) });
            drop(call(&mut balance));
            let asked: Vec<_> = endpoints.iter().filter_map(|e| e.health().until(HealthFlag::Pushback)).collect();
            let until = time::now().plus(Duration::from_secs(seconds));
            assert_eq!(asked, if seconds == 0 { vec![] } else { vec![until] }, "{name}");
        }
        // success may say when to come again; it is not meant so
        let says = Some(("retry-after", &b"7"[..]));
        let (mut balance, endpoints) = balance(policy, 3, Server { says, ..Server::with(line::OK) });
        drop(call(&mut balance));
        assert!(endpoints.iter().all(|endpoint| endpoint.health().is_eligible()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_not_left_alone() {
    for policy in both() {
        let says = Some(("retry-after", &b"10"[..]));
        let (mut balance, endpoints) = balance(policy, 3, Server { says, ..Server::with(BROKEN) });
        (0..20).for_each(|_| drop(call(&mut balance)));
        assert_eq!(endpoints.iter().filter(|endpoint| endpoint.health().is_healthy()).count(), 1);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(endpoints.iter().all(|endpoint| endpoint.health().is_healthy()));
    }
}

/// The latency that is learned, in milliseconds.
fn latency(endpoint: &Endpoint) -> f32 {
    f32::from_bits((endpoint.state().latency_word().load(Relaxed) >> 32) as u32) / 1e6
}

#[tokio::test(start_paused = true)]
async fn latency_is_that_of_the_head() {
    let (mut balance, endpoints) = balance(Policy::default(), 2, Server { polls: 1, ..Server::with(line::OK) });
    let mut under_way = Box::pin(balance.call(Request::new("orders", "place")));
    assert!(poll(under_way.as_mut()).is_pending());
    tokio::time::advance(Duration::from_millis(20)).await;
    let Poll::Ready(Ok(mut reply)) = poll(under_way.as_mut()) else { panic!("it has answered") };
    let endpoint = endpoints.iter().find(|endpoint| endpoint.in_flight() == 1).unwrap();
    assert_eq!(latency(endpoint), 20.0);
    tokio::time::advance(Duration::from_secs(60)).await;
    reply.guards().end_well();
    assert_eq!((latency(endpoint), endpoint.in_flight()), (20.0, 0), "the body took a minute");
}

#[tokio::test(start_paused = true)]
async fn a_drop_is_a_lower_bound_and_a_timeout_a_failure() {
    for (outcome, expected) in [(Outcome::Cancelled, 50.0), (Outcome::TimedOut, 1000.0)] {
        let (mut balance, endpoints) = balance(Policy::default(), 2, Server { polls: 9, ..Server::with(line::OK) });
        let under_way = Box::pin(balance.call(Request::new("orders", "place")));
        let endpoint = endpoints.iter().find(|endpoint| endpoint.in_flight() == 1).unwrap();
        tokio::time::advance(Duration::from_millis(50)).await;
        drop_as(outcome, || drop(under_way));
        assert_eq!(latency(endpoint), expected, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_counts_as_a_call_in_flight_for_a_while() {
    let (mut balance, endpoints) = balance(Policy::p2c(Load::LeastRequest), 2, Server::with(BROKEN));
    drop(call(&mut balance));
    let picks = |endpoints: &[Arc<Endpoint>]| endpoints.iter().map(|endpoint| endpoint.picks()).collect::<Vec<_>>();
    drop(call(&mut balance));
    assert_eq!(picks(&endpoints), [1, 1], "the other one, whichever is drawn first");
    assert!(endpoints.iter().all(|endpoint| endpoint.state().fault_word().load(Relaxed) != 0));
}
