//! One state after the other, for many who look whether there is a new one.

use super::sync::{AtomicBool, Mutex, Ordering::Relaxed};
use std::{
    ops::Deref,
    sync::{Arc, PoisonError},
};

/// Where the state in force is fetched.
#[derive(Debug)]
pub(crate) struct Published<T>(Mutex<Arc<Edition<T>>>);

/// A state. It says itself when there is a later one: whoever has it asks no more than that, in memory that is at hand.
#[derive(Debug)]
pub(crate) struct Edition<T> {
    superseded: AtomicBool,
    state: T,
}

impl<T> Edition<T> {
    fn new(state: T) -> Arc<Self> {
        Arc::new(Self { superseded: AtomicBool::new(false), state })
    }

    /// Whether [`Published::get`] gives a later one.
    #[inline]
    pub(crate) fn is_superseded(&self) -> bool {
        // the lock orders the rest: who locks it after this comes after the one who wrote
        self.superseded.load(Relaxed)
    }
}

impl<T> Deref for Edition<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> Published<T> {
    pub(crate) fn new(state: T) -> Self {
        Self(Mutex::new(Edition::new(state)))
    }

    /// Puts a state in the place of the one before, which is given back: freeing it may take its time.
    pub(crate) fn publish(&self, state: T) -> Arc<Edition<T>> {
        let state = Edition::new(state);
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *present, state);
        drop(present);
        // afterwards, so that who sees it gets the later one
        before.superseded.store(true, Relaxed);
        before
    }

    /// The state in force. The lock is held by others no longer than it takes to put in a pointer.
    pub(crate) fn get(&self) -> Arc<Edition<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
