//! What the shared words take from `std`; their model under loom is the same source over loom's (`tests/model.rs`).

pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
