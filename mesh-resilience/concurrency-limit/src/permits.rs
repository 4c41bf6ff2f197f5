//! The decision core: so many permits, and a queue of those who wait for one. No time, no I/O.

use super::sync::{
    Arc, AtomicU32, AtomicU64, Mutex, MutexGuard,
    Ordering::{AcqRel, Acquire, Relaxed},
    PoisonError,
};
use std::{collections::VecDeque, task::Waker};

/// How many may run at once, how many do, and who waits.
///
/// One word holds both counts, so that a permit is taken past nobody who waits, and whoever gives one back knows
/// whether somebody does. The lock is only taken while somebody waits.
#[derive(Debug)]
pub(crate) struct Permits {
    counts: Padded,
    max: AtomicU32,
    queue: Mutex<Queue>,
}

/// On cache lines of its own: it is written by every call.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

/// Low half: permits taken. High half: how many wait.
#[derive(Clone, Copy)]
struct Counts(u64);

const ONE_WAITING: u64 = 1 << 32;

impl Counts {
    fn taken(self) -> u32 {
        self.0 as u32
    }

    fn waiting(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn is_free(self, max: u32) -> bool {
        self.waiting() == 0 && self.taken() < max
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// First come, first served.
    waiting: VecDeque<Arc<Mutex<Place>>>,
    /// Who wants to know when a permit is free, without a claim to it.
    watching: Vec<Waker>,
}

/// A place in the queue.
#[derive(Debug)]
enum Place {
    Waiting(Option<Waker>),
    /// The permit is this place's.
    Granted,
    /// It was taken up, or given up.
    Over,
}

/// Somebody who waits. Dropped, it leaves the queue, and gives back a permit that it had been granted meanwhile.
#[derive(Debug)]
pub(crate) struct Waiter {
    permits: Arc<Permits>,
    place: Arc<Mutex<Place>>,
}

impl Permits {
    pub(crate) fn new(max: u32) -> Self {
        Self { counts: Padded(AtomicU64::new(0)), max: AtomicU32::new(max), queue: Mutex::new(Queue::default()) }
    }

    pub(crate) fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    pub(crate) fn taken(&self) -> u32 {
        self.counts().taken()
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.counts().waiting()
    }

    /// Takes a permit, unless there is none or somebody has waited for it.
    #[inline]
    pub(crate) fn try_take(&self) -> bool {
        let max = self.max.load(Relaxed);
        let mut now = self.counts.0.load(Relaxed);
        loop {
            if !Counts(now).is_free(max) {
                return false;
            }
            // what was done under the permit before happens before what is done under it now
            match self.counts.0.compare_exchange_weak(now, now + 1, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
    }

    /// Gives a permit back: to whoever has waited longest.
    #[inline]
    pub(crate) fn give_back(&self) {
        let mut now = self.counts.0.load(Relaxed);
        while Counts(now).waiting() == 0 {
            match self.counts.0.compare_exchange_weak(now, now - 1, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
        self.hand_over();
    }

    #[cold]
    fn hand_over(&self) {
        let mut queue = self.lock();
        self.counts.0.fetch_sub(1, AcqRel);
        let wake = self.grant(&mut queue);
        drop(queue);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Joins the queue; `None` if `longest` wait already. A permit that is free is granted at once.
    pub(crate) fn wait(permits: &Arc<Permits>, longest: u32) -> Option<Waiter> {
        let mut queue = permits.lock();
        if queue.waiting.len() >= longest as usize && !Counts(permits.counts.0.load(Acquire)).is_free(permits.max()) {
            return None;
        }
        let place = Arc::new(Mutex::new(Place::Waiting(None)));
        queue.waiting.push_back(place.clone());
        // from here on everybody who gives a permit back comes to the lock
        permits.counts.0.fetch_add(ONE_WAITING, AcqRel);
        let wake = permits.grant(&mut queue);
        drop(queue);
        wake.into_iter().for_each(Waker::wake);
        Some(Waiter { permits: permits.clone(), place })
    }

    /// Changes how many there are, without taking any away from those who have one.
    pub(crate) fn set_max(&self, max: u32) {
        let mut queue = self.lock();
        self.max.store(max, Relaxed);
        let wake = self.grant(&mut queue);
        drop(queue);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Wakes `waker` when a permit may be free. Whether there is none at the moment; it is kept only then.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        if Counts(self.counts.0.load(Acquire)).is_free(self.max()) {
            return false;
        }
        let mut queue = self.lock();
        if queue.watching.is_empty() {
            // counts as one who waits, so that giving back comes by
            self.counts.0.fetch_add(ONE_WAITING, AcqRel);
        }
        if self.has_room(&queue) {
            if queue.watching.is_empty() {
                self.counts.0.fetch_sub(ONE_WAITING, AcqRel);
            }
            return false;
        }
        if !queue.watching.iter().any(|other| other.will_wake(waker)) {
            queue.watching.push(waker.clone());
        }
        true
    }

    /// Whether a permit is there that nobody waits for.
    fn has_room(&self, queue: &Queue) -> bool {
        queue.waiting.is_empty() && Counts(self.counts.0.load(Acquire)).taken() < self.max()
    }

    /// Under the lock: gives free permits to those who wait. Who is to be woken, when the lock is released.
    fn grant(&self, queue: &mut Queue) -> Vec<Waker> {
        let mut wake = Vec::new();
        while let Some(first) = queue.waiting.front() {
            if Counts(self.counts.0.load(Acquire)).taken() >= self.max() {
                break;
            }
            let mut place = lock(first);
            if let Place::Waiting(waker) = std::mem::replace(&mut *place, Place::Granted) {
                wake.extend(waker);
            }
            drop(place);
            queue.waiting.pop_front();
            // one who waited less, one permit more
            self.counts.0.fetch_sub(ONE_WAITING - 1, AcqRel);
        }
        if !queue.watching.is_empty() && self.has_room(queue) {
            wake.append(&mut queue.watching);
            self.counts.0.fetch_sub(ONE_WAITING, AcqRel);
        }
        wake
    }

    fn counts(&self) -> Counts {
        Counts(self.counts.0.load(Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiter {
    /// Whether the permit is there; it is the caller's then, to be given back. Else `waker` is woken when it is.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let mut place = lock(&self.place);
        match &mut *place {
            Place::Granted => {
                *place = Place::Over;
                true
            }
            Place::Waiting(Some(kept)) if kept.will_wake(waker) => false,
            waiting @ Place::Waiting(_) => {
                *waiting = Place::Waiting(Some(waker.clone()));
                false
            }
            Place::Over => false,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut queue = self.permits.lock();
        let before = std::mem::replace(&mut *lock(&self.place), Place::Over);
        match before {
            Place::Over => {}
            Place::Granted => {
                drop(queue);
                self.permits.give_back();
            }
            Place::Waiting(_) => {
                queue.waiting.retain(|place| !Arc::ptr_eq(place, &self.place));
                self.permits.counts.0.fetch_sub(ONE_WAITING, AcqRel);
                // those who only watch come after those who wait
                let wake = self.permits.grant(&mut queue);
                drop(queue);
                wake.into_iter().for_each(Waker::wake);
            }
        }
    }
}
