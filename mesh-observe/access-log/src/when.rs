//! Which requests are worth a line.

use crate::line::Ended;
use mesh_core::{
    Outcome,
    units::{Ratio, Statuses},
};
use std::time::Duration;

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
