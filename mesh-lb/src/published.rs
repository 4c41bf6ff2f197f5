//! One state after the other, for many who look whether there is a new one.

use super::sync::{
    AtomicU64, Mutex,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, PoisonError};

/// The state in force, and its version for whoever has one already: one load as long as nothing changes.
#[derive(Debug)]
pub(crate) struct Published<T> {
    /// Of `state`; written after it.
    version: AtomicU64,
    state: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    pub(crate) fn new(version: u64, state: T) -> Self {
        Self { version: AtomicU64::new(version), state: Mutex::new(Arc::new(state)) }
    }

    /// Puts a state in the place of the one before, which is given back: freeing it may take its time. Versions must
    /// grow, so whoever publishes must be alone.
    pub(crate) fn publish(&self, version: u64, state: T) -> Arc<T> {
        let state = Arc::new(state);
        let mut present = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *present, state);
        drop(present);
        self.version.store(version, Release);
        before
    }

    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// The state of this version or a later one. The lock is held by others no longer than it takes to put in a
    /// pointer.
    pub(crate) fn get(&self) -> Arc<T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
