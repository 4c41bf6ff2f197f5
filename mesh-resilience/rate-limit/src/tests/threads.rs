//! Several threads with the real clock. What is asserted holds for any schedule; the yields make bad ones likely.

use super::*;
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

const THREADS: u64 = 4;

/// Runs `work(thread, clock)` on all threads at once; all that they return, in order.
fn together(work: impl Fn(u64, &dyn Fn() -> u64) -> Vec<u64> + Sync) -> Vec<u64> {
    let barrier = Barrier::new(THREADS as usize);
    let start = Instant::now();
    let clock = || start.elapsed().as_nanos() as u64;
    let mut times: Vec<u64> = thread::scope(|scope| {
        let (barrier, clock, work) = (&barrier, &clock, &work);
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn(move || {
                    barrier.wait();
                    work(i, clock)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    times.sort_unstable();
    times
}

/// Ten million decisions, and every window of those that admit.
#[test]
fn no_window_holds_more_than_the_quota() {
    let quota = per_second(200_000, 50);
    let limiter = Gcra::new(Some(quota));
    let times = together(|_, clock| {
        let mut times = Vec::new();
        for _ in 0..10_000_000 / THREADS {
            let now = clock();
            if admitted(&limiter, now) {
                times.push(now);
            }
        }
        times
    });
    assert!(times.len() >= 50);
    audit(&times, quota);
}

/// The scheduler takes the core away where it hurts: after the clock was read, and before the result is stored.
#[test]
fn a_late_thread_admits_nothing_extra() {
    let quota = per_second(500_000, 20);
    let limiter = Gcra::new(Some(quota));
    let times = together(|i, clock| {
        let (mut times, mut seed) = (Vec::new(), i + 1);
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..30_000 {
            let now = clock();
            if random() % 4 == 0 {
                thread::yield_now();
            }
            let lose_core = random() % 4 == 0;
            let decision = limiter.check_by(
                1,
                || at(now),
                || {
                    if lose_core {
                        thread::yield_now();
                    }
                },
            );
            if matches!(decision, Decision::Admitted(_)) {
                times.push(now);
            }
        }
        times
    });
    audit(&times, quota);
}

/// Forced, and not left to the scheduler: again and again one thread is held after it has read the clock, until the
/// others have used up its moment many times over; then it goes on, with a stamp that is long out of date.
#[test]
fn a_thread_that_is_held_admits_nothing_extra() {
    const DECISIONS: u64 = 200_000;
    const HOLD_FOR: u64 = 200;
    let quota = per_second(500_000, 20);
    let limiter = Gcra::new(Some(quota));
    let (decided, holding, held) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let times = together(|_, clock| {
        let mut times = Vec::new();
        for round in 0..DECISIONS / THREADS {
            let now = clock();
            let hold = || {
                // one at a time, so that there is always somebody to go on; the last ones are not waited for
                if round % 16 == 0 && !holding.swap(true, SeqCst) {
                    let until = decided.load(SeqCst) + HOLD_FOR;
                    while decided.load(SeqCst) < until.min(DECISIONS - DECISIONS / THREADS) {
                        thread::yield_now();
                    }
                    held.fetch_add(1, SeqCst);
                    holding.store(false, SeqCst);
                }
            };
            if matches!(limiter.check_by(1, || at(now), hold), Decision::Admitted(_)) {
                times.push(now);
            }
            decided.fetch_add(1, SeqCst);
        }
        times
    });
    assert!(held.load(SeqCst) > 0 && times.len() >= 20);
    audit(&times, quota);
}

/// By the time of a bystander too: from before the first reading to after the last store.
#[test]
fn the_whole_run_stays_within_the_quota() {
    let quota = per_second(1_000_000, 10);
    let limiter = Gcra::new(Some(quota));
    let start = Instant::now();
    let times = together(|_, clock| (0..50_000).map(|_| clock()).filter(|&now| admitted(&limiter, now)).collect());
    let ideal = start.elapsed().as_nanos() / 1000 + 10;
    assert!(times.len() as u128 <= ideal, "{} of {ideal}", times.len());
}

/// At one moment, whatever the threads do: exactly the largest burst, while somebody changes the quota all the time.
#[test]
fn changes_under_load_neither_lose_nor_double_an_admission() {
    const NOW: u64 = 77 * SECOND;
    let quotas = [per_second(1, 5_000), per_second(999_999_937, 5_000), per_second(600_000_000, 5_000)];
    let limiter = Gcra::new(Some(quotas[0]));
    let times = together(|i, _| {
        if i == 0 {
            for round in 0..3_000 {
                limiter.set_quota(Some(quotas[round % quotas.len()]), at(NOW));
                thread::yield_now();
            }
            return Vec::new();
        }
        (0..20_000).filter(|_| admitted(&limiter, NOW)).map(|_| NOW).collect()
    });
    assert_eq!(times.len() as u32 + limiter.available(at(NOW)), 5_000);
}

/// With time under control, a million decisions: nothing too much, and next to nothing too little.
#[test]
fn a_saturated_limiter_gives_the_whole_quota() {
    let quota = per_second(123_457, 17);
    let limiter = Gcra::new(Some(quota));
    let (start, mut now, mut seed) = (SECOND, SECOND, 9u64);
    let mut times = Vec::new();
    for _ in 0..1_000_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now += (seed >> 33) % 2_000;
        if admitted(&limiter, now) {
            times.push(now);
        }
    }
    audit(&times, quota);
    let ideal = 17.0 + (now - start) as f64 * 123_457e-9;
    assert!(times.len() as f64 >= ideal * 0.999, "{} of {ideal}", times.len());
}
