//! How many connections there are at once, counted over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is open on all threads together, and admits no more than there may be. Clones share the count.
///
/// The count is exact: of two that come at once for the last place one is refused. It is kept whatever the limit is at
/// the moment, so that a limit may come, go and change while connections are open.
///
/// ```
/// use mesh_net::ConnectionCount;
///
/// let count = ConnectionCount::new();
/// let first = count.admit(1).expect("there was none");
/// assert!(count.admit(1).is_none());
/// drop(first);
/// assert!(count.admit(1).is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConnectionCount {
    live: Arc<AtomicUsize>,
}

impl ConnectionCount {
    /// Nothing is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more, if there are fewer than `max`. One atomic operation, a few where many come at once.
    pub fn admit(&self, max: usize) -> Option<Permit> {
        let one_more = |live| if live < max { Some(live + 1) } else { None };
        self.live.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        Some(Permit { live: self.live.clone() })
    }

    /// How many are open.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }
}

/// Something that is open until this is dropped.
#[derive(Debug)]
pub struct Permit {
    live: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn of_many_threads_exactly_so_many_are_admitted() {
        const THREADS: usize = 8;
        let (count, together) = (ConnectionCount::new(), Barrier::new(THREADS));
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        let permits: Vec<Permit> = (0..1000).filter_map(|_| count.admit(777)).collect();
                        // nobody gives back before all have asked
                        together.wait();
                        permits.len()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 777);
        assert_eq!(count.live(), 0);
    }

    #[test]
    fn the_count_outlives_limits() {
        let count = ConnectionCount::new();
        let three: Vec<_> = (0..3).map(|_| count.admit(usize::MAX).unwrap()).collect();
        assert!(count.admit(2).is_none());
        assert!(count.admit(3).is_none());
        drop(three);
        let permit = count.admit(2).unwrap();
        assert_eq!(count.live(), 1);
        drop(permit);
        assert!(count.admit(0).is_none());
    }
}
