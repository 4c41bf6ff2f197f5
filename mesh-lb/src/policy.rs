//! How an endpoint is chosen: plain data and arithmetic.

use crate::{
    alias::{Alias, even, even_two},
    estimate::Rates,
    rotation::{sequence, spread},
};
use mesh_core::units::Ratio;
use std::time::Duration;

/// How an endpoint is chosen. Weights are honoured by each policy; weight 0 is never chosen, unless all are 0, which
/// counts as all being equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "config", serde(try_from = "crate::config::Form", into = "crate::config::Form"))]
#[non_exhaustive]
pub enum Policy {
    /// Each call goes to an endpoint drawn at random.
    ///
    /// Nothing is shared between calls, so nothing is contended; shares come out in the long run only.
    Random,
    /// The endpoints take turns, each as often in a round as its weight says, as evenly spread over it as can be.
    ///
    /// All clones of a service take turns together. Services made on their own, such as those of several workers,
    /// each begin at a place of their own in the round, so that they do not all call the same endpoint at once.
    /// Shares are exact over each round of up to 65,536 turns; where the weights need a longer one they are kept
    /// within a few calls.
    RoundRobin,
    /// The power of two choices: of two different endpoints drawn at random, by weight, the one with less load.
    ///
    /// It keeps queues short without anybody knowing all of them: with n calls over n endpoints the longest is about
    /// ln ln n instead of ln n (M. Mitzenmacher, *The power of two choices in randomized load balancing*, 2001).
    /// An endpoint that fails, however fast, is avoided under each [`Load`].
    P2c {
        /// What load is.
        load: Load,
    },
}

impl Policy {
    /// [`Policy::P2c`] by this load.
    pub const fn p2c(load: Load) -> Self {
        Policy::P2c { load }
    }
}

/// [`P2c`](Policy::P2c) by [`PeakEwma`].
impl Default for Policy {
    fn default() -> Self {
        Policy::P2c { load: Load::default() }
    }
}

/// By what [`Policy::P2c`] compares two endpoints. Either is divided by the weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Load {
    /// Calls in flight, and one for each failure of late. Those halve every 10 s, to the nearest whole number: a single
    /// one counts for 10 s.
    ///
    /// Right where endpoints are alike and this process sends most of what they get: it reads no clock.
    LeastRequest,
    /// Calls in flight times how long an answer takes.
    ///
    /// The default: it sees also what others send to an endpoint, and that one is slower than another. In a model of
    /// 100 servers, every fifth of them four times slower, 70 % busy with the calls of 50 clients, the slowest
    /// hundredth takes 71 ms by it and 586 ms by calls in flight alone; of one client 68 and 95 ms.
    PeakEwma(PeakEwma),
}

/// [`Load::PeakEwma`] with its defaults.
impl Default for Load {
    fn default() -> Self {
        Load::PeakEwma(PeakEwma::default())
    }
}

/// How the time an endpoint needs to answer is estimated: an average over time that rises fast and falls slowly (the
/// *peak exponentially weighted moving average* of Finagle), of the time to the head of the answer.
///
/// Unlike the published one: reading does not write, so the average is one under load, too; what is not asked for a
/// while fades towards the median of all, not to zero, and so does not attract everybody at once; a new endpoint begins
/// at the median; a failure counts as a slow answer; a call that is dropped counts for the time it has waited, if that
/// is more than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeakEwma {
    /// After this time an estimate has lost all but 1/e of its weight, to later samples or to the median. Default
    /// 10 s. Less than 1 ms counts as 1 ms.
    pub decay: Duration,
    /// Which part of the way to a sample that is above it an estimate goes at once. Default 50 %: a single outlier does
    /// not exile an endpoint, a second one in a row does. 100 % is the published rule.
    pub rise: Ratio,
    /// How long a failed call counts for at the least; twice the median if that is longer. Default 1 s.
    pub penalty: Duration,
    /// What is expected of all endpoints until something is known of one. Default 30 ms.
    pub default_rtt: Duration,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl PeakEwma {
    pub(crate) const DEFAULT: Self = Self {
        decay: Duration::from_secs(10),
        rise: Ratio::from_percent(50).expect("a half is a part"),
        penalty: Duration::from_secs(1),
        default_rtt: Duration::from_millis(30),
    };

    /// With another [`decay`](Self::decay).
    #[must_use]
    pub const fn with_decay(self, decay: Duration) -> Self {
        Self { decay, ..self }
    }

    /// With another [`rise`](Self::rise).
    #[must_use]
    pub const fn with_rise(self, rise: Ratio) -> Self {
        Self { rise, ..self }
    }

    /// With another [`penalty`](Self::penalty).
    #[must_use]
    pub const fn with_penalty(self, penalty: Duration) -> Self {
        Self { penalty, ..self }
    }

    /// With another [`default_rtt`](Self::default_rtt).
    #[must_use]
    pub const fn with_default_rtt(self, default_rtt: Duration) -> Self {
        Self { default_rtt, ..self }
    }

    pub(crate) fn rates(&self) -> Rates {
        Rates::new(self.decay, self.rise.as_f64() as f32, self.penalty)
    }
}

/// What a policy comes to for given weights.
#[derive(Debug)]
pub(crate) enum Choice {
    /// There is nothing to choose from.
    None,
    /// One that the draw gives.
    One(Single, Draw),
    /// That one of two which has fewer requests in flight.
    Requests(Pairs),
    /// That one of two of which an answer is sooner to be expected.
    Latency(Pairs),
}

/// How one is chosen.
#[derive(Debug)]
pub(crate) enum Single {
    /// Any of so many.
    Even(usize),
    /// By weight.
    Weighted(Alias),
    /// One of so many after the other.
    InTurn(usize),
    /// One after the other as written.
    Sequence(Box<[u32]>),
    /// By weight, from draws spread evenly.
    Spread(Alias),
}

/// How two are chosen; there are two.
#[derive(Debug)]
pub(crate) enum Pairs {
    /// Any of all.
    Even,
    /// By weight.
    Weighted(Alias),
}

/// What a choice is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// 64 random bits.
    Random,
    /// The number of the turn.
    Turn,
}

impl Choice {
    pub(crate) fn new(policy: Policy, weights: &[u32]) -> Self {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let pairs = || if equal { Pairs::Even } else { Pairs::Weighted(Alias::new(weights)) };
        let (single, from) = match policy {
            _ if weights.is_empty() => return Choice::None,
            // nothing to compare: nothing is read for it
            Policy::P2c { .. } if weights.len() == 1 => (Single::Even(1), Draw::Random),
            Policy::P2c { load: Load::LeastRequest } => return Choice::Requests(pairs()),
            Policy::P2c { load: Load::PeakEwma(_) } => return Choice::Latency(pairs()),
            Policy::Random if equal => (Single::Even(weights.len()), Draw::Random),
            Policy::Random => (Single::Weighted(Alias::new(weights)), Draw::Random),
            Policy::RoundRobin if equal => (Single::InTurn(weights.len()), Draw::Turn),
            Policy::RoundRobin => {
                let spread = || Single::Spread(Alias::new(weights));
                (sequence(weights).map_or_else(spread, Single::Sequence), Draw::Turn)
            }
        };
        Choice::One(single, from)
    }
}

impl Single {
    /// The place of the one that is chosen: a pure function, in constant time.
    #[inline]
    pub(crate) fn choose(&self, draw: u64) -> usize {
        match self {
            Single::Even(count) => even(draw, *count),
            Single::Weighted(alias) => alias.choose(draw),
            Single::InTurn(count) => (draw % *count as u64) as usize,
            Single::Sequence(turns) => turns[(draw % turns.len() as u64) as usize] as usize,
            Single::Spread(alias) => alias.choose(spread(draw)),
        }
    }
}

impl Pairs {
    /// The places of two of so many; by weight they may be the same, if they are so twice in a row.
    #[inline(always)]
    pub(crate) fn choose(&self, count: usize, mut draw: impl FnMut() -> u64) -> (usize, usize) {
        match self {
            Pairs::Even => even_two(draw(), count),
            Pairs::Weighted(alias) => match alias.choose_two(draw()) {
                (first, second) if first == second => (first, alias.choose(draw())),
                two => two,
            },
        }
    }
}
