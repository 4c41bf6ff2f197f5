//! Calls that are under way on one connection: polled when they are woken, by the task of the connection. Their places are
//! used again, so that a call costs no allocation once a connection has had as many at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Futures, each with what is known of it.
pub(super) struct InFlight<F, T> {
    places: Vec<Place<F, T>>,
    free: Vec<u32>,
    ready: Arc<Ready>,
}

struct Place<F, T> {
    future: Pin<Box<Option<F>>>,
    known: Option<T>,
    signal: Arc<Signal>,
    waker: Waker,
}

/// Places to be polled, and the task that does.
#[derive(Default)]
struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    places: Vec<u32>,
    task: Option<Waker>,
}

/// Puts one place into the queue.
struct Signal {
    place: u32,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, AcqRel) {
            return;
        }
        let task = {
            let mut queue = self.ready.lock();
            queue.places.push(self.place);
            queue.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future, T> InFlight<F, T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), ready: Arc::default() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds one, to be polled soon.
    pub(super) fn push(&mut self, future: F, known: T) {
        let place = match self.free.pop() {
            Some(place) => {
                let there = &mut self.places[place as usize];
                there.future.set(Some(future));
                there.known = Some(known);
                place
            }
            None => {
                let place = self.places.len() as u32;
                let signal = Arc::new(Signal { place, is_queued: AtomicBool::new(false), ready: self.ready.clone() });
                let waker = signal.clone().into();
                self.places.push(Place { future: Box::pin(Some(future)), known: Some(known), signal, waker });
                place
            }
        };
        // whoever adds it polls on: nobody has to be woken
        let signal = &self.places[place as usize].signal;
        if !signal.is_queued.swap(true, AcqRel) {
            self.ready.lock().places.push(place);
        }
    }

    /// The next that is done. Pending: none is, and the task is woken when one may be.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<(T, F::Output)> {
        loop {
            let place = {
                let mut queue = self.ready.lock();
                let Some(place) = queue.places.pop() else {
                    match &mut queue.task {
                        Some(task) => task.clone_from(cx.waker()),
                        task => *task = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                };
                place
            };
            let there = &mut self.places[place as usize];
            there.signal.is_queued.store(false, Release);
            // one that was given up may still be woken
            let Some(future) = there.future.as_mut().as_pin_mut() else { continue };
            if let Poll::Ready(output) = future.poll(&mut Context::from_waker(&there.waker)) {
                there.future.set(None);
                self.free.push(place);
                if let Some(known) = there.known.take() {
                    return Poll::Ready((known, output));
                }
            }
        }
    }

    /// What is known of each.
    pub(super) fn known(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.known.as_ref())
    }

    /// Gives up one of which this is true: its future is dropped within `drop`.
    pub(super) fn give_up(&mut self, which: impl Fn(&T) -> bool, drop: impl FnOnce(&mut dyn FnMut())) -> Option<T> {
        let place = self.places.iter().position(|place| place.known.as_ref().is_some_and(&which))?;
        let there = &mut self.places[place];
        drop(&mut || there.future.set(None));
        self.free.push(place as u32);
        there.known.take()
    }
}
