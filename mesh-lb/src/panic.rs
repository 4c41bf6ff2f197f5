//! Where too few endpoints are healthy, health is passed over: the few would only break, too.

use crate::seat::Seat;
use mesh_core::{Nanos, units::Ratio};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

/// The default of [`BalanceLayer::panic_threshold`](crate::BalanceLayer::panic_threshold): half of them, as in Envoy.
pub const PANIC_THRESHOLD: Ratio = Ratio::from_percent(50).expect("it is below 100");

/// So often the healthy are counted at the most, while calls meet endpoints that are not.
const LOOKED_AFTER: Duration = Duration::from_millis(100);

/// Who is spared is for this long; then the first call that meets one counts again.
const SPARED_FOR: Duration = Duration::from_millis(200);

/// How much more than the threshold must be healthy to leave panic: 5 %, so that it does not flap.
const HYSTERESIS_PPM: u64 = 50_000;

/// One for all tables of a balancer.
#[derive(Debug)]
pub(crate) struct Panic {
    threshold_ppm: AtomicU32,
    /// When the healthy were counted last, in nanoseconds.
    looked: AtomicU64,
    /// Whether there is panic; locked while somebody counts.
    on: Mutex<bool>,
}

impl Panic {
    pub(crate) fn new() -> Self {
        Self { threshold_ppm: PANIC_THRESHOLD.ppm().into(), looked: AtomicU64::new(0), on: Mutex::new(false) }
    }

    pub(crate) fn set_threshold(&self, threshold: Ratio) {
        self.threshold_ppm.store(threshold.ppm(), Relaxed);
        self.looked.store(0, Relaxed);
    }

    /// A call has met an endpoint that is not eligible; or, where `none`, only such. Counts the healthy if it is time,
    /// and spares all if they are too few; whether it did.
    #[cold]
    pub(crate) fn look<'a>(&self, now: Nanos, none: bool, seats: impl Iterator<Item = &'a Arc<Seat>> + Clone) -> bool {
        let threshold = u64::from(self.threshold_ppm.load(Relaxed));
        let is_due = || {
            let looked = self.looked.load(Acquire);
            looked == 0 || now.as_nanos() >= looked + LOOKED_AFTER.as_nanos() as u64
        };
        if threshold == 0 || !(none || is_due()) {
            return false;
        }
        let mut on = self.on.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut healthy) = (0_u64, 0_u64);
        for seat in seats.clone() {
            all += 1;
            healthy += u64::from(seat.endpoint.health().is_healthy());
        }
        let enough = if *on { threshold + HYSTERESIS_PPM } else { threshold };
        *on = healthy * 1_000_000 < all * enough.min(1_000_000);
        if *on {
            let until = now.plus(SPARED_FOR);
            seats.for_each(|seat| seat.endpoint.health().spare_until(until));
        }
        self.looked.fetch_max(now.as_nanos(), AcqRel);
        *on
    }
}
