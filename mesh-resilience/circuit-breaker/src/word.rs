//! The word that an admission reads: state, generation and a moment, packed.

use mesh_core::Nanos;

/// What a breaker does with the calls that come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Admits, and counts how the calls end.
    Closed,
    /// Refuses, until a moment that is known. The first call after it makes the breaker half-open: there is no timer.
    Open,
    /// Admits a few calls as a trial, and refuses the rest.
    HalfOpen,
    /// Refuses, since an operator has said so, until an operator says otherwise.
    ForcedOpen,
    /// Admits and counts nothing, likewise.
    Disabled,
}

impl State {
    /// All states, for tables.
    pub const ALL: [State; 5] = [State::Closed, State::Open, State::HalfOpen, State::ForcedOpen, State::Disabled];

    /// The name that metrics and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half_open",
            State::ForcedOpen => "forced_open",
            State::Disabled => "disabled",
        }
    }
}

/// The state, and whether a half-open breaker has a place for a probe: so a refusal is one load too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Closed,
    Open,
    /// Half-open, with a place for a probe.
    Trying,
    /// Half-open, with all probes under way.
    Full,
    ForcedOpen,
    Disabled,
}

impl Phase {
    pub(crate) const fn state(self) -> State {
        match self {
            Phase::Closed => State::Closed,
            Phase::Open => State::Open,
            Phase::Trying | Phase::Full => State::HalfOpen,
            Phase::ForcedOpen => State::ForcedOpen,
            Phase::Disabled => State::Disabled,
        }
    }
}

/// `phase:3 | generation:21 | millis:40`. The milliseconds count from the clock's epoch and last for 34 years; 32 bits
/// of them would wrap after 49 days, and a breaker without traffic has nobody to notice. The generation is that of the
/// last change of state: it says to which state the verdict of a call belongs. It wraps after two million changes, which
/// matters to a call only that began exactly so many changes before.
///
/// The moment is when an open breaker may be tried, when the trial of a half-open one has taken too long, and since
/// when a closed one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

const MILLIS_BITS: u32 = 40;
const GENERATION_BITS: u32 = 21;
const MAX_MILLIS: u64 = (1 << MILLIS_BITS) - 1;
pub(crate) const MAX_GENERATION: u64 = (1 << GENERATION_BITS) - 1;

impl Word {
    pub(crate) const fn new(phase: Phase, generation: u64, millis: u64) -> Self {
        let millis = if millis > MAX_MILLIS { MAX_MILLIS } else { millis };
        Self((phase as u64) << (MILLIS_BITS + GENERATION_BITS) | (generation & MAX_GENERATION) << MILLIS_BITS | millis)
    }

    #[inline]
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn phase(self) -> Phase {
        match self.0 >> (MILLIS_BITS + GENERATION_BITS) {
            0 => Phase::Closed,
            1 => Phase::Open,
            2 => Phase::Trying,
            3 => Phase::Full,
            4 => Phase::ForcedOpen,
            _ => Phase::Disabled,
        }
    }

    #[inline]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 >> (MILLIS_BITS + GENERATION_BITS) == Phase::Closed as u64
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> MILLIS_BITS & MAX_GENERATION
    }

    #[inline]
    pub(crate) const fn phase_and_generation(self) -> u64 {
        self.0 >> MILLIS_BITS
    }

    pub(crate) const fn millis(self) -> u64 {
        self.0 & MAX_MILLIS
    }

    /// The moment.
    pub(crate) const fn moment(self) -> Nanos {
        Nanos::from_nanos(self.millis() * 1_000_000)
    }
}

/// Whole milliseconds of the clock, rounded up: what is to end then never ends early.
pub(crate) fn millis_of(now: Nanos) -> u64 {
    now.as_nanos().div_ceil(1_000_000)
}
