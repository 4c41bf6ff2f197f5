//! The decision core: against a plain model, and under loom.

mod model;
mod schedules;
