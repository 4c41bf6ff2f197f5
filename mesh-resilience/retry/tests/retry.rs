//! Exact counts of attempts for scripted outcomes, in virtual time.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{
    BoxError, GateLayer, Kind, Outcome, Refusal, Rejection,
    time::{self, sleep},
    units::Ratio,
};
use mesh_retry::{BackoffSettings, BudgetSettings, Condition, RetryLayer, RetrySettings};
use mesh_test::{HeldClock, Line, Spy, line, mock::mock};
use proptest::prelude::{prop, prop_assert_eq, proptest};
use std::{
    collections::BTreeMap,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn attempts(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

type Script = Arc<Mutex<Vec<Result<u32, BoxError>>>>;

/// A service that answers what the script says, and notes when it was called.
fn scripted(
    script: impl IntoIterator<Item = Result<u32, BoxError>>,
) -> (impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone, Arc<Mutex<Vec<time::Nanos>>>) {
    let mut script: Vec<_> = script.into_iter().collect();
    script.reverse();
    let (script, times): (Script, _) = (Arc::new(Mutex::new(script)), Arc::new(Mutex::new(Vec::new())));
    let noted = times.clone();
    let service = service_fn(move |_: u32| {
        noted.lock().unwrap().push(time::now());
        let next = script.lock().unwrap().pop();
        async move { next.unwrap_or(Err("no more".into())) }
    });
    (service, times)
}

fn error() -> Result<u32, BoxError> {
    Err("it failed".into())
}

fn refused(rejection: Rejection) -> Result<u32, BoxError> {
    Err(rejection.into())
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_until_it_succeeds_or_the_attempts_are_used_up() {
    for (most, fails, expected) in [(3, 0, 1), (3, 1, 2), (3, 2, 3), (3, 3, 3), (1, 1, 1), (1, 0, 1), (10, 9, 10)] {
        let (service, times) = scripted((0..fails).map(|_| error()).chain([Ok(7)]));
        let layer = RetryLayer::new().attempts(attempts(most)).results_only();
        let result = layer.layer(service).oneshot(1).await;
        assert_eq!(times.lock().unwrap().len(), expected, "{fails} of {most}");
        assert_eq!(result.is_ok(), fails < most, "{fails} of {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_are_within_the_backoff() {
    fastrand::seed(1);
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let (service, times) = scripted((0..8).map(|_| error()));
        let backoff = BackoffSettings { base: Duration::from_millis(100), max: Duration::from_millis(1600) };
        let layer = RetryLayer::new().attempts(attempts(8)).budget(None).backoff(backoff).results_only();
        layer.layer(service).oneshot(1).await.unwrap_err();
        let times = times.lock().unwrap();
        assert_eq!(times.len(), 8);
        for (retry, pair) in times.windows(2).enumerate() {
            let waited = pair[1].since(pair[0]);
            // tokio's timer is exact to a millisecond
            let most = Duration::from_millis((100 << retry).min(1600) + 2);
            assert!(waited <= most, "{retry}: {waited:?}");
            longest = longest.max(waited);
        }
    }
    assert!(longest > Duration::from_millis(1500), "the whole range is used: {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn our_own_refusals_are_not_repeated_unless_another_endpoint_may_be_tried() {
    for kind in [Kind::RateLimited, Kind::Saturated, Kind::CircuitOpen, Kind::Forbidden, Kind::NoEndpoint] {
        let (service, times) = scripted([refused(Rejection::new(kind)), Ok(7)]);
        let error = RetryLayer::new().results_only().layer(service).oneshot(1).await.unwrap_err();
        assert_eq!(error.rejection().unwrap().kind(), kind);
        assert_eq!(times.lock().unwrap().len(), 1);
    }
    let elsewhere = || refused(Rejection::new(Kind::CircuitOpen).elsewhere().retry_after(Duration::from_secs(9)));
    let (service, times) = scripted([elsewhere(), elsewhere(), Ok(7)]);
    let layer = RetryLayer::new().results_only();
    let before = (layer.handle().balance(), time::now());
    assert_eq!(layer.layer(service).oneshot(1).await.unwrap(), 7);
    assert_eq!(times.lock().unwrap().len(), 3);
    assert_eq!((layer.handle().balance(), time::now()), before, "at once, and it costs nothing");

    let (service, times) = scripted((0..9).map(|_| elsewhere()));
    RetryLayer::new().results_only().layer(service).oneshot(1).await.unwrap_err();
    assert_eq!(times.lock().unwrap().len(), 3, "the attempts bound it");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_further_in_blames_what_is_called() {
    let (service, times) = scripted([refused(Rejection::new(Kind::Timeout)), Ok(7)]);
    assert_eq!(RetryLayer::new().results_only().layer(service).oneshot(1).await.unwrap(), 7);
    assert_eq!(times.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_judged_a_failure_is_tried_again() {
    let (service, times) = scripted([Ok(500), Ok(200)]);
    let judge = |status: &u32| if *status >= 500 { Outcome::Failure } else { Outcome::Success };
    assert_eq!(RetryLayer::new().judge(judge).layer(service).oneshot(1).await.unwrap(), 200);
    assert_eq!(times.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_all_clones_together() {
    let budget = BudgetSettings { ratio: Ratio::from_percent(20).unwrap(), reserve: 1, ttl: Duration::from_secs(10) };
    let layer = RetryLayer::new().attempts(attempts(2)).budget(budget).results_only();
    let (service, times) = scripted((0..1000).map(|_| error()));
    let retry = layer.layer(service.clone());
    let another = layer.clone().layer(service);
    let start = time::now();
    for _ in 0..100 {
        retry.clone().oneshot(1).await.unwrap_err();
        another.clone().oneshot(1).await.unwrap_err();
    }
    let elapsed = time::now().since(start).as_millis() as usize;
    let retries = times.lock().unwrap().len() - 200;
    assert!(retries <= 40 + 1 + elapsed / 1000, "{retries} in {elapsed} ms");
    assert!(retries >= 40, "{retries}");
    assert_eq!(layer.handle().balance(), Some(0));

    // a reload of other settings leaves the balance as it is
    layer.handle().set_settings(RetrySettings::attempts(attempts(9)));
    assert_eq!(layer.handle().balance(), Some(0));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(layer.handle().balance(), Some(10));
}

fn line_layer() -> RetryLayer<mesh_retry::Spoken<Line>> {
    RetryLayer::new().on([Condition::ServerError]).methods(["place"]).protocol()
}

#[tokio::test(start_paused = true)]
async fn methods_and_conditions_of_a_protocol_that_is_not_http() {
    let failed = || Ok(line::Reply::new(line::FAILED));
    let io = || Err(line::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
    type Script = fn() -> Result<line::Reply, line::Error>;
    let cases: [(Script, &str, u64); 4] = [(failed, "place", 3), (failed, "pay", 1), (io, "place", 3), (io, "pay", 1)];
    for (answer, method, expected) in cases {
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        handle.answer_with(move |_| answer());
        let request = line::Request::new("orders", method);
        let _ = line_layer().layer(service).oneshot(request).await;
        assert_eq!(handle.calls(), expected, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline_and_none_is_waited_for_in_vain() {
    let request = |deadline: Duration| {
        let request = line::Request::new("orders", "place");
        request.context.limit_deadline(time::now().plus(deadline));
        request
    };
    let ask = async |deadline: Duration| {
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        handle.answer_with(|_| Ok(line::Reply::new(line::FAILED)));
        let backoff = BackoffSettings { base: Duration::from_secs(1), max: Duration::from_secs(1) };
        let layer =
            RetryLayer::new().on([Condition::ServerError]).methods(["*"]).backoff(backoff).attempts(attempts(9));
        let start = time::now();
        let result = layer.protocol::<Line>().layer(service).oneshot(request(deadline)).await;
        (result, handle.calls(), time::now().since(start))
    };
    // a wait that ended within the timer's last millisecond would be too late
    fastrand::seed(1);
    let (late, calls, _) = ask(Duration::ZERO).await;
    let refused = late.unwrap_err();
    assert_eq!((refused.rejection().unwrap().kind(), calls), (Kind::Timeout, 0));
    for _ in 0..20 {
        let deadline = Duration::from_millis(1500);
        let (reply, calls, elapsed) = ask(deadline).await;
        assert!(elapsed < deadline, "{elapsed:?}");
        assert_eq!(reply.unwrap().status, line::FAILED, "the last answer, not a refusal");
        assert!(calls < 9);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Dropped in every state: while an attempt is under way, while the next is waited for, while its service is not ready.
#[test]
fn a_call_dropped_at_any_await_leaves_nothing_behind() {
    for stop in 0..9 {
        let clock = HeldClock::new();
        let _installed = clock.install();
        let (above, below) = (Arc::new(Spy::default()), Arc::new(Spy::default()));
        let (service, handle) = mock::<line::Request, line::Reply, line::Error>();
        let mut service = ServiceBuilder::new()
            .layer(GateLayer::shared(above.clone()))
            .layer(line_layer())
            .layer(GateLayer::shared(below.clone()))
            .service(service);
        assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        let request = line::Request::new("orders", "place");
        let mut call = Box::pin(service.call(request));
        let mut outcomes = Vec::new();
        for step in 0..stop {
            if let Poll::Ready(reply) = poll(call.as_mut()) {
                outcomes.push(reply.unwrap().status);
                break;
            }
            match step % 3 {
                0 => handle.try_next().unwrap().answer(line::Reply::new(line::FAILED)),
                1 => {
                    assert_eq!(clock.sleeping(), 1);
                    handle.hold_ready();
                    clock.advance(Duration::from_secs(1));
                }
                _ => handle.release_ready(),
            }
        }
        drop((call, service));
        assert_eq!((clock.sleeping(), above.open(), below.open()), (0, 0, 0), "after {stop} polls");
        above.assert_each_ended_once("above");
        below.assert_each_ended_once("below");
        // an answer that is thrown away was a failure; after the third one the call is over
        let failed = below.outcomes().iter().filter(|outcome| **outcome == Outcome::Failure).count();
        assert_eq!(failed, (stop + 1) / 3, "after {stop} polls");
        assert_eq!(outcomes.len(), usize::from(stop == 8));
    }
}

#[test]
fn an_answer_at_once_sets_no_timer_and_clones_no_service() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let (service, handle) = mock::<u32, u32, BoxError>();
    handle.answer_with(Ok);
    let mut service = RetryLayer::new().results_only().layer(service);
    let instances = handle.instances();
    for _ in 0..10 {
        assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
        assert!(matches!(poll(Box::pin(service.call(1)).as_mut()), Poll::Ready(Ok(1))));
    }
    assert_eq!((clock.sleeping(), handle.instances()), (0, instances));
    assert_eq!(handle.unready_calls(), 0);
}

/// Further attempts are made with an instance that was polled ready, and an error of readiness counts as a failure.
#[tokio::test(start_paused = true)]
async fn readiness_is_kept_by_further_attempts() {
    let (service, handle) = mock::<u32, u32, BoxError>();
    let service = RetryLayer::new().results_only().layer(service);
    let call = tokio::spawn(service.oneshot(1));
    handle.next().await.fail("first".into());
    handle.fail_ready("not ready".into());
    handle.next().await.answer(7);
    assert_eq!(call.await.unwrap().unwrap(), 7);
    assert_eq!((handle.calls(), handle.unready_calls()), (2, 0));
}

/// What a scripted attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scripted {
    Good,
    Fails,
    /// A refusal of ours that another endpoint need not share.
    Elsewhere,
    /// One that would only be repeated.
    Refused,
}

impl Scripted {
    fn result(self) -> Result<u32, BoxError> {
        match self {
            Scripted::Good => Ok(1),
            Scripted::Fails => error(),
            Scripted::Elsewhere => refused(Rejection::new(Kind::Saturated).elsewhere()),
            Scripted::Refused => refused(Rejection::new(Kind::RateLimited)),
        }
    }
}

/// Lets time go on until the call is over.
fn finish<F: Future>(clock: &HeldClock, call: F) -> F::Output {
    let mut call = Box::pin(call);
    loop {
        if let Poll::Ready(output) = poll(call.as_mut()) {
            return output;
        }
        clock.advance(Duration::from_millis(250));
    }
}

proptest! {
    /// As many attempts as an obvious loop makes, within attempts and budget.
    #[test]
    fn scripted_outcomes(
        most in 1..6_u32,
        reserve in 1..4_u32,
        scripts in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec![Scripted::Good, Scripted::Fails, Scripted::Elsewhere, Scripted::Refused]), 6..7),
            1..6),
    ) {
        let clock = HeldClock::new();
        let _installed = clock.install();
        // no time goes by, so that the reserve is all there is
        let budget = BudgetSettings { ratio: Ratio::ZERO, reserve, ttl: Duration::from_secs(1) };
        let at_once = BackoffSettings { base: Duration::ZERO, max: Duration::ZERO };
        let layer = RetryLayer::new().attempts(attempts(most)).budget(budget).backoff(at_once).results_only();
        let mut left = reserve;
        for script in scripts {
            let mut expected = 0;
            for outcome in &script {
                expected += 1;
                let free = *outcome == Scripted::Elsewhere;
                if matches!(outcome, Scripted::Good | Scripted::Refused) || expected == most || !free && left == 0 {
                    break;
                }
                left -= u32::from(!free);
            }
            let (service, times) = scripted(script.iter().map(|outcome| outcome.result()));
            let result = finish(&clock, layer.layer(service).oneshot(1));
            prop_assert_eq!(times.lock().unwrap().len(), expected as usize);
            prop_assert_eq!(result.is_ok(), script[expected as usize - 1] == Scripted::Good);
            prop_assert_eq!(layer.handle().balance(), Some(left.into()));
        }
    }
}

/// Counts by name and the label `result`.
#[derive(Default)]
struct Recorder(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let result = key.labels().find(|label| label.key() == "result").map_or("", |label| label.value());
        let name = format!("{} {result}", key.name());
        metrics::Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[test]
fn retries_are_counted_by_what_they_came_to() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, || {
        let ask = |layer: &RetryLayer<mesh_retry::Results>, script: &[Scripted]| {
            let (service, _) = scripted(script.iter().map(|outcome| outcome.result()));
            let _ = finish(&clock, layer.layer(service).oneshot(1));
        };
        let layer = RetryLayer::new().results_only();
        ask(&layer, &[Scripted::Good]);
        ask(&layer, &[Scripted::Fails, Scripted::Good]);
        ask(&layer, &[Scripted::Fails, Scripted::Fails, Scripted::Fails]);
        let none = BudgetSettings { ratio: Ratio::ZERO, reserve: 0, ttl: Duration::ZERO };
        ask(&RetryLayer::new().budget(none).results_only(), &[Scripted::Fails]);
    });
    let counts = recorder.0.lock().unwrap();
    let count = |result: &str| counts[&format!("mesh_retries_total {result}")].load(Ordering::Relaxed);
    assert_eq!((count("success"), count("failure"), count("no_budget")), (1, 2, 1));
    assert_eq!((count("no_time"), count("no_replay")), (0, 0));
}
