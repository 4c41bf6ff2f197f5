//! Time as every layer sees it: [`now`], [`Sleep`], and the clock and timer a worker may put in their place.
//!
//! Decisions use monotonic time only. The default is tokio's clock, so that `tokio::time::pause` makes every layer's
//! time testable; a worker may install a cheaper clock or a coarser timer for its thread.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

/// A moment: nanoseconds since a fixed moment before the process asked for the time first. Never zero for a moment
/// read from a clock, so that zero can stand for "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(u64);

impl Nanos {
    /// The epoch itself.
    pub const ZERO: Nanos = Nanos(0);
    /// Farther than any clock reaches: 584 years.
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// This many nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that is later (two clocks may differ by some nanoseconds).
    pub const fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `duration`, at the most [`Nanos::MAX`].
    pub fn plus(self, duration: Duration) -> Nanos {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Nanos(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// A monotonic clock. It may stand still, it never goes back on one thread.
pub trait Clock {
    /// The present moment.
    fn now(&self) -> Nanos;
}

/// Makes sleeps.
pub trait Timer {
    /// A future that is ready at `deadline` or a little later, never earlier. Dropping it cancels it.
    fn sleep_until(&self, deadline: Nanos) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>>;
}

/// Moments before the first reading must not all be zero: a paused runtime may have been started before it.
const SLACK: Duration = Duration::from_secs(3600);
static EPOCH: LazyLock<tokio::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(SLACK).unwrap_or(now).into()
});

/// tokio's clock: the system's monotonic one, or the paused one of a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Nanos {
        // the epoch first: a reading taken before it would be lost
        let epoch = *EPOCH;
        let nanos = tokio::time::Instant::now().saturating_duration_since(epoch).as_nanos();
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1))
    }
}

thread_local! {
    static CLOCK: RefCell<Option<Rc<dyn Clock>>> = const { RefCell::new(None) };
    static READ: Cell<Nanos> = const { Cell::new(Nanos::ZERO) };
    static ANSWERS: Cell<i32> = const { Cell::new(1) };
    static ANSWERS_LEFT: Cell<i32> = const { Cell::new(0) };
    static TIMER: RefCell<Option<Rc<dyn Timer>>> = const { RefCell::new(None) };
}

/// The present moment by this thread's clock, else by tokio's.
#[inline]
pub fn now() -> Nanos {
    // signed, so that one subtraction counts and tells
    let left = ANSWERS_LEFT.get().wrapping_sub(1);
    if left < 0 {
        return read();
    }
    ANSWERS_LEFT.set(left);
    READ.get()
}

#[inline(never)]
fn read() -> Nanos {
    let own = CLOCK.try_with(|clock| clock.borrow().as_ref().map(|clock| clock.now()));
    let now = own.ok().flatten().unwrap_or_else(|| TokioClock.now());
    READ.set(now);
    ANSWERS_LEFT.set((ANSWERS.get() - 1).max(0));
    now
}

/// Installs a clock for this thread, `None` for tokio's, and gives back the one before.
pub fn set_clock(clock: Option<Rc<dyn Clock>>) -> Option<Rc<dyn Clock>> {
    begin_turn();
    CLOCK.with(|slot| slot.replace(clock))
}

/// From now on one reading of this thread's clock answers so many calls of [`now`], or those until [`begin_turn`]: for
/// the loop of a thread that does not wait within a turn. Default: one.
///
/// What is asked for while the same events are worked off then has one moment, as in HAProxy and nginx: a reading is 115
/// instructions, and a proxied request asks about ten times. A thread that is never out of work begins no turn, so the
/// number bounds by how much its present is late.
pub fn set_answers(answers: u32) {
    ANSWERS.set(i32::try_from(answers).unwrap_or(i32::MAX));
    begin_turn();
}

/// Time may have passed: the next call of [`now`] reads this thread's clock. To be called after each wait of the loop,
/// such as by tokio's `on_thread_unpark`.
pub fn begin_turn() {
    ANSWERS_LEFT.set(0);
}

/// Installs a timer for this thread, `None` for tokio's, and gives back the one before.
pub fn set_timer(timer: Option<Rc<dyn Timer>>) -> Option<Rc<dyn Timer>> {
    TIMER.with(|slot| slot.replace(timer))
}

/// Sleeps until a moment of this thread's clock, by this thread's timer.
///
/// # Panics
/// Without an installed timer, outside a tokio runtime with time enabled.
pub fn sleep_until(deadline: Nanos) -> Sleep {
    let timer = TIMER.with(|slot| slot.borrow().clone());
    let inner = match timer {
        Some(timer) => Inner::Installed(timer.sleep_until(deadline)),
        None => Inner::Tokio(Box::pin(tokio::time::sleep_until(to_instant(deadline)))),
    };
    Sleep { deadline, inner }
}

/// Sleeps for a duration from now; as [`sleep_until`].
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now().plus(duration))
}

fn to_instant(moment: Nanos) -> tokio::time::Instant {
    /// Far enough, and no sum with it overflows.
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 100);
    let own_clock = CLOCK.with(|clock| clock.borrow().as_ref().map(|clock| clock.now()));
    match own_clock {
        // the clock that the moment is of: nothing is read
        None => *EPOCH + moment.since(Nanos::ZERO).min(FAR),
        // a clock of one's own and tokio's share the epoch only in their unit, so the distance counts
        Some(now) => tokio::time::Instant::now() + moment.since(now).min(FAR),
    }
}

/// A sleep in progress; cancelled by dropping it.
pub struct Sleep {
    deadline: Nanos,
    inner: Inner,
}

enum Inner {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Installed(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
}

impl Sleep {
    /// When it will be over.
    pub fn deadline(&self) -> Nanos {
        self.deadline
    }

    /// Moves the end, also of a sleep that is over.
    pub fn reset(&mut self, deadline: Nanos) {
        match &mut self.inner {
            Inner::Tokio(sleep) => {
                sleep.as_mut().reset(to_instant(deadline));
                self.deadline = deadline;
            }
            Inner::Installed(_) => *self = sleep_until(deadline),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.inner {
            Inner::Tokio(sleep) => sleep.as_mut().poll(cx),
            Inner::Installed(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_has_one_moment_but_not_for_ever() {
        set_answers(64);
        let first = now();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(now(), first);
        begin_turn();
        let second = now();
        assert_eq!(second.since(first), Duration::from_millis(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((1..1000).take_while(|_| now() == second).count(), 63);
        assert_eq!(now().since(second), Duration::from_millis(1));
        set_answers(1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_obeys_paused_time() {
        let start = now();
        sleep(Duration::from_secs(5)).await;
        let elapsed = now().since(start);
        assert!(elapsed >= Duration::from_secs(5) && elapsed < Duration::from_millis(5010), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_at_its_moment_and_may_be_moved() {
        let start = now();
        let mut sleep = sleep_until(start.plus(Duration::from_secs(5)));
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second, &mut sleep).await.is_err());
        sleep.reset(start.plus(second * 3));
        sleep.await;
        let elapsed = now().since(start);
        assert!(elapsed >= second * 3 && elapsed < second * 3 + Duration::from_millis(10), "{elapsed:?}");
        // farther than any timer reaches
        let mut never = sleep_until(Nanos::MAX);
        assert!(tokio::time::timeout(Duration::from_secs(86_400 * 365), &mut never).await.is_err());
    }

    struct Still;
    impl Clock for Still {
        fn now(&self) -> Nanos {
            Nanos::from_nanos(7)
        }
    }

    #[test]
    fn a_thread_may_have_its_own_clock() {
        let before = set_clock(Some(Rc::new(Still)));
        assert_eq!(now(), Nanos::from_nanos(7));
        set_clock(before);
        assert!(now() > Nanos::from_nanos(7));
    }

    #[test]
    fn subtraction_saturates() {
        assert_eq!(Nanos::ZERO.since(Nanos::from_nanos(9)), Duration::ZERO);
        assert_eq!(Nanos::MAX.plus(Duration::MAX), Nanos::MAX);
    }
}
