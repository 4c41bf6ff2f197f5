//! The gate: asks the decision core about each request. It wants to hear nothing more of those it admitted.

use crate::{Decision, Gcra, Quota};
use mesh_core::{At, Gate, Kind, Rejection, Ticket, Watch, time};

/// Admits requests at a rate, refuses what is too much. One value is shared by all that it limits together: by
/// reference count, between clones, services and worker threads, exactly.
///
/// It is also its own control handle: [`quota`](Self::quota) and [`available`](Self::available) read it while it runs,
/// [`set_quota`](Self::set_quota) retunes it.
#[derive(Debug)]
pub struct RateLimit {
    limiter: Gcra,
}

impl RateLimit {
    /// A limit that starts with its whole burst. `None`: off, until a quota is set.
    pub fn new(quota: impl Into<Option<Quota>>) -> Self {
        Self { limiter: Gcra::new(quota.into()) }
    }

    /// The quota in force; `None` when off.
    pub fn quota(&self) -> Option<Quota> {
        self.limiter.quota()
    }

    /// How many requests would be admitted now; [`u32::MAX`] when off.
    pub fn available(&self) -> u32 {
        self.limiter.available(time::now())
    }

    /// Puts another quota in force, or `None` to switch the limit off, without refilling: requests that were admitted
    /// and not yet paid back by the rate are charged against the new burst. See [`Gcra::set_quota`].
    pub fn set_quota(&self, quota: impl Into<Option<Quota>>) {
        let quota = quota.into();
        #[cfg(feature = "tracing")]
        match (self.quota(), quota) {
            (old, new) if old == new => {}
            (Some(old), Some(new)) => tracing::info!(%old, %new, "rate limit changed"),
            (None, Some(new)) => tracing::info!(%new, "rate limit switched on"),
            (Some(old), None) => tracing::info!(%old, "rate limit switched off"),
            (None, None) => {}
        }
        self.limiter.set_quota(quota, time::now());
    }
}

impl Watch for RateLimit {}

impl<R> Gate<R> for RateLimit {
    #[inline]
    fn admit(&self, _: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        // off, the clock is not even read
        match self.limiter.check_by(1, || at.now(), || ()) {
            Decision::Admitted(_) => Ok(None),
            Decision::Denied { wait } => Err(Rejection::new(Kind::RateLimited).retry_after(wait)),
            // not for one request: a burst is at least that
            Decision::NeverFits => Err(Rejection::new(Kind::RateLimited)),
        }
    }
}
