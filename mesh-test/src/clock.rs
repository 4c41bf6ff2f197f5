use mesh_core::{
    Clock, Nanos, Timer,
    time::{set_clock, set_timer},
};
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// A clock that stands still until it is told to go on. Clones are the same clock.
///
/// ```
/// use mesh_core::time;
/// use mesh_test::HeldClock;
/// use std::time::Duration;
///
/// let clock = HeldClock::new();
/// let installed = clock.install();
/// let before = time::now();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(time::now().since(before), Duration::from_secs(5));
/// drop(installed); // the thread has its own clock again
/// ```
#[derive(Clone)]
pub struct HeldClock(Arc<Mutex<Held>>);

/// The timer that goes with a [`HeldClock`]: its sleeps end when the clock is told to go on.
#[derive(Clone)]
pub struct HeldTimer(Arc<Mutex<Held>>);

struct Held {
    now: Nanos,
    next: u64,
    /// Sleeps that have been polled and are not over, by deadline.
    sleeping: BTreeMap<(Nanos, u64), Waker>,
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HeldClock {
    /// A clock that shows one hour.
    pub fn new() -> Self {
        let now = Nanos::ZERO.plus(Duration::from_secs(3600));
        Self(Arc::new(Mutex::new(Held { now, next: 0, sleeping: BTreeMap::new() })))
    }

    /// The timer that obeys this clock.
    pub fn timer(&self) -> HeldTimer {
        HeldTimer(self.0.clone())
    }

    /// Makes this the clock and its timer the timer of this thread, until what is given back is dropped.
    #[must_use = "the clock is taken away again when this is dropped"]
    pub fn install(&self) -> Installed {
        Installed {
            clock: set_clock(Some(Rc::new(self.clone()))),
            timer: set_timer(Some(Rc::new(self.timer()))),
            thread: PhantomData,
        }
    }

    /// Lets time go on, and wakes the sleeps that are over then, in the order of their deadlines.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut held = lock(&self.0);
            held.now = held.now.plus(by);
            let left = (Nanos::from_nanos(held.now.as_nanos().saturating_add(1)), 0);
            let left = held.sleeping.split_off(&left);
            std::mem::replace(&mut held.sleeping, left)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// How many sleeps are waiting.
    pub fn sleeping(&self) -> usize {
        lock(&self.0).sleeping.len()
    }

    /// When the next sleep will be over.
    pub fn next_deadline(&self) -> Option<Nanos> {
        lock(&self.0).sleeping.keys().next().map(|(deadline, _)| *deadline)
    }
}

impl Default for HeldClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HeldClock {
    fn now(&self) -> Nanos {
        lock(&self.0).now
    }
}

impl fmt::Debug for HeldClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldClock").field(&self.now()).finish()
    }
}

impl Timer for HeldTimer {
    fn sleep_until(&self, deadline: Nanos) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        let mut held = lock(&self.0);
        held.next += 1;
        Box::pin(HeldSleep { held: self.0.clone(), key: (deadline, held.next) })
    }
}

impl fmt::Debug for HeldTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldTimer").field("sleeping", &lock(&self.0).sleeping.len()).finish()
    }
}

struct HeldSleep {
    held: Arc<Mutex<Held>>,
    key: (Nanos, u64),
}

impl Future for HeldSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut held = lock(&self.held);
        let over = held.now >= self.key.0;
        let before =
            if over { held.sleeping.remove(&self.key) } else { held.sleeping.insert(self.key, cx.waker().clone()) };
        // a waker's drop may be that of a task with sleeps of its own: not under the lock
        drop(held);
        drop(before);
        if over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for HeldSleep {
    fn drop(&mut self) {
        let waker = lock(&self.held).sleeping.remove(&self.key);
        drop(waker);
    }
}

/// Says that a [`HeldClock`] is this thread's clock; dropping it brings the one before back.
pub struct Installed {
    clock: Option<Rc<dyn Clock>>,
    timer: Option<Rc<dyn Timer>>,
    thread: PhantomData<*const ()>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        set_clock(self.clock.take());
        set_timer(self.timer.take());
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = self.thread;
        f.write_str("Installed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::time;

    #[test]
    fn sleeps_end_when_told() {
        let clock = HeldClock::new();
        let _installed = clock.install();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut short, mut long) = (time::sleep(Duration::from_secs(1)), time::sleep(Duration::from_secs(2)));
        assert!(Pin::new(&mut short).poll(&mut cx).is_pending() && Pin::new(&mut long).poll(&mut cx).is_pending());
        assert_eq!(clock.sleeping(), 2);
        clock.advance(Duration::from_millis(999));
        assert!(Pin::new(&mut short).poll(&mut cx).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(Pin::new(&mut short).poll(&mut cx).is_ready());
        assert_eq!(clock.next_deadline(), Some(long.deadline()));
        drop(long);
        assert_eq!(clock.sleeping(), 0);
    }

    #[test]
    fn the_clock_before_comes_back() {
        let outer = HeldClock::new();
        let _outer = outer.install();
        let inner = HeldClock::new();
        inner.advance(Duration::from_secs(1));
        let installed = inner.install();
        assert_eq!(time::now(), inner.now());
        drop(installed);
        assert_eq!(time::now(), outer.now());
    }
}
