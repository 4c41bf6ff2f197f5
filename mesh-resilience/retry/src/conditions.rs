//! The conditions under which a call is tried again, by Envoy's names.

use std::fmt;

/// A condition under which a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `5xx`: the answer is an HTTP 5xx, or there is none: all of `gateway-error` too. In a protocol without HTTP's
    /// statuses an answer that says that what is called has failed.
    ServerError,
    /// `gateway-error`: an HTTP 502, 503 or 504, or no answer: `connect-failure`, `refused-stream` and `reset`, and a
    /// timeout of a layer further in.
    GatewayError,
    /// `connect-failure`: no connection could be made. Nothing was sent: tried again whatever the method.
    ConnectFailure,
    /// `refused-stream`: the request was refused before it was looked at: tried again whatever the method.
    RefusedStream,
    /// `reset`: the connection or stream ended before an answer; also any error of which nothing more is known.
    Reset,
    /// `retriable-4xx`: HTTP 409.
    Retriable4xx,
    /// `cancelled`: gRPC 1.
    Cancelled,
    /// `deadline-exceeded`: gRPC 4, and for a gRPC request a timeout of a layer further in.
    DeadlineExceeded,
    /// `resource-exhausted`: gRPC 8.
    ResourceExhausted,
    /// `internal`: gRPC 13.
    Internal,
    /// `unavailable`: gRPC 14, and for a gRPC request what gRPC takes for that: HTTP 429, 502, 503, 504, and no answer.
    Unavailable,
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 11] = [
        Condition::ServerError,
        Condition::GatewayError,
        Condition::ConnectFailure,
        Condition::RefusedStream,
        Condition::Reset,
        Condition::Retriable4xx,
        Condition::Cancelled,
        Condition::DeadlineExceeded,
        Condition::ResourceExhausted,
        Condition::Internal,
        Condition::Unavailable,
    ];

    /// Envoy's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::ServerError => "5xx",
            Condition::GatewayError => "gateway-error",
            Condition::ConnectFailure => "connect-failure",
            Condition::RefusedStream => "refused-stream",
            Condition::Reset => "reset",
            Condition::Retriable4xx => "retriable-4xx",
            Condition::Cancelled => "cancelled",
            Condition::DeadlineExceeded => "deadline-exceeded",
            Condition::ResourceExhausted => "resource-exhausted",
            Condition::Internal => "internal",
            Condition::Unavailable => "unavailable",
        }
    }
}

/// A set of [`Condition`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Conditions(u16);

impl Conditions {
    /// None.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, condition: Condition) -> Self {
        Self(self.0 | 1 << condition as u16)
    }

    /// Whether this one is among them.
    pub const fn contains(self, condition: Condition) -> bool {
        self.0 & 1 << condition as u16 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Condition> {
        Condition::ALL.into_iter().filter(move |condition| self.contains(*condition))
    }

    /// Whether one of `happened` is a reason to try again.
    pub(crate) fn match_any(self, happened: Self) -> bool {
        self.with_implied().0 & happened.0 != 0
    }

    /// With those that one of these includes.
    fn with_implied(self) -> Self {
        let mut all = self;
        if all.contains(Condition::ServerError) {
            all = all.with(Condition::GatewayError);
        }
        if all.contains(Condition::GatewayError) {
            all = all.with(Condition::ConnectFailure).with(Condition::RefusedStream).with(Condition::Reset);
        }
        all
    }
}

impl FromIterator<Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        conditions.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Condition::as_str)).finish()
    }
}
