//! The decision core: how long one call may take. Plain arithmetic on moments that come in.

use mesh_core::Nanos;
use std::time::Duration;

/// The limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the end of the request to the head of the response; [`Duration::MAX`]: as long as it takes.
    pub(crate) response: Duration,
    /// When an answer is no longer of use; [`Nanos::MAX`]: never.
    pub(crate) deadline: Nanos,
}

impl Limits {
    /// Whether there is nothing to watch.
    pub(crate) fn is_none(&self) -> bool {
        self.response == Duration::MAX && self.deadline == Nanos::MAX
    }

    /// The earliest moment at which a call that is first waited for at `started` can be over its limits.
    pub(crate) fn first(&self, started: Nanos) -> Nanos {
        self.deadline.min(started.plus(self.response))
    }

    /// When the call is over its limits, as it looks at `now`. A request that has not ended yet (`ended` is `None`)
    /// leaves it a whole period more, and it is to be looked at again then. One that ended before the layer was called
    /// (a second attempt, or one that has waited in a layer further out) counts from the call.
    pub(crate) fn due(&self, started: Nanos, ended: Option<Nanos>, now: Nanos) -> Nanos {
        let from = ended.map_or(now, |ended| ended.max(started));
        self.deadline.min(from.plus(self.response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Nanos {
        Nanos::from_nanos(nanos)
    }

    #[test]
    fn a_request_that_goes_on_has_another_period() {
        let limits = Limits { response: Duration::from_nanos(10), deadline: Nanos::MAX };
        assert_eq!(limits.first(at(100)), at(110));
        assert_eq!(limits.due(at(100), None, at(110)), at(120));
        assert_eq!(limits.due(at(100), Some(at(113)), at(120)), at(123));
        assert_eq!(limits.due(at(100), Some(at(50)), at(110)), at(110));
    }

    #[test]
    fn the_deadline_counts_whatever_the_request_does() {
        let limits = Limits { response: Duration::from_nanos(10), deadline: at(105) };
        assert_eq!(limits.first(at(100)), at(105));
        assert_eq!(limits.due(at(100), None, at(105)), at(105));
        assert!(!limits.is_none());
        assert!(Limits { response: Duration::MAX, deadline: Nanos::MAX }.is_none());
    }

    proptest! {
        /// As the timer is run: set to `first`, and set again to `due` as long as that is later. It goes off exactly
        /// once the later of the request's end and the call is a period ago, or at the deadline.
        #[test]
        fn it_fires_at_the_moment_it_should(
            started in 1_u64..1_000,
            ended in 0_u64..5_000,
            response in 1_u64..500,
            deadline in prop::option::of(1_u64..6_000),
        ) {
            let deadline = at(deadline.map_or(u64::MAX, |after| started + after));
            let limits = Limits { response: Duration::from_nanos(response), deadline };
            let mut timer = limits.first(at(started));
            loop {
                let known = (ended <= timer.as_nanos()).then_some(at(ended));
                let due = limits.due(at(started), known, timer);
                if due <= timer {
                    break;
                }
                timer = due;
            }
            let expected = deadline.min(at(ended.max(started) + response));
            prop_assert_eq!(timer, expected);
        }
    }
}
