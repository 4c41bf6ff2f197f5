//! How an endpoint is chosen: plain data and arithmetic.

use crate::{
    alias::{Alias, even},
    rotation::{sequence, spread},
};

/// How an endpoint is chosen. Weights are honoured by each policy; weight 0 is never chosen, unless all are 0, which
/// counts as all being equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Policy {
    /// Each call goes to an endpoint drawn at random.
    ///
    /// Nothing is shared between calls, so nothing is contended; shares come out in the long run only.
    #[default]
    Random,
    /// The endpoints take turns, each as often in a round as its weight says, as evenly spread over it as can be.
    ///
    /// All clones of a service take turns together. Services made on their own, such as those of several workers,
    /// each begin at a place of their own in the round, so that they do not all call the same endpoint at once.
    /// Shares are exact over each round of up to 65,536 turns; where the weights need a longer one they are kept
    /// within a few calls.
    RoundRobin,
}

/// What a policy comes to for given weights.
#[derive(Debug)]
pub(crate) enum Choice {
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

/// What a choice is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// 64 random bits.
    Random,
    /// The number of the turn.
    Turn,
}

impl Choice {
    /// There must be at least one weight.
    pub(crate) fn new(policy: Policy, weights: &[u32]) -> Self {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        match policy {
            Policy::Random if equal => Choice::Even(weights.len()),
            Policy::Random => Choice::Weighted(Alias::new(weights)),
            Policy::RoundRobin if equal => Choice::InTurn(weights.len()),
            Policy::RoundRobin => match sequence(weights) {
                Some(turns) => Choice::Sequence(turns),
                None => Choice::Spread(Alias::new(weights)),
            },
        }
    }

    #[inline]
    pub(crate) fn draws(&self) -> Draw {
        match self {
            Choice::Even(_) | Choice::Weighted(_) => Draw::Random,
            Choice::InTurn(_) | Choice::Sequence(_) | Choice::Spread(_) => Draw::Turn,
        }
    }

    /// The place of the one that is chosen: a pure function, in constant time.
    #[inline]
    pub(crate) fn choose(&self, draw: u64) -> usize {
        match self {
            Choice::Even(count) => even(draw, *count),
            Choice::Weighted(alias) => alias.choose(draw),
            Choice::InTurn(count) => (draw % *count as u64) as usize,
            Choice::Sequence(turns) => turns[(draw % turns.len() as u64) as usize] as usize,
            Choice::Spread(alias) => alias.choose(spread(draw)),
        }
    }
}
