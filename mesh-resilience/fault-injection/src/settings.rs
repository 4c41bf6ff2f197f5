//! What the builder fills and a spec is read into.

use mesh_core::units::Ratio;
use std::{num::NonZeroU32, time::Duration};

/// The settings of fault injection.
///
/// In a spec (feature `config`) a mapping: `{ delay: { fixed: 100ms, percent: 5% }, abort: { status: 503, percent: 1% } }`.
/// Each kind of fault is drawn for on its own; a call may be delayed and then aborted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSettings {
    /// Calls that wait before they go on. Default: none.
    pub delay: Option<DelaySettings>,
    /// Calls that are answered here and never made. Default: none.
    pub abort: Option<AbortSettings>,
    /// Whether a request may ask for a fault of its own, in headers; what it asks for is bounded by what is set here, and
    /// one that asks for nothing gets nothing. Only for listeners whose clients are trusted. Default: no.
    pub header: bool,
    /// How many calls may be delayed at once; one more is not. Default: as many as there are.
    pub max_active: Option<NonZeroU32>,
    /// For how long faults are injected, from when the layer was made or these settings were put in force; after that
    /// it is off. Default: as long as it stands.
    pub until: Option<Duration>,
    /// With a seed the same requests get the same faults: what is drawn for a request depends on nothing but the seed
    /// and its `x-request-id`, or where it has none its number among those without. Default: drawn at random.
    pub seed: Option<u64>,
}

/// A delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelaySettings {
    /// How long.
    pub fixed: Duration,
    /// How many calls, exact to a millionth. Default 100 %.
    pub percent: Ratio,
}

/// An abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortSettings {
    /// With what.
    pub with: Abort,
    /// How many calls, exact to a millionth. Default 100 %.
    pub percent: Ratio,
}

/// What an aborted call is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// An HTTP status, 200 to 599; a gRPC request gets the status that gRPC's own table gives it.
    Status(u16),
    /// A gRPC status, 0 to 16; an HTTP request gets the status that stands for it.
    Grpc(u16),
    /// Nothing: the connection or stream is reset.
    Reset,
}
