//! What the builder fills and a spec is read into.

use crate::{
    GrpcCode,
    policy::{MAX_OPEN, Rules},
    ring::MAX_CALLS,
};
use mesh_core::units::{Ratio, Statuses};
use std::{num::NonZeroU32, time::Duration};

/// The settings of a circuit breaker. [`Default`]: five failures in a row open it, for five seconds.
///
/// In a spec (feature `config`) a mapping:
/// `{ window: { calls: 100, failure_rate: 50% }, open_for: 5s, half_open: { probes: 3 } }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreakerSettings {
    /// So many failures in a row open it. `None`: any number is well. Default: 5, where no `window` is set.
    pub consecutive_failures: Option<NonZeroU32>,
    /// So large a part of failures among the last calls opens it. Default: `None`, they are not counted.
    ///
    /// With both, whichever comes first opens it.
    pub window: Option<WindowSettings>,
    /// How long it stays open the first time: 1 ms to 300 s, each time drawn from 0.8 to 1.2 of that. Twice as long
    /// for each further trip in a row, up to 300 s; a trip less for each `open_for` that it was closed. Default: 5 s.
    pub open_for: Duration,
    /// The trial after that.
    pub half_open: HalfOpenSettings,
    /// A state that an operator has put it into. Default: `None`, it decides by itself.
    pub force: Option<Force>,
    /// What counts as a failure.
    pub failure: FailureSettings,
}

impl Default for CircuitBreakerSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: NonZeroU32::new(5),
            window: None,
            open_for: Duration::from_secs(5),
            half_open: HalfOpenSettings::default(),
            force: None,
            failure: FailureSettings::default(),
        }
    }
}

/// The last calls, and how many of them may fail. [`Default`]: half of the last 100, from 20 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    /// How many calls are looked at: 1 to 1,048,576 (more count as that), in an eighth of a byte each.
    pub calls: NonZeroU32,
    /// The part of failures at which it opens; above 0%.
    pub failure_rate: Ratio,
    /// From how many calls on; at most `calls`. Default: 20, or `calls` if that is less.
    pub min_calls: Option<NonZeroU32>,
}

impl Default for WindowSettings {
    fn default() -> Self {
        const CALLS: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");
        const HALF: Ratio = Ratio::from_percent(50).expect("it is below 100");
        Self { calls: CALLS, failure_rate: HALF, min_calls: None }
    }
}

impl WindowSettings {
    pub(crate) fn calls(&self) -> u64 {
        u64::from(self.calls.get()).min(MAX_CALLS)
    }

    /// The number of calls from which on it is looked at, the default filled in.
    pub fn min_calls(&self) -> u32 {
        let calls = self.calls() as u32;
        self.min_calls.map_or(20, NonZeroU32::get).min(calls)
    }
}

/// How a breaker that was open is tried. [`Default`]: one call at a time, the first success closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpenSettings {
    /// How many calls at once are let through as probes. Default: 1.
    pub probes: NonZeroU32,
    /// How many of them must succeed to close it; one that fails opens it again. Default: as many as `probes`.
    pub successes: Option<NonZeroU32>,
    /// After how long probes that have not ended are given up for lost, and others let through; at least 1 ms.
    /// Default: `open_for`.
    pub max_duration: Option<Duration>,
}

impl Default for HalfOpenSettings {
    fn default() -> Self {
        Self { probes: NonZeroU32::MIN, successes: None, max_duration: None }
    }
}

/// A state that an operator puts a breaker into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Every call is refused.
    Open,
    /// Every call is admitted, and none is counted.
    Disabled,
}

/// What counts as a failure of the thing called. [`Default`]: transport errors and broken bodies, timeouts, HTTP 5xx
/// except 501, gRPC *unknown*, *deadline exceeded*, *internal*, *unavailable*, *data loss*.
///
/// A timeout of ours always counts, above the breaker or below it; a refusal by another layer of ours never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureSettings {
    /// HTTP statuses. Default: `500`, `502-599`.
    pub http: Vec<Statuses>,
    /// gRPC codes, in a head or in trailers. A number that gRPC does not know counts always. Default: 2, 4, 13, 14, 15.
    pub grpc: Vec<GrpcCode>,
    /// Whether a call counts that was not answered (no connection, a reset), or whose answer broke off; and a foreign
    /// layer's error. Default: yes.
    pub transport: bool,
    /// A call whose caller went away is nobody's failure, unless its deadline was over: then it counts; or, where this
    /// is set, unless it had taken so long. For callers with timeouts of their own, since a breaker that ignores all
    /// who gave up never opens on a server that hangs. It costs a reading of the clock for each call. Default: not set.
    pub dropped_after: Option<Duration>,
}

impl Default for FailureSettings {
    fn default() -> Self {
        let http = [Statuses::new(500, 500), Statuses::new(502, 599)];
        Self {
            http: http.into_iter().flatten().collect(),
            grpc: [2, 4, 13, 14, 15].into_iter().filter_map(GrpcCode::new).collect(),
            transport: true,
            dropped_after: None,
        }
    }
}

impl CircuitBreakerSettings {
    /// How many probes must succeed, the default filled in.
    pub(crate) fn successes(&self) -> NonZeroU32 {
        self.half_open.successes.unwrap_or(self.half_open.probes)
    }

    /// How long a trial may take, the default filled in.
    pub(crate) fn max_duration(&self) -> Duration {
        self.half_open.max_duration.unwrap_or(self.open_for)
    }

    /// What no breaker can keep is brought to what is nearest.
    pub(crate) fn rules(&self) -> Rules {
        const SHORTEST: Duration = Duration::from_millis(1);
        let window = self.window.as_ref();
        Rules {
            consecutive: self.consecutive_failures.map_or(0, |failures| failures.get().into()),
            calls: window.map_or(0, WindowSettings::calls),
            rate_ppm: window.map_or(0, |window| u64::from(window.failure_rate.ppm().max(1))),
            min_calls: window.map_or(0, |window| window.min_calls().into()),
            open_for: self.open_for.clamp(SHORTEST, MAX_OPEN),
            probes: self.half_open.probes.get().into(),
            successes: self.successes().get().into(),
            max_duration: self.max_duration().max(SHORTEST),
        }
    }
}
