//! The queue in front of a limit: deadlines, order, and any schedule of callers who come, are answered, and go away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_concurrency_limit::{ConcurrencyLimitLayer, QueueLayer};
use mesh_core::{BoxError, Context as Call, Kind, Refusal, Rejection, Whole, time};
use mesh_test::{
    HeldClock, line,
    mock::{Handle, Mock, mock},
};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);

fn limit(max: u32) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(NonZeroU32::new(max).unwrap())
}

fn poll<T>(call: &mut Pin<Box<dyn Future<Output = T>>>) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

type Calling = Pin<Box<dyn Future<Output = Result<line::Reply, line::Error>>>>;
type LineMock = mesh_concurrency_limit::Queued<Mock<line::Request, line::Reply, line::Error>, Whole>;

fn over_lines(layer: &QueueLayer<Whole>) -> (LineMock, Handle<line::Request, line::Reply, line::Error>) {
    let (service, handle) = mock();
    (layer.layer(service), handle)
}

/// A call that is due after so long.
fn due_in(service: &mut LineMock, deadline: Duration) -> Calling {
    let mut request = line::Request::new("orders", "place");
    request.context = Call::begin(time::now(), None);
    request.context.limit_deadline(time::now().plus(deadline));
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    Box::pin(service.call(request))
}

fn kind(polled: Poll<Result<line::Reply, line::Error>>) -> Option<Kind> {
    match polled {
        Poll::Ready(Err(error)) => error.rejection().map(Rejection::kind),
        _ => None,
    }
}

#[test]
fn a_deadline_ends_the_wait_and_one_that_has_passed_does_not_begin_it() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = limit(1).until_end().wait(SECOND * 3).queue(2);
    let (mut service, handle) = over_lines(&layer);
    let mut first = due_in(&mut service, SECOND * 99);
    assert!(poll(&mut first).is_pending());
    let (mut short, mut long) = (due_in(&mut service.clone(), SECOND), due_in(&mut service.clone(), SECOND * 9));
    assert!(poll(&mut short).is_pending() && poll(&mut long).is_pending());
    assert_eq!((layer.handle().waiting(), clock.sleeping()), (2, 2));
    assert_eq!(kind(poll(&mut due_in(&mut service.clone(), Duration::ZERO))), Some(Kind::Timeout));
    assert_eq!(layer.handle().waiting(), 2, "refused at once");

    clock.advance(SECOND);
    assert_eq!(kind(poll(&mut short)), Some(Kind::Timeout));
    clock.advance(SECOND * 2);
    assert_eq!(kind(poll(&mut long)), Some(Kind::Saturated));
    assert_eq!((handle.calls(), layer.handle().waiting(), clock.sleeping()), (1, 0, 0));
    drop(first);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[test]
fn a_call_whose_deadline_passes_just_before_its_turn_is_not_begun() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let layer = limit(1).until_end().wait(SECOND * 3).queue(2);
    let (mut service, handle) = over_lines(&layer);
    let mut first = due_in(&mut service, SECOND * 99);
    assert!(poll(&mut first).is_pending());
    let (mut late, mut next) = (due_in(&mut service.clone(), SECOND), due_in(&mut service.clone(), SECOND * 9));
    assert!(poll(&mut late).is_pending() && poll(&mut next).is_pending());
    drop(first);
    clock.advance(SECOND);
    assert_eq!(kind(poll(&mut late)), Some(Kind::Timeout));
    // the permit has gone on
    assert!(poll(&mut next).is_pending());
    assert_eq!((handle.calls(), layer.handle().in_flight(), layer.handle().waiting()), (2, 1, 0));
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_permit_that_is_free_wakes_one_who_watches_and_reaches_all_in_the_end() {
    let (service, handle) = mock::<u32, u32, BoxError>();
    let service = limit(1).back_pressure().layer(service);
    let mut busy = service.clone();
    assert!(busy.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut call: Pin<Box<dyn Future<Output = _>>> = Box::pin(busy.call(0));
    assert!(poll(&mut call).is_pending());

    let woken: Vec<Arc<Woken>> = (0..10).map(|_| Arc::default()).collect();
    let mut watching: Vec<_> = woken.iter().map(|woken| (service.clone(), Waker::from(woken.clone()))).collect();
    for (service, waker) in &mut watching {
        assert!(service.poll_ready(&mut Context::from_waker(waker)).is_pending());
        assert!(service.poll_ready(&mut Context::from_waker(waker)).is_pending());
    }
    handle.try_next().unwrap().answer(1);
    assert!(poll(&mut call).is_ready());
    let count = || woken.iter().map(|woken| woken.0.load(Relaxed)).sum::<u32>();
    assert_eq!(count(), 1);
    // one that was told and wants it no more, and some that look and do not call
    watching.remove(0);
    assert_eq!(count(), 2);
    for (index, (service, waker)) in watching.iter_mut().enumerate() {
        assert_eq!(woken[index + 1].0.load(Relaxed), 1, "told in turn");
        assert!(service.poll_ready(&mut Context::from_waker(waker)).is_ready());
    }
    // none is forgotten, none holds a permit
    assert_eq!(count(), 10);
}

type Plain = Pin<Box<dyn Future<Output = Result<u64, BoxError>>>>;

#[derive(Clone, Debug)]
enum Step {
    Come,
    /// The call with this index is polled.
    Poll(usize),
    /// It goes away.
    Leave(usize),
    /// One that was called is answered.
    Answer(usize),
    Retune(u32),
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Come),
        6 => (0..12_usize).prop_map(Step::Poll),
        3 => (0..12_usize).prop_map(Step::Leave),
        4 => (0..4_usize).prop_map(Step::Answer),
        1 => (1..4_u32).prop_map(Step::Retune),
        1 => Just(Step::Later),
    ]
}

proptest! {
    /// Whatever callers do, at whatever point they go away: never more are inside than there are permits, nobody who
    /// waits is forgotten, and in the end nothing is taken and nobody waits.
    #[test]
    fn permits_are_conserved_over_any_schedule(
        max in 1..4_u32,
        back_pressure in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let clock = HeldClock::new();
        let _installed = clock.install();
        let layer = if back_pressure { limit(max).back_pressure() } else { limit(max).wait(SECOND * 10).queue(6) };
        let (service, handle) = mock::<u64, u64, BoxError>();
        let service = layer.layer(service);
        let (mut highest, mut number) = (max, 0);
        let mut calls: VecDeque<(u64, Plain)> = VecDeque::new();
        let mut inside = Vec::new();
        let mut begun = 0;
        for step in steps {
            match step {
                Step::Come => {
                    number += 1;
                    let mut service = service.clone();
                    if service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready() {
                        calls.push_back((number, Box::pin(service.call(number))));
                    }
                }
                Step::Poll(index) => {
                    if let Some((_, call)) = calls.get_mut(index)
                        && poll(call).is_ready()
                    {
                        calls.remove(index);
                    }
                }
                Step::Leave(index) => drop(calls.remove(index)),
                Step::Answer(index) => {
                    if index < inside.len() {
                        let call: mesh_test::mock::Call<u64, u64, BoxError> = inside.remove(index);
                        let answer = *call.request();
                        call.answer(answer);
                    }
                }
                Step::Retune(max) => {
                    layer.handle().set_max(NonZeroU32::new(max).unwrap());
                    highest = highest.max(max);
                }
                Step::Later => clock.advance(SECOND),
            }
            while let Some(call) = handle.try_next() {
                begun += 1;
                inside.push(call);
            }
            inside.retain(|call| !call.is_abandoned());
            prop_assert!(layer.handle().in_flight() <= highest);
            prop_assert!(inside.len() as u32 <= layer.handle().in_flight());
            prop_assert!(back_pressure || layer.handle().waiting() <= 6);
        }
        // all that is left is served
        for _ in 0..1000 {
            inside.extend(handle.try_next());
            for call in inside.drain(..) {
                begun += 1;
                let answer = *call.request();
                call.answer(answer);
            }
            calls.retain_mut(|(_, call)| poll(call).is_pending());
        }
        prop_assert!(calls.is_empty(), "{} calls hang, {begun} were begun", calls.len());
        prop_assert_eq!((layer.handle().in_flight(), layer.handle().waiting(), clock.sleeping()), (0, 0, 0));
    }
}
