//! Graceful stop: tell every connection to finish, and know when all have.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

#[derive(Debug, Default)]
struct Shared {
    /// Set once, when the drain starts.
    deadline: OnceLock<Instant>,
    /// Guards that exist.
    live: AtomicUsize,
    started: Notify,
    /// The last guard has gone.
    idle: Notify,
}

/// The side that stops things. Clones are handles to the same drain; any thread may use them.
///
/// Nothing stops by itself when a `Drain` is dropped.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl Drain {
    /// A drain that has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// The side that is told, to be cloned for whoever must stop.
    pub fn watch(&self) -> Watch {
        Watch { shared: self.shared.clone() }
    }

    /// Starts the drain: every [`Watch::signaled`] resolves, and [`finished`](Self::finished) waits at most `timeout`
    /// from now. Only the first call counts; `false` says that this was not the first.
    pub fn start(&self, timeout: Duration) -> bool {
        let now = Instant::now();
        // A timeout that no clock can hold is one that never comes.
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(86_400 * 365));
        let first = self.shared.deadline.set(deadline).is_ok();
        if first {
            self.shared.started.notify_waiters();
        }
        first
    }

    /// Waits until the drain has started and no guard is left or its deadline has passed. Returns the number of guards
    /// that are left: 0 is a clean end. Cancellation by drop loses nothing; several may wait.
    ///
    /// A guard that is made after this has returned does not undo it: whoever still makes guards, such as an accept
    /// loop, holds one itself.
    pub async fn finished(&self) -> usize {
        self.shared.finished().await
    }

    /// The number of guards that exist.
    pub fn live(&self) -> usize {
        self.shared.live()
    }
}

impl Shared {
    fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    async fn finished(&self) -> usize {
        let deadline = self.started().await;
        loop {
            // Made before the look at `live`, so it also hears a guard that goes in between.
            let idle = self.idle.notified();
            if self.live() == 0 {
                return 0;
            }
            if timeout_at(deadline, idle).await.is_err() {
                return self.live();
            }
        }
    }

    async fn started(&self) -> Instant {
        loop {
            // Made before the look at `deadline`, so it also hears a start that comes in between.
            let started = self.started.notified();
            match self.deadline.get() {
                Some(deadline) => return *deadline,
                None => started.await,
            }
        }
    }
}

/// The side that is told to stop. Clones are cheap: one reference count.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    /// Resolves when the drain has started, at once if it has. A future that waits costs a place in one list under a
    /// short lock: wait once per connection, not once per request, and ask [`is_draining`](Self::is_draining) there.
    pub async fn signaled(&self) {
        self.shared.started().await;
    }

    /// Whether the drain has started: one atomic load.
    pub fn is_draining(&self) -> bool {
        self.shared.deadline.get().is_some()
    }

    /// When what is left will be cut off; `None` before the drain starts.
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.deadline.get().copied()
    }

    /// Resolves at the deadline of a drain that has started; never before that.
    pub async fn expired(&self) {
        sleep_until(self.shared.started().await).await;
    }

    /// The same as [`Drain::finished`], for a worker whose runtime must live as long as the connections on it. Whoever
    /// holds a [`Guard`] here waits for itself, up to the deadline.
    pub async fn finished(&self) -> usize {
        self.shared.finished().await
    }

    /// Counts something that the drain waits for, such as a connection, until the guard is dropped. Two atomic additions.
    pub fn guard(&self) -> Guard {
        self.shared.live.fetch_add(1, Ordering::Relaxed);
        Guard { watch: self.clone() }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("deadline", &self.deadline()).finish()
    }
}

/// Something alive that a drain waits for, and its [`Watch`]. Dropping it is the end, also in a panic.
#[derive(Debug)]
pub struct Guard {
    watch: Watch,
}

impl Deref for Guard {
    type Target = Watch;

    fn deref(&self) -> &Watch {
        &self.watch
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let shared = &self.watch.shared;
        if shared.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.idle.notify_waiters();
        }
    }
}
