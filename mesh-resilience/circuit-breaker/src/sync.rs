//! What the decision core takes from `std`; its model under loom is the same source over loom's (`tests/model.rs`).

pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
