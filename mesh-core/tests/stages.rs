//! Stages: always ready, on the instance that was polled; and the worker's table of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    Kind, Pipeline, Refusal, Stage,
    pipeline::{Made, StageHandle, StageRef, sweep},
};
use mesh_test::{Line, Spy, line, mock::mock};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use support::poll;
use tower::{Service, service_fn};

type Call = mesh_test::mock::Call<line::Request, line::Reply, line::Error>;
type Handle = mesh_test::mock::Handle<line::Request, line::Reply, line::Error>;

fn ask() -> line::Request {
    line::Request::new("orders", "place")
}

fn ok() -> line::Reply {
    line::Reply::new(line::OK)
}

fn mocked() -> (Stage<Line>, Handle) {
    let (service, handle) = mock();
    (Stage::new(service), handle)
}

fn call(handle: &Handle) -> Call {
    handle.try_next().expect("the service was called")
}

#[tokio::test]
async fn the_wait_belongs_to_the_request() {
    let spy = Arc::new(Spy::default());
    let (service, handle) = mock();
    let pipeline = Pipeline::<Line>::builder().made("spy", Made::Gate(spy.clone())).build();
    let mut stage = pipeline.apply(Stage::new(service));
    handle.hold_ready();
    let mut waiting = pin!(stage.call(ask()));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!((spy.open(), handle.calls()), (1, 0), "the ticket sees the wait");
    handle.release_ready();
    assert!(poll(waiting.as_mut()).is_pending());
    call(&handle).answer(ok());
    assert!(poll(waiting.as_mut()).is_ready());
    assert_eq!(handle.unready_calls(), 0);
}

#[tokio::test]
async fn ready_at_once_nothing_is_cloned() {
    let (mut stage, handle) = mocked();
    handle.answer_with(|_| Ok(ok()));
    let instances = handle.instances();
    for _ in 0..3 {
        stage.call(ask()).await.unwrap();
    }
    assert_eq!((handle.instances(), handle.unready_calls()), (instances, 0));
}

#[tokio::test]
async fn a_refusal_of_readiness_is_the_call_s_error() {
    let spy = Arc::new(Spy::default());
    let (service, handle) = mock();
    let pipeline = Pipeline::<Line>::builder().made("spy", Made::Gate(spy.clone())).build();
    let mut stage = pipeline.apply(Stage::new(service));
    handle.fail_ready(mesh_core::Rejection::new(Kind::PoolFull).into());
    let error = stage.call(ask()).await.unwrap_err();
    assert_eq!(error.rejection().unwrap().kind(), Kind::PoolFull);
    assert_eq!(spy.ends()[0].refused, Some(Kind::PoolFull));
}

#[tokio::test]
async fn the_polled_instance_is_taken_and_no_permit_is_stranded() {
    let (mut stage, handle) = mocked();
    handle.scarce(1);
    let mut first = Box::pin(stage.call(ask()));
    assert!(poll(first.as_mut()).is_pending());
    let (mut a, mut b, mut c) = (Box::pin(stage.call(ask())), Box::pin(stage.call(ask())), Box::pin(stage.call(ask())));
    for waiting in [&mut a, &mut b, &mut c] {
        assert!(poll(waiting.as_mut()).is_pending());
    }
    assert_eq!(handle.calls(), 1);
    // the one that would be next is reset, as an HTTP/2 stream may be
    drop(a);
    call(&handle).answer(ok());
    assert!(poll(first.as_mut()).is_ready());
    drop(first);
    for mut waiting in [b, c] {
        assert!(poll(waiting.as_mut()).is_pending());
        call(&handle).answer(ok());
        assert!(poll(waiting.as_mut()).is_ready());
    }
    assert_eq!((handle.free_permits(), handle.unready_calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn many_streams_over_a_foreign_limit() {
    let pipeline = Pipeline::<Line>::builder()
        .made("limit", Made::Layer(mesh_core::pipeline::foreign(tower::limit::ConcurrencyLimitLayer::new(2))))
        .build();
    let leaf = service_fn(async |_: line::Request| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(ok())
    });
    let mut connection = pipeline.apply(Stage::new(leaf));
    let mut streams = Vec::new();
    for number in 0..40 {
        let stream = tokio::spawn(connection.call(ask()));
        if number % 3 == 0 {
            tokio::task::yield_now().await;
            stream.abort();
        } else {
            streams.push(stream);
        }
    }
    for stream in streams {
        tokio::time::timeout(Duration::from_secs(10), stream).await.expect("no stream hangs").unwrap().unwrap();
    }
}

#[test]
fn a_panic_in_call_leaves_the_stage_usable() {
    let spy = Arc::new(Spy::default());
    let (service, handle) = mock();
    let pipeline = Pipeline::<Line>::builder().made("spy", Made::Gate(spy.clone())).build();
    let mut stage = pipeline.apply(Stage::new(service));
    handle.panic_on_call();
    assert!(catch_unwind(AssertUnwindSafe(|| stage.call(ask()))).is_err());
    spy.assert_each_ended_once("a panic in call");
    handle.answer_with(|_| Ok(ok()));
    assert!(matches!(poll(pin!(stage.call(ask()))), Poll::Ready(Ok(_))));
}

/// A stage that counts how often it is applied, and shows when its instances are dropped.
fn counted(applied: &Arc<AtomicU32>, alive: &Arc<()>) -> StageHandle<Line> {
    let (applied, alive) = (applied.clone(), Arc::downgrade(alive));
    StageHandle::new(move || {
        applied.fetch_add(1, Relaxed);
        let alive = alive.upgrade();
        Stage::new(service_fn(move |_: line::Request| {
            let _alive = alive.clone();
            std::future::ready(Ok(ok()))
        }))
    })
}

#[test]
fn a_stage_is_applied_once_per_worker() {
    let (applied, alive) = (Arc::<AtomicU32>::default(), Arc::new(()));
    let handle = counted(&applied, &alive);
    let stage = handle.stage();
    let work = || {
        for _ in 0..3 {
            assert!(matches!(poll(pin!(stage.try_call(ask()).unwrap())), Poll::Ready(Ok(_))));
        }
    };
    assert_eq!(applied.load(Relaxed), 0, "not before its first use");
    work();
    assert_eq!(applied.load(Relaxed), 1);
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    assert_eq!(applied.load(Relaxed), 3);
}

#[test]
fn a_reference_is_two_integers() {
    fn anywhere<T: Copy + Send + Sync + 'static>() {}
    anywhere::<StageRef<Line>>();
    assert_eq!(size_of::<StageRef<Line>>(), 8);
}

#[test]
fn a_dropped_stage_is_gone_and_swept() {
    let (applied, alive) = (Arc::<AtomicU32>::default(), Arc::new(()));
    let handle = counted(&applied, &alive);
    let mut stage = handle.stage();
    drop(poll(pin!(stage.try_call(ask()).unwrap())));
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(handle);
    sweep();
    assert_eq!(Arc::strong_count(&alive), 1, "this worker's instance is dropped");
    assert_eq!(stage.try_call(ask()).unwrap_err().method, "place", "the request comes back");
    let Poll::Ready(Err(error)) = poll(pin!(stage.call(ask()))) else { panic!("refused") };
    assert_eq!(error.rejection().unwrap().kind(), Kind::NoEndpoint);
    assert_eq!(applied.load(Relaxed), 1, "a stage that is gone is not applied again");
}

#[test]
fn a_place_that_is_used_again_is_another_stage() {
    let (applied, alive) = (Arc::<AtomicU32>::default(), Arc::new(()));
    let first = counted(&applied, &alive);
    let old = first.stage();
    drop(poll(pin!(old.try_call(ask()).unwrap())));
    drop(first);
    // the place is free: before long it is given out again
    let second: Vec<_> = (0..64).map(|_| counted(&applied, &alive)).collect();
    for handle in &second {
        assert_ne!(handle.stage(), old);
        assert!(matches!(poll(pin!(handle.stage().try_call(ask()).unwrap())), Poll::Ready(Ok(_))));
    }
    sweep();
    assert!(old.try_call(ask()).is_err());
    assert_eq!(applied.load(Relaxed), 65);
}

/// A service that calls its own stage once more, as a fallback to its own cluster would.
#[test]
fn a_stage_may_be_called_inside_its_own_call() {
    static OWN: Mutex<Option<StageRef<Line>>> = Mutex::new(None);
    let applied = Arc::<AtomicU32>::default();
    let counted = applied.clone();
    let handle = StageHandle::new(move || {
        counted.fetch_add(1, Relaxed);
        Stage::<Line>::new(service_fn(|request: line::Request| {
            let again = request.arguments.is_empty().then(|| {
                let own = OWN.lock().unwrap().expect("set");
                own.try_call(ask().with_arguments("inner")).expect("there")
            });
            async move {
                match again {
                    Some(inner) => inner.await,
                    None => Ok(line::Reply::new(line::OK).with_result(&request.arguments)),
                }
            }
        }))
    });
    *OWN.lock().unwrap() = Some(handle.stage());
    for _ in 0..3 {
        let Poll::Ready(Ok(reply)) = poll(pin!(handle.stage().try_call(ask()).unwrap())) else { panic!("answered") };
        assert_eq!(reply.result, "inner");
    }
    assert!(applied.load(Relaxed) <= 1 + 3);
}

#[test]
fn a_stage_that_leaves_during_its_own_call_is_swept_later() {
    let alive = Arc::new(());
    let slot = Arc::new(Mutex::new(None::<StageHandle<Line>>));
    let (inner, kept) = (slot.clone(), alive.clone());
    let handle = StageHandle::new(move || {
        let (inner, kept) = (inner.clone(), kept.clone());
        Stage::new(service_fn(move |_: line::Request| {
            let _kept = kept.clone();
            // the configuration changes, and the worker sweeps, while the call is made
            drop(inner.lock().unwrap().take());
            sweep();
            std::future::ready(Ok(ok()))
        }))
    });
    let stage = handle.stage();
    *slot.lock().unwrap() = Some(handle);
    assert!(matches!(poll(pin!(stage.try_call(ask()).unwrap())), Poll::Ready(Ok(_))));
    sweep();
    assert_eq!(Arc::strong_count(&alive), 1, "no instance is left behind");
}

#[test]
fn a_stage_that_panics_when_called_is_applied_anew() {
    let applied = Arc::<AtomicU32>::default();
    let counted = applied.clone();
    let handle = StageHandle::new(move || {
        let first = counted.fetch_add(1, Relaxed) == 0;
        Stage::<Line>::new(service_fn(move |_: line::Request| {
            assert!(!first, "in call");
            std::future::ready(Ok(ok()))
        }))
    });
    let stage = handle.stage();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(stage.try_call(ask())))).is_err());
    assert!(matches!(poll(pin!(stage.try_call(ask()).unwrap())), Poll::Ready(Ok(_))));
    assert_eq!(applied.load(Relaxed), 2);
}

#[test]
fn stages_that_own_stages() {
    let alive = Arc::new(());
    let (applied, kept) = (Arc::<AtomicU32>::default(), alive.clone());
    let below = counted(&applied, &kept);
    drop(kept);
    let stage = below.stage();
    let outer = StageHandle::<Line>::new(move || {
        let _ = &below;
        Stage::new(stage)
    });
    let reference = outer.stage();
    assert!(matches!(poll(pin!(reference.try_call(ask()).unwrap())), Poll::Ready(Ok(_))));
    drop(outer);
    sweep();
    assert!(reference.try_call(ask()).is_err() && stage.try_call(ask()).is_err());
    assert_eq!(Arc::strong_count(&alive), 1);
}
