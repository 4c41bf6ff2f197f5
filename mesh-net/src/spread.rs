//! Spreads connections over workers: each goes to the least loaded one.
//!
//! The kernel chooses a socket of a `SO_REUSEPORT` group by a hash of the four-tuple. Over many short connections that
//! is even; of four long ones three may be on one worker, for as long as they last. So whoever accepts a connection
//! looks at what all workers have, and hands it over where another has less, as Envoy's exact connection balance does:
//!
//! - **Few connections are spread exactly**: no worker has more than one above another's when all came one by one.
//! - **Many stay where they are accepted**: a difference of an eighth is left alone, so that handing over, which costs a
//!   wake-up of the other worker, is rare where the hash is even by itself.
//!
//! What counts is connections, whatever is done on them: one cannot know beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// The part of the least load that another worker may have more before it gives connections away.
const LEFT_ALONE: usize = 8;
/// What may be on its way to a worker; more stays with who accepted it.
const ON_THE_WAY: usize = 1024;

/// A worker's place among all: it counts the connections of each, says who is to have the next, and hands it over. `T` is
/// what a connection is on its way. Clones are the same place.
#[derive(Debug)]
pub struct Place<T> {
    here: usize,
    workers: Arc<[Worker<T>]>,
}

#[derive(Debug)]
struct Worker<T> {
    load: Arc<Padded>,
    inbox: mpsc::Sender<(Load, T)>,
}

/// On a cache line of its own: each worker writes its own count most of the time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicUsize);

/// A connection that counts as a worker's load until this is dropped.
#[derive(Debug)]
pub struct Load {
    worker: usize,
    of: Arc<Padded>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.of.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What other workers have handed over.
#[derive(Debug)]
pub struct Inbox<T> {
    from: mpsc::Receiver<(Load, T)>,
}

impl<T> Inbox<T> {
    /// The next that is handed over; `None` when all places are gone. Cancellation by drop loses nothing.
    pub async fn next(&mut self) -> Option<(Load, T)> {
        self.from.recv().await
    }
}

impl<T> Place<T> {
    /// The places of so many workers, each with what is handed over to it.
    pub fn new(workers: usize) -> Vec<(Place<T>, Inbox<T>)> {
        let (inboxes, all): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (inbox, from) = mpsc::channel(ON_THE_WAY);
                (Inbox { from }, Worker { load: Arc::default(), inbox })
            })
            .unzip();
        let workers: Arc<[_]> = all.into();
        let places = (0..workers.len()).map(|here| Place { here, workers: workers.clone() });
        places.zip(inboxes).collect()
    }

    /// Chooses the worker for a connection that was accepted here, and counts it there. No allocation; a look at the
    /// load of each worker.
    pub fn choose(&self) -> Load {
        loop {
            let load = |worker: usize| self.workers[worker].load.0.load(Ordering::Relaxed);
            let here = load(self.here);
            let least = (0..self.workers.len()).map(|worker| (load(worker), worker)).min().unwrap_or((here, self.here));
            let (seen, worker) = if here > least.0 + least.0 / LEFT_ALONE { least } else { (here, self.here) };
            let of = &self.workers[worker].load;
            // another may have chosen it, too, since it was looked at
            if of.0.compare_exchange(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Load { worker, of: of.clone() };
            }
        }
    }

    /// Counts a connection here that was to be elsewhere.
    fn keep(&self) -> Load {
        let of = self.workers[self.here].load.clone();
        of.0.fetch_add(1, Ordering::Relaxed);
        Load { worker: self.here, of }
    }

    /// Whether it was this worker that was chosen.
    pub fn is_here(&self, load: &Load) -> bool {
        load.worker == self.here
    }

    /// Hands a connection over to the worker that was chosen.
    ///
    /// # Errors
    /// The connection, counted as this worker's, where the other has more on its way than it takes up, or is gone.
    pub fn hand_over(&self, load: Load, connection: T) -> Result<(), (Load, T)> {
        let inbox = &self.workers[load.worker].inbox;
        inbox.try_send((load, connection)).map_err(|refused| {
            let (_, connection) = refused.into_inner();
            (self.keep(), connection)
        })
    }

    /// How many connections each worker has.
    pub fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(|worker| worker.load.0.load(Ordering::Relaxed)).collect()
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self { here: self.here, workers: self.workers.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_one_worker_accepts_is_spread_evenly() {
        let places = Place::<()>::new(4);
        let all: Vec<Load> = (0..40).map(|_| places[2].0.choose()).collect();
        let loads = places[0].0.loads();
        assert!(loads.iter().all(|load| (9..=11).contains(load)), "{loads:?}");
        drop(all);
        assert_eq!(places[0].0.loads(), [0; 4]);
    }

    #[tokio::test]
    async fn what_is_handed_over_arrives_and_counts_there() {
        let mut places = Place::new(2);
        let (second, first) = (places.pop().unwrap(), places.pop().unwrap());
        let stays = first.0.choose();
        assert!(first.0.is_here(&stays));
        let goes = first.0.choose();
        assert!(!first.0.is_here(&goes));
        first.0.hand_over(goes, "it").unwrap();
        let mut inbox = second.1;
        let (load, it) = inbox.next().await.unwrap();
        assert_eq!((it, first.0.loads()), ("it", vec![1, 1]));
        drop((load, stays));
        assert_eq!(first.0.loads(), [0, 0]);
        drop((first, second.0));
        assert!(inbox.next().await.is_none());
    }

    #[test]
    fn a_worker_that_takes_nothing_up_gets_no_more() {
        let places = Place::new(2);
        let place = &places[0].0;
        let mut kept = Vec::new();
        for number in 0..3 * ON_THE_WAY {
            let load = place.choose();
            if place.is_here(&load) {
                kept.push(load);
            } else if let Err((load, given_back)) = place.hand_over(load, number) {
                assert_eq!(given_back, number);
                assert!(place.is_here(&load));
                kept.push(load);
            }
        }
        assert_eq!(place.loads(), [2 * ON_THE_WAY, ON_THE_WAY]);
    }

    #[test]
    fn two_that_choose_at_once_do_not_choose_the_same() {
        for _ in 0..200 {
            let places = Place::<()>::new(4);
            let loads: Vec<Load> = std::thread::scope(|scope| {
                let each: Vec<_> = (0..4)
                    .map(|worker| {
                        let place = places[worker % 2].0.clone();
                        scope.spawn(move || place.choose())
                    })
                    .collect();
                each.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(places[0].0.loads().iter().all(|load| *load <= 2), "{:?}", places[0].0.loads());
            drop(loads);
        }
    }

    /// The share that is handed over where connections come and go at random, accepted by any worker.
    fn share_handed_over(workers: usize, open: usize) -> f64 {
        const STEPS: u32 = 20_000;
        let (places, mut random) = (Place::<()>::new(workers), fastrand::Rng::with_seed(7));
        let (mut all, mut handed) = (Vec::new(), 0);
        for step in 0..STEPS + open as u32 {
            if all.len() == open {
                all.swap_remove(random.usize(..open));
            }
            let place = &places[random.usize(..workers)].0;
            let load = place.choose();
            handed += u32::from(step >= open as u32 && !place.is_here(&load));
            all.push(load);
        }
        f64::from(handed) / f64::from(STEPS)
    }

    #[test]
    fn many_connections_mostly_stay_where_they_are_accepted() {
        let shares = [(2, 100), (2, 1000), (4, 100), (4, 1000), (16, 1000), (16, 10_000)]
            .map(|(workers, open)| (workers, open, share_handed_over(workers, open)));
        for (workers, open, share) in shares {
            println!("{workers} workers, {open} connections: {:.2} % are handed over", share * 100.0);
        }
        assert!(shares[1].2 < 0.01 && shares[3].2 < 0.03 && shares[5].2 < 0.02, "{shares:?}");
    }

    proptest! {
        /// Whoever accepts: no worker is more than one, or an eighth, above the least.
        #[test]
        fn nobody_has_much_more_than_the_least(accepts in proptest::collection::vec(0usize..5, 0..300)) {
            let places = Place::<()>::new(5);
            let mut open = Vec::new();
            for at in accepts {
                open.push(places[at].0.choose());
                let loads = places[0].0.loads();
                let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
                prop_assert!(*most <= least + least / LEFT_ALONE + 1, "{loads:?}");
            }
        }
    }
}
