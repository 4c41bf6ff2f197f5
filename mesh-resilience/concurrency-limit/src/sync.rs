//! What the decision core takes from `std`; its model under loom is the same source over loom's (`tests/model.rs`).

pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
