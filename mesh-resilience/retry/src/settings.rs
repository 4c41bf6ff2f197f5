//! What the builder fills and a spec is read into.

use crate::conditions::{Condition, Conditions};
use mesh_core::units::{Ratio, Size};
use std::{num::NonZeroU32, time::Duration};

/// The settings of a retry.
///
/// In a spec (feature `config`) either a mapping or, as a shorthand, the attempts alone: `{ attempts: 3 }`, `3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often a request is sent at the most, the first time included. Default: 3. With 1 the layer is off.
    pub attempts: NonZeroU32,
    /// What is tried again. Default: `connect-failure`, `refused-stream`, `reset`, `unavailable`.
    pub on: Conditions,
    /// The methods whose requests may be sent again after they may have been acted on: names as
    /// [`RequestView::method`](mesh_core::RequestView::method) gives them, `*` for all. Of gRPC requests `on` alone
    /// decides. Default: the idempotent ones of HTTP (RFC 9110, 9.2.2): GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
    pub methods: Vec<String>,
    /// How many retries there may be for the requests there are; `None`: as many as `attempts` allow. Default: see
    /// [`BudgetSettings`].
    pub budget: Option<BudgetSettings>,
    /// How long is waited before a retry.
    pub backoff: BackoffSettings,
    /// How much of a request's body is kept; more goes through all the same, but cannot be sent again. Default: 64 KiB.
    pub max_body: Size,
}

impl RetrySettings {
    /// The defaults with this many attempts.
    pub fn attempts(attempts: NonZeroU32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// Whether a request of this method may be sent again after it may have been acted on.
    pub(crate) fn allows(&self, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method || allowed == "*")
    }
}

const THREE: NonZeroU32 = NonZeroU32::new(3).expect("not zero");

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: THREE,
            on: Conditions::DEFAULT,
            methods: ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].map(String::from).into(),
            budget: Some(BudgetSettings::default()),
            backoff: BackoffSettings::default(),
            max_body: Size::from_kib(64),
        }
    }
}

impl Conditions {
    /// `connect-failure`, `refused-stream`, `reset`, `unavailable`.
    pub const DEFAULT: Self = Self::NONE
        .with(Condition::ConnectFailure)
        .with(Condition::RefusedStream)
        .with(Condition::Reset)
        .with(Condition::Unavailable);
}

/// The settings of a budget: all retries are at most `ratio` of all requests, and `reserve` a second more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// The retries there may be for each request. Default: 20 %.
    pub ratio: Ratio,
    /// Retries a second that there may be beside those, so that few requests can be retried too. Default: 10.
    pub reserve: u32,
    /// For how long the reserve is saved: what is there for a burst is never more than it gives in this time, and never
    /// less than one retry. In whole milliseconds. Default: 10 s.
    pub ttl: Duration,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { ratio: TWENTY_PERCENT, reserve: 10, ttl: Duration::from_secs(10) }
    }
}

const TWENTY_PERCENT: Ratio = Ratio::from_percent(20).expect("up to 100");

/// How long is waited before a retry: anything from nothing to `min(max, base · 2ⁿ)`, with n from 0 (*full jitter*: Brooker,
/// "Exponential Backoff and Jitter", 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffSettings {
    /// The longest wait before the first retry. Default: 25 ms.
    pub base: Duration,
    /// The longest wait before any. Default: 250 ms.
    pub max: Duration,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

impl BackoffSettings {
    /// The longest wait before retry number `retry`, from 0.
    pub(crate) fn longest(&self, retry: u32) -> Duration {
        1_u32
            .checked_shl(retry)
            .and_then(|times| self.base.checked_mul(times))
            .map_or(self.max, |wait| wait.min(self.max))
    }

    /// A wait before retry number `retry`, from 0.
    pub(crate) fn draw(&self, retry: u32) -> Duration {
        let longest = u64::try_from(self.longest(retry).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(fastrand::u64(..=longest))
    }
}
