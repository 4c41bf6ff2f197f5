//! Allocations, counted.
//!
//! A test binary installs [`Counting`] as its allocator; [`count`] then tells what a closure allocates. Counts are kept
//! per thread, so that tests that run beside each other do not disturb one another.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: mesh_test::alloc::Counting = mesh_test::alloc::Counting;
//!
//! let (boxed, allocated) = mesh_test::alloc::count(|| Box::new(7_u64));
//! assert_eq!((*boxed, allocated.count, allocated.bytes), (7, 1, 8));
//! ```
// The only way to see allocations is to be the allocator, and `GlobalAlloc` is an unsafe trait. Each method hands its
// arguments on to the system's allocator as they came, under the same conditions that its own caller has to keep.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    ops::Sub,
};

/// The system's allocator, which counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What was allocated. Growing a block counts as an allocation; giving one back does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// How often.
    pub count: u64,
    /// How many bytes were asked for.
    pub bytes: u64,
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { count: self.count - earlier.count, bytes: self.bytes - earlier.bytes }
    }
}

// without a destructor and with a constant start, so that it can be reached while a thread begins and ends
thread_local!(static ALLOCATED: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0 }) });

fn note(bytes: usize) {
    let _ = ALLOCATED.try_with(|allocated| {
        let Allocations { count, bytes: before } = allocated.get();
        allocated.set(Allocations { count: count + 1, bytes: before + bytes as u64 });
    });
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs a closure and tells what this thread allocated meanwhile.
///
/// # Panics
/// If [`Counting`] is not the allocator of this binary: nothing would be counted.
pub fn count<T>(run: impl FnOnce() -> T) -> (T, Allocations) {
    assert!(
        is_installed(),
        "allocations are not counted here: put `#[global_allocator] static ALLOCATOR: mesh_test::alloc::Counting = \
         mesh_test::alloc::Counting;` into this test"
    );
    let before = ALLOCATED.get();
    let result = run();
    (result, ALLOCATED.get() - before)
}

/// Whether [`Counting`] is the allocator of this binary.
pub fn is_installed() -> bool {
    let before = ALLOCATED.get();
    drop(black_box(Box::new(black_box(0_u8))));
    ALLOCATED.get() != before
}
