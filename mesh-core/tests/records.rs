//! The record of a request and the state of an endpoint, written by several threads at once. Each is a set of plain
//! atomics without a rule that spans two of them, which is why there is no model of their interleavings.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{
    Context, Endpoint, EndpointId, Name, Nanos, Open, Outcome, Side, Target, TraceContext, Verdict, drop_as,
};
use std::{net::SocketAddr, sync::Barrier};

fn at_once(threads: u32, work: impl Fn(u32) + Sync) {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(number);
            });
        }
    });
}

#[test]
fn two_attempts_write_at_once() {
    for _ in 0..200 {
        let context = Context::begin(Nanos::from_nanos(1), None);
        let endpoints = [EndpointId::next(), EndpointId::next()];
        at_once(2, |number| {
            let below = context.clone();
            below.begin_attempt();
            below.add_tried(endpoints[number as usize]);
            below.limit_deadline(Nanos::from_nanos(100 + u64::from(number)));
        });
        assert!(endpoints.iter().all(|endpoint| context.tried(*endpoint)), "neither overwrites the other");
        assert_eq!((context.tries(), context.attempts()), (2, 2));
        assert_eq!(context.deadline(), Some(Nanos::from_nanos(100)), "the nearer of both");
        assert!(endpoints.contains(&context.endpoint().unwrap()));
    }
}

#[test]
fn a_draw_is_the_same_for_all() {
    for _ in 0..200 {
        let context = Context::begin(Nanos::from_nanos(1), None);
        let expected = std::sync::Mutex::new(Vec::new());
        at_once(3, |_| expected.lock().unwrap().push(context.draw()));
        let drawn = expected.into_inner().unwrap();
        assert!(drawn.iter().all(|draw| *draw == context.draw()));
    }
}

#[test]
fn more_than_four_tries_forget_the_first() {
    let context = Context::begin(Nanos::from_nanos(1), None);
    let endpoints: Vec<EndpointId> = (0..5).map(|_| EndpointId::next()).collect();
    endpoints.iter().for_each(|endpoint| context.add_tried(*endpoint));
    let tried: Vec<bool> = endpoints.iter().map(|endpoint| context.tried(*endpoint)).collect();
    assert_eq!(tried, [false, true, true, true, true]);
}

#[test]
fn a_record_is_recycled_by_whoever_drops_it_last() {
    let name = Name::intern("used");
    for _ in 0..200 {
        let context = Context::begin(Nanos::from_nanos(7), None);
        context.set_route(name);
        context.set_trace(TraceContext { trace_id: 1, span_id: 2, flags: 3 });
        context.add_request_bytes(9);
        let handles = std::sync::Mutex::new(vec![context.clone(), context]);
        at_once(2, |_| {
            let handle = handles.lock().unwrap().pop();
            drop(handle);
            // whatever this thread is given next knows nothing of the one before
            let next = Context::begin(Nanos::from_nanos(8), None);
            assert_eq!((next.route(), next.trace(), next.request_bytes()), (Name::NONE, None, 0));
            assert_eq!((next.arrived(), next.tries()), (Some(Nanos::from_nanos(8)), 0));
        });
    }
}

fn endpoint() -> std::sync::Arc<Endpoint> {
    Endpoint::new(Target::new("127.0.0.1:80".parse::<SocketAddr>().unwrap()))
}

#[test]
fn an_endpoint_counts_what_is_in_flight() {
    let endpoint = endpoint();
    at_once(4, |number| {
        for turn in 0..500 {
            let open = Open::new(endpoint.clone(), endpoint.pick(), Context::none());
            assert!(endpoint.in_flight() > 0);
            match (number + turn) % 4 {
                0 => open.end(Verdict::without_answer(Outcome::Failure, Side::Upstream)),
                1 => open.end(Verdict::without_answer(Outcome::Failure, Side::Ours)),
                2 => drop(open),
                _ => drop_as(Outcome::TimedOut, || drop(open)),
            }
        }
    });
    assert_eq!((endpoint.in_flight(), endpoint.picks()), (0, 2000));
    // its own failures and its timeouts; what was ours or the client's does not count
    assert_eq!(endpoint.failures(), 1000);
}

#[test]
fn a_panic_does_not_blame_the_endpoint() {
    let endpoint = endpoint();
    let unwound = std::panic::catch_unwind(|| {
        let _open = Open::new(endpoint.clone(), endpoint.pick(), Context::none());
        panic!("while a call is under way");
    });
    assert!(unwound.is_err());
    assert_eq!((endpoint.in_flight(), endpoint.failures()), (0, 0));
}

#[test]
fn the_request_ends_once() {
    let context = Context::begin(Nanos::from_nanos(1), None);
    assert_eq!(context.request_ended(), None);
    context.end_request();
    let first = context.request_ended().unwrap();
    context.end_request();
    assert_eq!(context.request_ended(), Some(first));
}
