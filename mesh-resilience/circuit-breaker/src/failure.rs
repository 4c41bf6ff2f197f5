//! What counts as a failure: statuses, gRPC codes, and what is neither.

use crate::{FailureSettings, policy::Class};
use mesh_core::{Code, End, Outcome};
use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// No gRPC code of a failure; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseFailureError(String);

impl fmt::Display for ParseFailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseFailureError {}

/// A gRPC status code that counts as a failure. Written by its name, `unavailable`, or its number, `14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcCode(u8);

const GRPC_NAMES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

impl GrpcCode {
    /// The code of this number, 1 to 16; `None` for another. (0 is *ok*, which is no failure.)
    pub const fn new(code: u8) -> Option<Self> {
        if code >= 1 && code <= 16 { Some(Self(code)) } else { None }
    }

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for GrpcCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(GRPC_NAMES[usize::from(self.0)])
    }
}

impl FromStr for GrpcCode {
    type Err = ParseFailureError;

    fn from_str(text: &str) -> Result<Self, ParseFailureError> {
        let named = GRPC_NAMES.iter().position(|name| *name == text).and_then(|code| u8::try_from(code).ok());
        named.or_else(|| text.parse().ok()).and_then(Self::new).ok_or_else(|| {
            ParseFailureError(format!(
                "`{text}` is not a gRPC code of a failure: expected a name such as `unavailable`, or a number from 1 to 16"
            ))
        })
    }
}

/// [`FailureSettings`] as bits, which may change while they are read.
pub(crate) struct Failures {
    /// Statuses below 640.
    http: [AtomicU64; 10],
    /// The codes of gRPC; [`TRANSPORT`].
    other: AtomicU64,
    /// In nanoseconds; 0: no length makes a dropped call a failure.
    dropped_after: AtomicU64,
}

/// Calls that were not answered, or not to the end.
const TRANSPORT: u64 = 1 << 63;

impl Failures {
    pub(crate) fn new(settings: &FailureSettings) -> Self {
        let failures = Self { http: Default::default(), other: AtomicU64::new(0), dropped_after: AtomicU64::new(0) };
        failures.set(settings);
        failures
    }

    pub(crate) fn set(&self, settings: &FailureSettings) {
        let mut http = [0_u64; 10];
        for status in settings.http.iter().flat_map(|statuses| statuses.range()) {
            http[usize::from(status) / 64] |= 1 << (status % 64);
        }
        self.http.iter().zip(http).for_each(|(word, bits)| word.store(bits, Relaxed));
        let codes = settings.grpc.iter().fold(0, |bits, code| bits | 1 << code.get());
        self.other.store(if settings.transport { codes | TRANSPORT } else { codes }, Relaxed);
        let nanos = settings.dropped_after.map_or(0, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.dropped_after.store(nanos, Relaxed);
    }

    /// Whether it has to be known when a call began.
    #[inline]
    pub(crate) fn ask_for_length(&self) -> bool {
        self.dropped_after.load(Relaxed) != 0
    }

    /// Whether an end is a success that can be told at a glance.
    #[inline]
    pub(crate) fn is_success(&self, end: &End<'_>) -> bool {
        end.outcome == Outcome::Success
            && match end.code {
                Code::None => true,
                Code::Http(status) => self.of_http(status) == Class::Success,
                Code::Grpc(code) => code == 0,
                Code::Dubbo(_) => false,
            }
    }

    #[inline]
    fn of_http(&self, status: u16) -> Class {
        let word = self.http.get(usize::from(status) / 64).map_or(0, |word| word.load(Relaxed));
        of_bit(word, status % 64)
    }

    /// What an end says of the thing called; `began`: nanoseconds, 0 if that is not known.
    pub(crate) fn classify(&self, end: &End<'_>, began: u64) -> Class {
        match end.outcome {
            Outcome::Rejected => Class::Ignored,
            Outcome::TimedOut => Class::Failure,
            Outcome::Cancelled => self.of_drop(end, began),
            // well answered, and then it broke off: the code tells nothing of that
            Outcome::Failure if end.code.outcome() == Outcome::Success => {
                of_bit(self.other.load(Relaxed), TRANSPORT.trailing_zeros() as u16)
            }
            outcome => match end.code {
                Code::Http(status) => self.of_http(status),
                Code::Grpc(code @ 0..=16) => of_bit(self.other.load(Relaxed), code),
                Code::Grpc(_) => Class::Failure,
                Code::None | Code::Dubbo(_) if outcome == Outcome::Failure => Class::Failure,
                Code::None | Code::Dubbo(_) => Class::Success,
            },
        }
    }

    /// Whoever asked went away: because it took too long, as far as that can be known?
    fn of_drop(&self, end: &End<'_>, began: u64) -> Class {
        let dropped_after = self.dropped_after.load(Relaxed);
        let too_long = match end.context().deadline() {
            Some(deadline) if end.at().now() >= deadline => true,
            _ if dropped_after == 0 || began == 0 => false,
            _ => end.at().now().as_nanos().saturating_sub(began) >= dropped_after,
        };
        if too_long { Class::Failure } else { Class::Ignored }
    }
}

#[inline]
fn of_bit(bits: u64, bit: u16) -> Class {
    if bits >> bit & 1 == 0 { Class::Success } else { Class::Failure }
}

/// What a classifier of one's own says, with the rule for drops.
pub(crate) fn class_of(outcome: Outcome, failures: &Failures, end: &End<'_>, began: u64) -> Class {
    match outcome {
        Outcome::Success => Class::Success,
        Outcome::Failure | Outcome::TimedOut => Class::Failure,
        Outcome::Rejected => Class::Ignored,
        Outcome::Cancelled => failures.of_drop(end, began),
    }
}

/// How long an answer's head asks to be left alone: `grpc-retry-pushback-ms`, or `retry-after` in seconds. (A date
/// there would need a wall clock that agrees with the server's.)
pub(crate) fn hint(get: impl Fn(&str) -> Option<Duration>) -> Duration {
    get("grpc-retry-pushback-ms").or_else(|| get("retry-after")).unwrap_or_default()
}

pub(crate) fn read_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
