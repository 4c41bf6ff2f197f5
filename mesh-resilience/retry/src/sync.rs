//! What the budget takes from `std`; its model under loom is the same source over loom's (`src/tests/model.rs`).

pub(crate) use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
