//! Every interleaving of two or three threads, under loom: the same source as the crate's, over loom's parts. Compiled
//! a second time here rather than by `--cfg loom`, which would reach the rest of the tree; so `cargo test` runs it.

#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
#[path = "../permits.rs"]
mod permits;

mod sync {
    pub(super) use loom::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    };
    pub(super) use std::sync::PoisonError;
}

use self::permits::{Permits, Watcher};
use loom::{sync::Arc, thread};
use std::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    task::{Wake, Waker},
};

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn never_more_than_there_are() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        let inside = std::sync::Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (permits, inside) = (permits.clone(), inside.clone());
                thread::spawn(move || {
                    if permits.try_take() {
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                        permits.give_back();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((permits.taken(), permits.waiting()), (0, 0));
    });
}

#[test]
fn a_permit_given_back_reaches_the_one_who_waits() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.try_take());
        let giver = {
            let permits = permits.clone();
            thread::spawn(move || permits.give_back())
        };
        let woken = std::sync::Arc::new(Woken::default());
        let mut waiter = Permits::wait(&permits, 1).unwrap();
        let at_once = waiter.poll(&Waker::from(woken.clone()));
        giver.join().unwrap();
        assert!(at_once || woken.0.load(SeqCst) == 1);
        assert!(at_once || waiter.poll(Waker::noop()));
        permits.give_back();
        drop(waiter);
        assert_eq!((permits.taken(), permits.waiting()), (0, 0));
    });
}

#[test]
fn one_who_gives_up_while_it_is_served_leaves_the_permit_to_the_next() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.try_take());
        let (first, mut second) = (Permits::wait(&permits, 2).unwrap(), Permits::wait(&permits, 2).unwrap());
        let giver = {
            let permits = permits.clone();
            thread::spawn(move || permits.give_back())
        };
        let quitter = thread::spawn(move || drop(first));
        giver.join().unwrap();
        quitter.join().unwrap();
        assert!(second.poll(Waker::noop()));
        permits.give_back();
        drop(second);
        assert_eq!((permits.taken(), permits.waiting()), (0, 0));
    });
}

#[test]
fn whoever_watches_learns_of_a_free_permit() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.try_take());
        let giver = {
            let permits = permits.clone();
            thread::spawn(move || permits.give_back())
        };
        let woken = std::sync::Arc::new(Woken::default());
        let mut watcher = Watcher::new(permits.clone());
        let is_free = watcher.poll(&Waker::from(woken.clone()));
        giver.join().unwrap();
        assert!(is_free || woken.0.load(SeqCst) == 1);
        assert!(watcher.poll(Waker::noop()));
        assert!(permits.try_take());
        assert_eq!((permits.taken(), permits.waiting()), (1, 0));
    });
}

/// One is told, and goes away: the other is not forgotten.
#[test]
fn one_who_watches_and_goes_away_leaves_the_news_to_the_next() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.try_take());
        let woken = std::sync::Arc::new(Woken::default());
        let (mut first, mut second) = (Watcher::new(permits.clone()), Watcher::new(permits.clone()));
        assert!(!first.poll(Waker::noop()));
        assert!(!second.poll(&Waker::from(woken.clone())));
        let giver = {
            let permits = permits.clone();
            thread::spawn(move || permits.give_back())
        };
        let quitter = thread::spawn(move || drop(first));
        giver.join().unwrap();
        quitter.join().unwrap();
        assert_eq!(woken.0.load(SeqCst), 1);
        assert!(second.poll(Waker::noop()));
    });
}

#[test]
fn more_permits_reach_the_one_who_waits() {
    explore(|| {
        let permits = Arc::new(Permits::new(1));
        assert!(permits.try_take());
        let operator = {
            let permits = permits.clone();
            thread::spawn(move || permits.set_max(2))
        };
        let woken = std::sync::Arc::new(Woken::default());
        let mut waiter = Permits::wait(&permits, 1).unwrap();
        let at_once = waiter.poll(&Waker::from(woken.clone()));
        operator.join().unwrap();
        assert!(at_once || woken.0.load(SeqCst) == 1);
        assert!(at_once || waiter.poll(Waker::noop()));
        assert_eq!((permits.taken(), permits.waiting()), (2, 0));
    });
}
