//! Which traces are recorded: OpenTelemetry's consistent probability sampling. All who compare the same random bits
//! with the same threshold decide the same, and whoever samples more records all that the others do.

use mesh_core::units::Ratio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of randomness.
pub(crate) const BITS: u32 = 56;
const MASK: u64 = (1 << BITS) - 1;

/// What the caller's decision counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
pub enum Parent {
    /// It is followed: recorded is what the caller records.
    #[default]
    Follow,
    /// Nothing: the ratio decides for every trace. For an edge whose clients are not to decide what is recorded.
    Ignore,
}

/// How many of 2⁵⁶ random numbers are too small to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(u64);

impl Threshold {
    const NONE_PASS: Threshold = Threshold(1 << BITS);

    pub(crate) fn of(ratio: Ratio) -> Self {
        let rejected = u128::from(Ratio::ONE.ppm() - ratio.ppm()) << BITS;
        let million = u128::from(Ratio::ONE.ppm());
        Self(((rejected + million / 2) / million) as u64)
    }

    /// Whether a trace with these random bits is recorded.
    pub(crate) fn passes(self, randomness: u64) -> bool {
        randomness & MASK >= self.0
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NONE_PASS
    }

    /// The number itself.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Threshold and caller's part in one word, so that a request sees either the old or the new.
#[derive(Debug)]
pub(crate) struct Rule(AtomicU64);

/// A rule as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling(u64);

const FOLLOW: u64 = 1 << 62;
const OFF: u64 = 1 << 63;

impl Rule {
    pub(crate) fn new(sample: Ratio, parent: Parent) -> Self {
        let follow = if parent == Parent::Follow { FOLLOW } else { 0 };
        Self(AtomicU64::new(Threshold::of(sample).0 | follow))
    }

    #[inline]
    pub(crate) fn read(&self) -> Ruling {
        Ruling(self.0.load(Relaxed))
    }

    pub(crate) fn set_sample(&self, sample: Ratio) {
        self.change(FOLLOW | OFF, Threshold::of(sample).0);
    }

    pub(crate) fn set_parent(&self, parent: Parent) {
        self.change(!FOLLOW, if parent == Parent::Follow { FOLLOW } else { 0 });
    }

    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.change(!OFF, if enabled { 0 } else { OFF });
    }

    fn change(&self, keep: u64, set: u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| Some(word & keep | set));
    }
}

impl Ruling {
    #[inline]
    pub(crate) fn is_off(self) -> bool {
        self.0 & OFF != 0
    }

    #[inline]
    pub(crate) fn follows(self) -> bool {
        self.0 & FOLLOW != 0
    }

    pub(crate) fn threshold(self) -> Threshold {
        Threshold(self.0 & !(FOLLOW | OFF))
    }
}
