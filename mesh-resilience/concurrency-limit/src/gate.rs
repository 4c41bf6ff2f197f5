//! The gate: a permit per request, given back at the response or at its end.

use crate::{ConcurrencyLimitSettings, permits::Permits};
use mesh_core::{At, End, Gate, Hears, Kind, Rejection, Ticket, Watch};
use std::{num::NonZeroU32, sync::Arc};

/// So many requests at once. One value is shared by all that it limits together: clones, services and worker threads,
/// exactly.
///
/// It is also its own control handle: [`in_flight`](Self::in_flight) and [`max`](Self::max) read it while it runs,
/// [`set_max`](Self::set_max) retunes it.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    pub(crate) permits: Arc<Permits>,
    until_end: bool,
    elsewhere: bool,
}

impl ConcurrencyLimit {
    /// So many requests at once, each counted to its response.
    pub fn new(max: NonZeroU32) -> Self {
        Self::from(ConcurrencyLimitSettings::new(max))
    }

    /// How many may be under way at once.
    pub fn max(&self) -> u32 {
        self.permits.max()
    }

    /// Changes that. Requests under way are not disturbed: with fewer than there are, none is admitted until enough
    /// have ended.
    pub fn set_max(&self, max: NonZeroU32) {
        #[cfg(feature = "tracing")]
        if self.max() != max.get() {
            tracing::info!(old = self.max(), new = max, "concurrency limit changed");
        }
        self.permits.set_max(max.get());
    }

    /// How many are under way.
    pub fn in_flight(&self) -> u32 {
        self.permits.taken()
    }

    /// How many calls wait for their turn. Who only waits for readiness is not counted.
    pub fn waiting(&self) -> u32 {
        self.permits.waiting()
    }

    /// Whether a request counts to the end of its response's body.
    pub fn is_until_end(&self) -> bool {
        self.until_end
    }

    /// Its refusals say that another endpoint may be tried: for a limit of one endpoint. Default: they do not.
    #[must_use]
    pub fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    #[cold]
    pub(crate) fn refusal(&self, kind: Kind) -> Rejection {
        let rejection = Rejection::new(kind);
        // a deadline that has passed has passed everywhere
        if self.elsewhere && kind == Kind::Saturated { rejection.elsewhere() } else { rejection }
    }
}

impl From<ConcurrencyLimitSettings> for ConcurrencyLimit {
    fn from(settings: ConcurrencyLimitSettings) -> Self {
        Self { permits: Arc::new(Permits::new(settings.max.get())), until_end: settings.until_end, elsewhere: false }
    }
}

impl Watch for ConcurrencyLimit {
    #[inline]
    fn hears(&self) -> Hears {
        if self.until_end { Hears::End } else { Hears::Response }
    }

    #[inline]
    fn on_end(&self, _: Ticket, _: &End<'_>) {
        self.permits.give_back();
    }
}

impl<R> Gate<R> for ConcurrencyLimit {
    #[inline]
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        if self.permits.try_take() { Ok(Some(Ticket::default())) } else { Err(self.refusal(Kind::Saturated)) }
    }
}
