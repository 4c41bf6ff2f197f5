//! What the builder fills and a spec is read into.

use std::time::Duration;

/// The settings of a timeout.
///
/// In a spec (feature `config`) either a mapping or, as a shorthand, the time for the response alone:
/// `{ response: 2s, total: 30s, idle: 30s }`, `2s`. With an empty mapping the layer keeps deadlines and nothing else.
///
/// Each is up to 584 years; a spec refuses zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// How long the head of the response may take, from the end of the request's body. Default: as long as it takes.
    pub response: Option<Duration>,
    /// How long all of it may take, from the request's arrival to the end of the response's body; of a gRPC call, to
    /// the head of the response. Default: as long as it takes.
    pub total: Option<Duration>,
    /// How long nothing may move in either direction. Default: as long as it does.
    pub idle: Option<Duration>,
}

impl TimeoutSettings {
    /// This time for the response.
    pub const fn response(response: Duration) -> Self {
        Self { response: Some(response), total: None, idle: None }
    }
}
