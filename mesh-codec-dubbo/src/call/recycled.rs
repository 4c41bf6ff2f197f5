//! Messages behind a pointer, recycled per thread: what moves through the layers is small, and costs no allocation.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    thread::LocalKey,
};

/// The boxes are what is recycled.
#[allow(clippy::vec_box)]
pub(super) type Free<T> = RefCell<Vec<Box<T>>>;

/// How many a thread keeps.
const KEPT: usize = 1024;

/// What can be used again.
pub(super) trait Recycle: Default + 'static {
    /// Forgets all it holds.
    fn clear(&mut self);
    /// Those that are free on this thread.
    fn free() -> &'static LocalKey<Free<Self>>;
}

/// Something in a box that goes back when it is dropped.
pub(super) struct Recycled<T: Recycle>(Option<Box<T>>);

impl<T: Recycle> Recycled<T> {
    pub(super) fn take() -> Self {
        let free = T::free().try_with(|free| free.borrow_mut().pop()).ok().flatten();
        Self(Some(free.unwrap_or_default()))
    }
}

impl<T: Recycle> Drop for Recycled<T> {
    fn drop(&mut self) {
        let Some(mut used) = self.0.take() else { return };
        used.clear();
        let _ = T::free().try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(used);
            }
        });
    }
}

impl<T: Recycle> Deref for Recycled<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("only its drop takes it out")
    }
}

impl<T: Recycle> DerefMut for Recycled<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only its drop takes it out")
    }
}
