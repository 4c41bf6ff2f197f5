//! Tickets: who is told what, in which order, on which way out.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    At, BoxError, Clock, End, Gate, GateLayer, Governed, Hears, Kind, Nanos, Outcome, Pipeline, Refusal, Rejection,
    Stage, Ticket, Watch, drop_as, gate_fn, time,
};
use mesh_test::{HeldClock, Http, Line, Messages, Spy, Step, TestBody, line, mock::mock};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use support::{Breaker, Tale, outcomes, poll};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

fn answering(reply: impl Fn() -> Result<line::Reply, line::Error> + Clone + Send + 'static) -> Stage<Line> {
    Stage::new(service_fn(move |_: line::Request| std::future::ready(reply())))
}

fn good() -> Stage<Line> {
    answering(|| Ok(line::Reply::new(line::OK)))
}

fn ask() -> line::Request {
    line::Request::new("orders", "place")
}

#[test]
fn a_ticket_is_sixteen_bytes() {
    assert_eq!(size_of::<Ticket>(), 16);
}

#[tokio::test]
async fn heads_and_ends_are_told_inside_out() {
    let tale = Tale::default();
    let both = || {
        Pipeline::<Line>::builder()
            .gate("a", tale.gate("a"))
            .gate("b", tale.gate("b"))
            .layer("identity", tower::layer::util::Identity::new())
            .gate("c", tale.gate("c"))
            .gate("d", tale.gate("d").hearing(Hears::End))
            .gate("e", tale.gate("e").hearing(Hears::Response))
            .build()
    };
    let mut stage = both().apply(good());
    let mut reply = stage.call(ask()).await.unwrap();
    let admitted = ["a admits", "b admits", "c admits", "d admits", "e admits"];
    let heads = ["e head", "e success", "c head", "b head", "a head"];
    assert_eq!(tale.look(), [&admitted[..], &heads[..]].concat());
    assert_eq!(mesh_core::Head::get(reply.head(), "x-last"), Some(&b"a"[..]));
    reply.guards().end_well();
    assert_eq!(tale.look(), ["d success", "c success", "b success", "a success"]);

    // a call that is given up
    let (service, _handle) = mock();
    let mut stage = both().apply(Stage::new(service));
    drop(stage.call(ask()));
    assert_eq!(tale.look()[5..], ["e cancelled", "d cancelled", "c cancelled", "b cancelled", "a cancelled"]);

    // a refusal further in is a head, and then the end
    let refusing = answering(|| Err(Rejection::new(Kind::NoEndpoint).into()));
    let mut stage = both().apply(refusing);
    assert!(stage.call(ask()).await.is_err());
    assert_eq!(
        tale.look()[5..],
        ["e head", "e rejected", "c head", "d rejected", "c rejected", "b head", "a head", "b rejected", "a rejected"]
    );

    // the same as static layers
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::new(tale.gate("a")))
        .layer(GateLayer::new(tale.gate("b")))
        .service(good());
    drop(service.call(ask()).await.unwrap());
    assert_eq!(tale.look()[2..], ["b head", "a head", "b cancelled", "a cancelled"]);
}

#[tokio::test]
async fn one_panics_the_others_are_told() {
    let tale = Tale::default();
    let pipeline = Pipeline::<Line>::builder()
        .gate("a", tale.gate("a"))
        .gate("b", tale.gate("b").panicking())
        .gate("c", tale.gate("c"))
        .build();
    let mut stage = pipeline.apply(good());
    let mut reply = stage.call(ask()).await.unwrap();
    reply.guards().end_well();
    assert_eq!(tale.look()[3..], ["c head", "b head", "a head", "c success", "b success", "a success"]);

    let mut service = ServiceBuilder::new()
        .layer(GateLayer::new(tale.gate("a")))
        .layer(GateLayer::new(tale.gate("b").panicking()))
        .layer(GateLayer::new(tale.gate("c")))
        .service(good());
    // told on the way of the call, its panic is the call's
    assert!(catch_unwind(AssertUnwindSafe(|| poll(pin!(service.call(ask()))))).is_err());
    assert_eq!(tale.look()[3..], ["c head", "b head", "b failure", "c failure", "a failure"]);
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::new(tale.gate("a")).results_only())
        .layer(GateLayer::new(tale.gate("b").panicking()).results_only())
        .service(service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(BoxError::from("zero")) }));
    for ask in [1, 0] {
        let mut call = pin!(service.ready().await.unwrap().call(ask));
        assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    }
    assert_eq!(tale.look()[2..], ["b success", "a failure", "a admits", "b admits", "b failure", "a failure"]);
}

#[test]
fn a_panic_in_a_panic() {
    let tale = Tale::default();
    let pipeline = Pipeline::<Line>::builder()
        .gate("a", tale.gate("a"))
        .gate("b", tale.gate("b").panicking())
        .gate("c", tale.gate("c"))
        .build();
    let (service, _handle) = mock();
    let mut stage = pipeline.apply(Stage::new(service));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _call = stage.call(ask());
        let _other = GateLayer::new(tale.gate("o").panicking()).results_only();
        panic!("while a call is under way");
    }));
    assert!(unwound.is_err());
    assert_eq!(tale.look()[3..], ["c failure", "b failure", "a failure"]);
}

#[test]
fn a_panic_below_is_a_failure_when_it_happens() {
    let tale = Tale::default();
    let (service, handle) = mock();
    let mut stage = Pipeline::<Line>::builder().gate("a", tale.gate("a")).build().apply(Stage::new(service));
    let mut call = Box::pin(stage.call(ask()));
    assert!(poll(call.as_mut()).is_pending());
    handle.try_next().unwrap().panic();
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    assert_eq!(tale.look(), ["a admits", "a failure"]);
    drop(call);
    assert_eq!(tale.look(), [""; 0]);
}

#[tokio::test]
async fn a_body_that_panics_is_a_failure() {
    let spy = GateLayer::new(Spy::default());
    let body = || http::Response::new(mesh_core::http::GovernedBody::new(TestBody::of([Step::data("x"), Step::Panic])));
    let leaf = service_fn(async |_: <Http as Messages>::Request| Ok::<_, <Http as Messages>::Error>(body()));
    let mut service = ServiceBuilder::new().layer(spy.clone()).service(leaf);
    let mut response = service.call(Http::request()).await.unwrap();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        Http::poll_end(&mut response, &mut cx)
    }));
    assert!(read.is_err());
    assert_eq!(spy.gate().outcomes(), [Outcome::Failure]);
}

/// Counts readings of the clock.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Clock for Counted {
    fn now(&self) -> Nanos {
        Nanos::from_nanos(1_000 + self.0.fetch_add(1, Relaxed))
    }
}

/// Asks the time at both ends and remembers it.
#[derive(Default)]
struct Latency {
    admitted: AtomicU64,
    ended: AtomicU64,
}

impl Watch for Latency {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.admitted.store(ticket.0, Relaxed);
        self.ended.store(end.at().now().as_nanos(), Relaxed);
    }
}

impl<R> Gate<R> for Latency {
    fn admit(&self, _: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        Ok(Some(Ticket(at.now().as_nanos(), 0)))
    }
}

#[tokio::test]
async fn a_run_reads_the_clock_once_at_each_end() {
    let gates: [Arc<Latency>; 3] = Default::default();
    let mut pipeline = Pipeline::<Line>::builder();
    for gate in &gates {
        pipeline = pipeline.made("latency", mesh_core::pipeline::Made::Gate(gate.clone()));
    }
    let mut stage = pipeline.build().apply(good());
    let request = ask();
    let counted = Counted::default();
    let before = time::set_clock(Some(Rc::new(counted.clone())));
    let call = stage.call(request);
    assert_eq!(counted.0.load(Relaxed), 1, "once for the run");
    let mut reply = call.await.unwrap();
    assert_eq!(counted.0.load(Relaxed), 1, "the head asks for no time");
    reply.guards().end_well();
    assert_eq!(counted.0.load(Relaxed), 2, "once for the end");
    time::set_clock(before);
    for gate in &gates {
        assert_eq!((gate.admitted.load(Relaxed), gate.ended.load(Relaxed)), (1_000, 1_001));
    }
}

#[tokio::test]
async fn nobody_asks_nobody_reads_the_clock() {
    let mut stage = Pipeline::<Line>::builder().gate("spy", Spy::default()).build().apply(good());
    let request = ask();
    let counted = Counted::default();
    let before = time::set_clock(Some(Rc::new(counted.clone())));
    drop(stage.call(request).await.unwrap());
    time::set_clock(before);
    assert_eq!(counted.0.load(Relaxed), 0);
}

#[tokio::test]
async fn a_refusal_bears_the_name_of_the_layer() {
    let refuse = || gate_fn(|_: &mut line::Request| Err(Rejection::new(Kind::CircuitOpen)));
    let open = |_: &mut line::Request| Ok(());
    for refusing in ["outer", "inner"] {
        let pipeline = match refusing {
            "outer" => Pipeline::<Line>::builder().gate("outer", refuse()).gate("inner", gate_fn(open)),
            _ => Pipeline::<Line>::builder().gate("outer", gate_fn(open)).gate("inner", refuse()),
        };
        let error = pipeline.build().apply(good()).call(ask()).await.unwrap_err();
        assert_eq!(error.rejection().unwrap().layer().as_str(), refusing);
    }
    let mut service = ServiceBuilder::new()
        .layer(GateLayer::new(gate_fn(open)).named("outer"))
        .layer(GateLayer::new(refuse()).named("inner"))
        .service(good());
    let error = service.call(ask()).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().layer().as_str(), "inner");
}

#[tokio::test]
async fn a_timeout_counts_below_a_breaker_and_above() {
    // below: it comes out as a refusal that blames what is called
    let breaker = GateLayer::new(Breaker::new(1));
    let slow = answering(|| Err(Rejection::new(Kind::Timeout).into()));
    let mut service = ServiceBuilder::new().layer(breaker.clone()).service(slow);
    assert!(service.call(ask()).await.is_err());
    assert!(breaker.gate().is_open());
    // above: it drops the call and says why
    let breaker = GateLayer::new(Breaker::new(2));
    let (slow, _handle) = mock::<line::Request, line::Reply, line::Error>();
    let mut service = ServiceBuilder::new().layer(breaker.clone()).service(slow);
    let call = service.ready().await.unwrap().call(ask());
    drop_as(Outcome::TimedOut, || drop(call));
    assert!(!breaker.gate().is_open());
    // whoever asked went away: nobody is to blame
    drop(service.ready().await.unwrap().call(ask()));
    assert!(!breaker.gate().is_open());
    let call = service.ready().await.unwrap().call(ask());
    drop_as(Outcome::TimedOut, || drop(call));
    assert!(breaker.gate().is_open());
    // a limiter that is full is no reason to open
    let breaker = GateLayer::new(Breaker::new(1));
    let full = answering(|| Err(Rejection::new(Kind::Saturated).into()));
    assert!(ServiceBuilder::new().layer(breaker.clone()).service(full).call(ask()).await.is_err());
    assert!(!breaker.gate().is_open());
}

#[tokio::test]
async fn an_answer_that_is_thrown_away() {
    let spy = GateLayer::new(Spy::default());
    let mut service =
        ServiceBuilder::new().layer(spy.clone()).service(answering(|| Ok(line::Reply::new(line::FAILED))));
    drop(service.call(ask()).await.unwrap());
    let mut service = ServiceBuilder::new().layer(spy.clone()).service(good());
    drop(service.call(ask()).await.unwrap());
    assert_eq!(spy.gate().outcomes(), [Outcome::Failure, Outcome::Cancelled]);
}

#[test]
fn a_panic_while_calls_are_dropped_for_a_reason() {
    let tale = Tale::default();
    let (service, _handle) = mock();
    let mut stage = Pipeline::<Line>::builder().gate("a", tale.gate("a")).build().apply(Stage::<Line>::new(service));
    let (first, second) = (stage.call(ask()), stage.call(ask()));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        drop_as(Outcome::TimedOut, || {
            drop(first);
            panic!("a drop that panics");
        });
    }));
    assert!(unwound.is_err());
    drop(second);
    assert_eq!(tale.look()[2..], outcomes(&[("a", Outcome::TimedOut), ("a", Outcome::Cancelled)]));
}

#[tokio::test]
async fn a_longest_hold_ends_before_the_body() {
    for always_ready in [false, true] {
        let clock = HeldClock::new();
        let _installed = clock.install();
        let tale = Tale::default();
        let (body, feed) = TestBody::fed();
        let (service, handle) = mock::<<Http as Messages>::Request, _, _>();
        let mut stage = Pipeline::<Http>::builder()
            .gate("a", tale.gate("a").holding(Duration::from_secs(5)).hearing(Hears::End))
            .gate("b", tale.gate("b").hearing(Hears::End))
            .build()
            .apply(Stage::new(service));
        let mut call = pin!(stage.call(Http::request()));
        assert!(poll(call.as_mut()).is_pending());
        let answer = http::Response::new(mesh_core::http::GovernedBody::new(body));
        handle.try_next().unwrap().answer(answer);
        let Poll::Ready(Ok(mut response)) = poll(call.as_mut()) else { panic!("answered") };
        let mut read = || {
            if always_ready {
                feed.feed(Step::data("x"));
            }
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            Http::poll_end(&mut response, &mut cx)
        };
        assert!(read().is_pending());
        clock.advance(Duration::from_millis(4999));
        assert!(read().is_pending());
        assert_eq!(tale.look(), ["a admits", "b admits"]);
        clock.advance(Duration::from_millis(1));
        if always_ready {
            // before any frame, not only where the body has none
            feed.feed(Step::data("y"));
        }
        assert!(read().is_pending());
        assert_eq!(tale.look(), ["a success"]);
        feed.end();
        assert!(read().is_ready());
        assert_eq!(tale.look(), ["b success"]);
        assert_eq!(clock.sleeping(), 0);
    }
}

#[tokio::test]
async fn a_hold_that_is_not_over_ends_with_the_body() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let tale = Tale::default();
    let held = tale.gate("a").holding(Duration::from_secs(5)).hearing(Hears::End);
    let mut service = ServiceBuilder::new().layer(GateLayer::new(held)).service(good());
    let mut reply = service.call(ask()).await.unwrap();
    reply.guards().end_well();
    drop(reply);
    assert_eq!(tale.look(), ["a admits", "a success"]);
    assert_eq!(clock.sleeping(), 0);
}

#[tokio::test]
async fn an_injected_fault_tells_its_code() {
    let spy = GateLayer::new(Spy::default());
    let fault = answering(|| Err(Rejection::fault(mesh_core::Answer::Code(mesh_core::Code::Http(418))).into()));
    let mut service = ServiceBuilder::new().layer(spy.clone()).service(fault);
    assert!(service.call(ask()).await.is_err());
    let end = spy.gate().ends()[0];
    assert_eq!(
        (end.outcome, end.code, end.refused),
        (Outcome::Rejected, mesh_core::Code::Http(418), Some(Kind::Fault))
    );
}
