//! The decision core: so many permits, and a queue of those who wait for one. No time, no I/O.

use super::sync::{
    Arc, AtomicU32, AtomicU64, Mutex, MutexGuard,
    Ordering::{AcqRel, Acquire, Relaxed},
    PoisonError,
};
use std::{collections::BTreeMap, task::Waker};

/// How many may run at once, how many do, and who waits.
///
/// One word holds all counts, so that a permit is taken past nobody who waits, and whoever gives one back knows whether
/// somebody does. The lock is only taken while somebody waits or watches.
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

/// Low half: permits taken. Above it: how many wait. The highest bit: [`WATCHED`].
#[derive(Clone, Copy)]
struct Counts(u64);

const ONE_WAITING: u64 = 1 << 32;
/// Somebody watches, and may be passed by.
const WATCHED: u64 = 1 << 63;

impl Counts {
    fn taken(self) -> u32 {
        self.0 as u32
    }

    fn waiting(self) -> u32 {
        ((self.0 & !WATCHED) >> 32) as u32
    }

    fn is_free(self, max: u32) -> bool {
        self.waiting() == 0 && self.taken() < max
    }
}

/// By number, in the order in which they came. Who is not there any more has been served.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// First come, first served.
    waiting: BTreeMap<u64, Option<Waker>>,
    /// Who wants to know when a permit is free, without a claim to it.
    watching: BTreeMap<u64, Waker>,
}

impl Queue {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
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

    /// Takes a permit, unless there is none or somebody has waited for it. Who is refused has written nothing.
    #[inline]
    pub(crate) fn try_take(&self) -> bool {
        let (max, now) = (self.max(), self.counts.0.load(Relaxed));
        // nobody waits, nobody watches: one comparison
        if now < u64::from(max) && self.take_at(now).is_ok() {
            return true;
        }
        self.try_take_again()
    }

    /// What was done under the permit before happens before what is done under it now.
    #[inline]
    fn take_at(&self, now: u64) -> Result<u64, u64> {
        self.counts.0.compare_exchange(now, now + 1, Acquire, Relaxed)
    }

    #[inline(never)]
    fn try_take_again(&self) -> bool {
        let mut now = self.counts.0.load(Relaxed);
        while Counts(now).is_free(self.max()) {
            match self.take_at(now) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Gives a permit back: to whoever has waited longest.
    #[inline]
    pub(crate) fn give_back(&self) {
        if self.counts.0.fetch_sub(1, AcqRel) >= ONE_WAITING {
            self.serve();
        }
    }

    /// Joins the queue; `None` if `longest` wait already. A permit that is free is granted at once.
    pub(crate) fn wait(permits: &Arc<Permits>, longest: u32) -> Option<Waiter> {
        let mut queue = permits.lock();
        if queue.waiting.len() >= longest as usize {
            return None;
        }
        let number = queue.number();
        queue.waiting.insert(number, None);
        // from here on everybody who gives a permit back comes to the lock, and nobody is let past
        permits.counts.0.fetch_add(ONE_WAITING, AcqRel);
        drop(queue);
        permits.serve();
        Some(Waiter { permits: permits.clone(), number, is_over: false })
    }

    /// Changes how many there are, without taking any away from those who have one.
    pub(crate) fn set_max(&self, max: u32) {
        let queue = self.lock();
        self.max.store(max, Relaxed);
        drop(queue);
        self.serve();
    }

    /// Gives free permits to those who wait, and tells one who watches of what is left.
    #[cold]
    fn serve(&self) {
        loop {
            let mut queue = self.lock();
            // while somebody waits, permits are taken under the lock only
            if self.counts().taken() >= self.max() {
                return;
            }
            let Some((_, waker)) = queue.waiting.pop_first() else { break self.tell(queue) };
            // one who waited less, one permit more
            self.counts.0.fetch_sub(ONE_WAITING - 1, AcqRel);
            drop(queue);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// One is enough: it tells the next if it finds the permit free, see [`Watcher`].
    fn tell(&self, mut queue: MutexGuard<'_, Queue>) {
        let first = queue.watching.pop_first();
        if queue.watching.is_empty() {
            self.counts.0.fetch_and(!WATCHED, AcqRel);
        }
        drop(queue);
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    fn counts(&self) -> Counts {
        Counts(self.counts.0.load(Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits. Dropped, it leaves the queue, and gives back a permit that it had been granted meanwhile.
#[derive(Debug)]
pub(crate) struct Waiter {
    permits: Arc<Permits>,
    number: u64,
    /// The permit has been taken up.
    is_over: bool,
}

// Wakers are dropped outside of the lock: to drop one may be to drop the task, and with it another who waits here.

impl Waiter {
    /// Whether the permit is there; it is the caller's then, to be given back. Else `waker` is woken when it is.
    pub(crate) fn poll(&mut self, waker: &Waker) -> bool {
        if self.is_over {
            return false;
        }
        let mut queue = self.permits.lock();
        let Some(kept) = queue.waiting.get_mut(&self.number) else {
            self.is_over = true;
            return true;
        };
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            let before = kept.replace(waker.clone());
            drop(queue);
            drop(before);
        }
        false
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let left = self.permits.lock().waiting.remove(&self.number);
        if left.is_none() {
            return self.permits.give_back();
        }
        self.permits.counts.0.fetch_sub(ONE_WAITING, AcqRel);
        // those who only watch come after those who wait
        self.permits.serve();
    }
}

/// Somebody who wants to know when a permit is free, without a claim to it.
///
/// Of all who watch one is told of a permit, and it tells the next when it has seen for itself that one is free, or when
/// it goes away. So nobody is forgotten because of one who was told and did not want it any more, and a permit given
/// back does not wake all.
#[derive(Debug)]
pub(crate) struct Watcher {
    permits: Arc<Permits>,
    /// Its place; if that is gone from the queue, it has been told.
    number: Option<u64>,
}

impl Watcher {
    pub(crate) fn new(permits: Arc<Permits>) -> Self {
        Self { permits, number: None }
    }

    /// Whether a permit is free at the moment. If none is, `waker` is woken when there may be one.
    pub(crate) fn poll(&mut self, waker: &Waker) -> bool {
        let permits = &self.permits;
        if self.number.is_none() && permits.counts().is_free(permits.max()) {
            return true;
        }
        let mut queue = permits.lock();
        let number = self.number.unwrap_or_else(|| queue.number());
        let before = queue.watching.insert(number, waker.clone());
        let was_told = self.number.is_some() && before.is_none();
        // from here on everybody who gives a permit back comes to the lock
        permits.counts.0.fetch_or(WATCHED, AcqRel);
        let is_free = permits.counts().is_free(permits.max());
        let own = if is_free { self.leave(&mut queue, number) } else { None };
        drop(queue);
        drop((before, own));
        self.number = (!is_free).then_some(number);
        if is_free && was_told {
            self.permits.serve();
        }
        is_free
    }

    fn leave(&self, queue: &mut Queue, number: u64) -> Option<Waker> {
        let own = queue.watching.remove(&number);
        if queue.watching.is_empty() {
            self.permits.counts.0.fetch_and(!WATCHED, AcqRel);
        }
        own
    }
}

impl Clone for Watcher {
    fn clone(&self) -> Self {
        Self::new(self.permits.clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut queue = self.permits.lock();
        let own = self.leave(&mut queue, number);
        drop(queue);
        if own.is_none() {
            self.permits.serve();
        }
    }
}
