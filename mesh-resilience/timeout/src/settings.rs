//! What the builder fills and a spec is read into.

use std::time::Duration;

/// The settings of a timeout.
///
/// In a spec (feature `config`) either a mapping or, as a shorthand, the time for the response alone:
/// `{ response: 2s }`, `2s`. With an empty mapping the layer keeps deadlines and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// How long the head of the response may take, from the end of the request's body. Up to 584 years; a spec
    /// refuses zero. Default: as long as it takes.
    pub response: Option<Duration>,
}

impl TimeoutSettings {
    /// This time for the response.
    pub const fn response(response: Duration) -> Self {
        Self { response: Some(response) }
    }
}
