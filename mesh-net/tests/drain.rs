//! Drains, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mesh_net::{Drain, Guard, Watch};
use tokio::time::{Instant, sleep, timeout};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn everything_crosses_threads() {
    fn check<T: Send + Sync>() {}
    check::<Drain>();
    check::<Watch>();
    check::<Guard>();
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_before_the_start() {
    let drain = Drain::new();
    let watch = drain.watch();
    assert!(!watch.is_draining());
    assert_eq!(watch.deadline(), None);
    assert!(timeout(TIMEOUT, watch.signaled()).await.is_err());
    assert!(timeout(TIMEOUT, watch.expired()).await.is_err());
    assert!(timeout(TIMEOUT, drain.finished()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn all_watches_hear_the_start_early_and_late() {
    let drain = Drain::new();
    let early: Vec<_> = (0..10)
        .map(|_| {
            let watch = drain.watch();
            tokio::spawn(async move { watch.signaled().await })
        })
        .collect();
    tokio::task::yield_now().await;
    let start = Instant::now();
    assert!(drain.start(TIMEOUT));
    for watch in early {
        watch.await.unwrap();
    }
    let late = drain.watch();
    late.signaled().await;
    assert_eq!(late.deadline(), Some(start + TIMEOUT));
    assert_eq!(start.elapsed(), Duration::ZERO);
    late.expired().await;
    assert_eq!(start.elapsed().as_secs(), TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn it_is_finished_when_the_last_guard_goes() {
    let drain = Drain::new();
    let watch = drain.watch();
    for seconds in 1..=3 {
        let guard = watch.guard();
        tokio::spawn(async move {
            guard.signaled().await;
            sleep(Duration::from_secs(seconds)).await;
        });
    }
    assert_eq!(drain.live(), 3);
    let start = Instant::now();
    drain.start(TIMEOUT);
    assert_eq!(drain.finished().await, 0);
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_guards_it_is_finished_at_once() {
    let drain = Drain::new();
    drop(drain.watch().guard());
    let start = Instant::now();
    drain.start(TIMEOUT);
    assert_eq!(drain.finished().await, 0);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_and_tells_what_is_left() {
    let drain = Drain::new();
    let _held = (drain.watch().guard(), drain.watch().guard());
    let start = Instant::now();
    drain.start(TIMEOUT);
    assert_eq!(drain.finished().await, 2);
    assert_eq!(start.elapsed().as_secs(), TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn only_the_first_start_counts() {
    let drain = Drain::new();
    let _held = drain.watch().guard();
    let start = Instant::now();
    assert!(drain.start(TIMEOUT));
    assert!(!drain.clone().start(Duration::ZERO));
    drain.finished().await;
    assert_eq!(start.elapsed().as_secs(), TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_end_is_allowed() {
    let drain = Drain::new();
    let guard = drain.watch().guard();
    drain.start(Duration::MAX);
    tokio::spawn(async move {
        sleep(TIMEOUT).await;
        drop(guard);
    });
    assert_eq!(drain.finished().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_guard() {
    let drain = Drain::new();
    let guard = drain.watch().guard();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("a connection's task");
    }));
    assert!(panicked.is_err());
    assert_eq!(drain.live(), 0);
}

#[test]
fn guards_of_many_threads_are_all_counted() {
    let drain = Drain::new();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let guards: Vec<Guard> = (0..100).map(|_| drain.watch().guard()).collect();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for guard in guards {
                        guard.signaled().await;
                    }
                });
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    drain.start(Duration::from_secs(3600));
    assert_eq!(runtime.block_on(drain.finished()), 0);
    for worker in workers {
        worker.join().unwrap();
    }
}
