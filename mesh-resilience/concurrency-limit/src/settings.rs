//! What the builder fills and a spec is read into.

use std::{num::NonZeroU32, time::Duration};

/// The settings of a concurrency limit.
///
/// In a spec (feature `config`) either a mapping or, as a shorthand, the number alone: `100`,
/// `{ max: 100, wait: { timeout: 50ms, queue: 200 }, until_end: true }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimitSettings {
    /// How many requests may be under way at once.
    pub max: NonZeroU32,
    /// Whether and how a request waits for its turn. Default: it is refused at once.
    pub wait: Option<Wait>,
    /// Whether a request counts to the end of its response's body, and not only to the response. Default: no.
    pub until_end: bool,
}

/// How a request waits for its turn: first come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How long at the most. The request's own deadline, where that is earlier, counts.
    pub timeout: Duration,
    /// How many may wait; one more is refused at once. Default: as many as may be under way.
    pub queue: Option<u32>,
}

impl ConcurrencyLimitSettings {
    /// So many at once, and the default for the rest.
    pub const fn new(max: NonZeroU32) -> Self {
        Self { max, wait: None, until_end: false }
    }
}
