//! The spans that are open: a ticket carries the number of one.

use crate::span::Open;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Spans by number. Each thread puts its own where no other does as a rule, and takes a place again that is free: in
/// the long run nothing is allocated, and a lock is found free.
#[derive(Debug)]
pub(crate) struct Spans {
    shelves: Box<[Shelf]>,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shelf(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    places: Vec<Option<Open>>,
    free: Vec<u32>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // nothing of ours panics while it is held
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local!(static THREAD: usize = THREADS.fetch_add(1, Relaxed));

impl Spans {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { shelves: (0..cores.next_power_of_two().min(64)).map(|_| Shelf::default()).collect() }
    }

    /// Keeps a span, and gives its number.
    pub(crate) fn put(&self, open: Open) -> u64 {
        let shelf = THREAD.try_with(|thread| *thread).unwrap_or(0) & (self.shelves.len() - 1);
        let mut places = self.shelves[shelf].lock();
        let place = match places.free.pop() {
            Some(place) => {
                places.places[place as usize] = Some(open);
                place
            }
            None => {
                places.places.push(Some(open));
                (places.places.len() - 1) as u32
            }
        };
        ((shelf as u64) << 32) | u64::from(place)
    }

    /// Looks at a span that is open.
    pub(crate) fn with<T>(&self, number: u64, look: impl FnOnce(&Open) -> T) -> Option<T> {
        self.places(number)?.places.get(number as u32 as usize)?.as_ref().map(look)
    }

    /// Takes a span out; its number is given to another.
    pub(crate) fn take(&self, number: u64) -> Option<Open> {
        let mut places = self.places(number)?;
        let open = places.places.get_mut(number as u32 as usize)?.take()?;
        places.free.push(number as u32);
        Some(open)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.shelves.iter().map(Shelf::lock).map(|places| places.places.len() - places.free.len()).sum()
    }

    fn places(&self, number: u64) -> Option<MutexGuard<'_, Places>> {
        self.shelves.get((number >> 32) as usize).map(Shelf::lock)
    }
}
