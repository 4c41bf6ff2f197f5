//! Gates that have requests wait.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    At, Clock, End, Gate, GateLayer, Governed, Hears, Kind, Pause, PausingGate, Pipeline, Refusal, Rejection, Stage,
    Ticket, Watch,
    pipeline::{Made, PipelineBuilder},
    time::TokioClock,
};
use mesh_test::{Line, line, mock::mock};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use support::{Tale, poll};
use tower::{Layer, Service, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// What becomes of a request that has waited.
#[derive(Clone, Copy)]
enum Then {
    GoesOn,
    GoesOnWithTicket,
    Refused,
    Panics,
}

/// Has every request wait for a second.
struct Waits {
    tale: Tale,
    then: Then,
}

/// Tells that it was dropped.
struct Told(Tale);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.tell("the wait is over");
    }
}

impl Watch for Waits {
    fn hears(&self) -> Hears {
        Hears::HeadAndEnd
    }

    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.tale.tell(format!("waits {} {}", ticket.0, end.outcome.as_str()));
    }
}

impl<R> Gate<R> for Waits {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        self.tale.tell("waits");
        Ok(Some(Ticket(1, 2)))
    }
}

impl<R> PausingGate<R> for Waits {
    fn pause(&self, ticket: Ticket) -> Option<Pause> {
        assert_eq!(ticket, Ticket(1, 2));
        let (then, told) = (self.then, Told(self.tale.clone()));
        Some(Box::pin(async move {
            let _told = told;
            mesh_core::time::sleep(SECOND).await;
            match then {
                Then::GoesOn => Ok(None),
                Then::GoesOnWithTicket => Ok(Some(Ticket(3, 4))),
                Then::Refused => Err(Rejection::new(Kind::Fault)),
                Then::Panics => panic!("while it waits, as it was told"),
            }
        }))
    }
}

/// `a`, the waits, `b`.
fn waiting(tale: &Tale, waits: &[Then]) -> Pipeline<Line> {
    let add = |pipeline: PipelineBuilder<Line>, then: &Then| {
        pipeline.made("waits", Made::PausingGate(Arc::new(Waits { tale: tale.clone(), then: *then })))
    };
    let pipeline = waits.iter().fold(Pipeline::<Line>::builder().gate("a", tale.gate("a")), add);
    pipeline.gate("b", tale.gate("b")).build()
}

fn good() -> Stage<Line> {
    Stage::new(service_fn(|_: line::Request| std::future::ready(Ok(line::Reply::new(line::OK)))))
}

fn ask() -> line::Request {
    line::Request::new("orders", "place")
}

#[tokio::test(start_paused = true)]
async fn it_is_one_run_and_goes_on_where_it_stopped() {
    let tale = Tale::default();
    let pipeline = waiting(&tale, &[Then::GoesOn, Then::GoesOnWithTicket]);
    assert_eq!(pipeline.runs().len(), 1);
    let mut stage = pipeline.apply(good());
    let start = TokioClock.now();
    let mut call = pin!(stage.call(ask()));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(tale.look(), ["a admits", "waits"]);
    // another request on the same connection
    drop(stage.call(ask()));
    assert_eq!(tale.look(), ["a admits", "waits", "the wait is over", "a cancelled"]);

    let mut reply = call.await.unwrap();
    assert_eq!(TokioClock.now().since(start), 2 * SECOND);
    let heads = ["b head", "a head"];
    let admitted = ["the wait is over", "waits", "the wait is over", "b admits"];
    assert_eq!(tale.look(), [&admitted[..], &heads[..]].concat());
    reply.guards().end_well();
    assert_eq!(tale.look(), ["b success", "waits 3 success", "a success"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_after_it_waited_was_refused_by_that_gate() {
    let tale = Tale::default();
    let error = waiting(&tale, &[Then::Refused]).apply(good()).call(ask()).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Fault, "waits"));
    assert_eq!(tale.look()[2..], ["the wait is over", "a head", "a rejected"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_wait_ends_what_is_further_out() {
    let tale = Tale::default();
    let mut stage = waiting(&tale, &[Then::Panics]).apply(good());
    let mut call = Box::pin(stage.call(ask()));
    assert!(poll(call.as_mut()).is_pending());
    tokio::time::advance(SECOND).await;
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    assert_eq!(tale.look()[2..], ["the wait is over", "a failure"]);
}

/// What is below is called on an instance that is ready.
#[tokio::test(start_paused = true)]
async fn after_the_wait_the_service_may_be_waited_for() {
    let tale = Tale::default();
    let (service, handle) = mock();
    handle.scarce(1);
    handle.answer_with(|_| Ok(line::Reply::new(line::OK)));
    let mut stage = waiting(&tale, &[Then::GoesOn]).apply(Stage::new(service));
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(stage.call(ask()))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((handle.calls(), handle.unready_calls(), handle.free_permits()), (10, 0, 1));
}

/// Where nobody can have it wait, the ticket is like any other.
#[tokio::test]
async fn as_a_layer_it_admits_at_once() {
    let tale = Tale::default();
    let layer = GateLayer::new(Waits { tale: tale.clone(), then: Then::Refused });
    let mut service = layer.layer(good());
    let Poll::Ready(Ok(mut reply)) = poll(pin!(service.call(ask()))) else { panic!("it waits") };
    reply.guards().end_well();
    assert_eq!(tale.look(), ["waits", "waits 1 success"]);
}
