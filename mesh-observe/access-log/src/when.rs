//! Which requests are worth a line.

use crate::line::Ended;
use mesh_core::{Outcome, units::Ratio};
use std::{fmt, str::FromStr, time::Duration};

/// Which requests get a line. Each condition that is set is a reason to write one; with none set, all get one.
///
/// `When { status: vec!["5xx".parse()?], sample: Some(one_percent), ..When::default() }` writes all 5xx, and one in a
/// hundred of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// It was answered with one of these statuses.
    pub status: Vec<Statuses>,
    /// Its outcome is not a success: a failure, a refusal, a timeout, or the client went away.
    pub errors: bool,
    /// It took so long, or longer.
    pub min_duration: Option<Duration>,
    /// It is drawn at random, with this probability.
    pub sample: Option<Ratio>,
}

impl When {
    /// Whether every request gets a line.
    pub(crate) fn is_always(&self) -> bool {
        self.status.is_empty() && !self.errors && self.min_duration.is_none() && self.sample.is_none()
    }

    /// Whether only the draw decides: then nothing need be kept of a request that is not drawn.
    pub(crate) fn only_samples(&self) -> bool {
        self.status.is_empty() && !self.errors && self.min_duration.is_none()
    }

    /// Draws.
    pub(crate) fn draws(&self) -> bool {
        self.sample.is_some_and(|sample| sample.contains(fastrand::u64(..)))
    }

    /// Whether a request that has ended gets a line.
    pub(crate) fn takes(&self, ended: &Ended<'_>) -> bool {
        ended.draft.sampled
            || self.is_always()
            || (self.errors && ended.end.outcome != Outcome::Success)
            || self.min_duration.is_some_and(|least| ended.duration >= least)
            || (!self.status.is_empty()
                && ended.response_code().is_some_and(|code| self.status.iter().any(|one| one.contains(code))))
    }
}

/// HTTP statuses: one, a class or a range. Written `503`, `5xx`, `400-404`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    /// From this status to that one, both included. `None` unless 100 ≤ `first` ≤ `last` ≤ 599.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first < 100 || first > last || last > 599 { None } else { Some(Self { first, last }) }
    }

    /// Whether this status is one of them.
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) if first % 100 == 0 && last == first + 99 => write!(f, "{}xx", first / 100),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// Not what statuses look like; says what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseStatusesError(String);

impl fmt::Display for ParseStatusesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no status: expected one such as `503`, a class such as `5xx` or a range such as `400-404`",
            self.0
        )
    }
}

impl std::error::Error for ParseStatusesError {}

impl FromStr for Statuses {
    type Err = ParseStatusesError;

    fn from_str(text: &str) -> Result<Self, ParseStatusesError> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 3);
        let statuses = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) if class.len() == 1 => {
                class.parse::<u16>().ok().and_then(|class| Self::new(class * 100, class * 100 + 99))
            }
            (_, Some((first, last))) => {
                number(first).zip(number(last)).and_then(|(first, last)| Self::new(first, last))
            }
            _ => number(text).and_then(|status| Self::new(status, status)),
        };
        statuses.ok_or_else(|| ParseStatusesError(text.into()))
    }
}
