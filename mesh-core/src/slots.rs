//! Values that a ticket stands for: a ticket carries a number, not more.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What gates keep of the requests they have admitted, by number; a [`Ticket`](crate::Ticket) carries it.
///
/// Each thread puts its own where no other does as a rule, and takes a place again that is free: in the long run
/// nothing is allocated, and a lock is found free. A value may be taken out on any thread.
#[derive(Debug)]
pub struct Slots<T> {
    shelves: Box<[Shelf<T>]>,
}

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Shelf<T>(Mutex<Places<T>>);

#[derive(Debug)]
struct Places<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, Places<T>> {
        // nothing of ours panics while it is held
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local!(static THREAD: usize = THREADS.fetch_add(1, Relaxed));

/// A number of this thread, from 0 up, the same for as long as it runs: for tables in which each thread has its place.
pub fn thread_number() -> usize {
    THREAD.try_with(|thread| *thread).unwrap_or(0)
}

impl<T> Slots<T> {
    /// No values.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shelf = || Shelf(Mutex::new(Places { places: Vec::new(), free: Vec::new() }));
        Self { shelves: (0..cores.next_power_of_two().min(64)).map(|_| shelf()).collect() }
    }

    /// Keeps a value, and gives its number.
    pub fn put(&self, value: T) -> u64 {
        let shelf = thread_number() & (self.shelves.len() - 1);
        let mut places = self.shelves[shelf].lock();
        let place = match places.free.pop() {
            Some(place) => {
                places.places[place as usize] = Some(value);
                place
            }
            None => {
                places.places.push(Some(value));
                (places.places.len() - 1) as u32
            }
        };
        ((shelf as u64) << 32) | u64::from(place)
    }

    /// Looks at a value that is kept, and may change it; `None` where there is none of this number.
    pub fn with<A>(&self, number: u64, look: impl FnOnce(&mut T) -> A) -> Option<A> {
        self.places(number)?.places.get_mut(number as u32 as usize)?.as_mut().map(look)
    }

    /// Takes a value out; its number is given to another. `None` where there is none of this number.
    pub fn take(&self, number: u64) -> Option<T> {
        let mut places = self.places(number)?;
        let value = places.places.get_mut(number as u32 as usize)?.take()?;
        places.free.push(number as u32);
        Some(value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shelves.iter().map(Shelf::lock).map(|places| places.places.len() - places.free.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn places(&self, number: u64) -> Option<MutexGuard<'_, Places<T>>> {
        self.shelves.get((number >> 32) as usize).map(Shelf::lock)
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_its_value_is_taken() {
        let slots = Slots::new();
        let (one, two) = (slots.put("one"), slots.put("two"));
        assert_eq!((slots.len(), slots.with(two, |text| text.len())), (2, Some(3)));
        assert_eq!((slots.take(one), slots.take(one), slots.with(one, |_| ())), (Some("one"), None, None));
        assert_eq!(slots.put("three"), one);
        assert_eq!((slots.take(u64::MAX), slots.len(), slots.is_empty()), (None, 2, false));
    }

    #[test]
    fn another_thread_takes_it() {
        let slots = std::sync::Arc::new(Slots::new());
        let number = slots.put(7);
        let other = slots.clone();
        assert_eq!(std::thread::spawn(move || other.take(number)).join().ok(), Some(Some(7)));
        assert!(slots.is_empty());
    }
}
