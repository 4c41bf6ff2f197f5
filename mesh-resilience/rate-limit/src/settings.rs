//! What the builder fills and a spec is read into.

use crate::Quota;
use mesh_core::units::Rate;
use std::num::NonZeroU32;

/// The settings of a rate limit.
///
/// In a spec (feature `config`) either a mapping or, as a shorthand, the rate alone: `{ rate: 5000/s, burst: 500 }`,
/// `100/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// How many requests are admitted in the long run. Any from one in 584 years to 10¹⁶ in a second; kept exactly to
    /// 16 million per second, within 10⁻⁷ to 10⁹ per second.
    pub rate: Rate,
    /// How many at once after a time of rest, at least 1. Default: what `rate` gives in a second, rounded up.
    pub burst: Option<NonZeroU32>,
}

impl RateLimitSettings {
    /// This rate, and the default for the rest.
    pub const fn new(rate: Rate) -> Self {
        Self { rate, burst: None }
    }

    /// The quota they ask for, the default filled in.
    pub fn quota(&self) -> Quota {
        let quota = Quota::new(self.rate);
        self.burst.map_or(quota, |burst| quota.with_burst(burst))
    }
}
