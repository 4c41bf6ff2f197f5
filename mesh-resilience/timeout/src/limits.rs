//! The decision core: how long one call may take. Plain arithmetic on moments that come in.

use mesh_core::Nanos;
use std::time::Duration;

/// The limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the end of the request to the head of the response; [`Duration::MAX`]: as long as it takes.
    pub(crate) response: Duration,
    /// How long nothing may move; [`Duration::MAX`]: as long as it does.
    pub(crate) idle: Duration,
    /// When all must be over; [`Nanos::MAX`]: never.
    pub(crate) total: Nanos,
    /// When an answer is no longer of use; [`Nanos::MAX`]: never.
    pub(crate) deadline: Nanos,
}

impl Limits {
    #[cfg(test)]
    const NONE: Self = Self { response: Duration::MAX, idle: Duration::MAX, total: Nanos::MAX, deadline: Nanos::MAX };

    /// Whether there is nothing to watch.
    pub(crate) fn is_none(&self) -> bool {
        self.response == Duration::MAX && self.idle == Duration::MAX && self.last() == Nanos::MAX
    }

    /// The moment that nothing puts off.
    fn last(&self) -> Nanos {
        self.total.min(self.deadline)
    }

    /// The earliest moment at which a call that is first waited for at `started` can be over its limits.
    pub(crate) fn first(&self, started: Nanos) -> Nanos {
        self.last().min(started.plus(self.response.min(self.idle)))
    }

    /// When the call is over its limits, as it looks at `now`. A request that has not ended yet (`ended` is `None`)
    /// leaves the response a whole period more, and it is to be looked at again then. One that ended before the layer
    /// was called (a second attempt, or one that has waited in a layer further out) counts from the call. `moved` is
    /// when the request's body was last seen to move; its end is a move too.
    pub(crate) fn due(&self, started: Nanos, ended: Option<Nanos>, moved: Nanos, now: Nanos) -> Nanos {
        let ended = ended.map(|ended| ended.max(started));
        let response = ended.unwrap_or(now).plus(self.response);
        let idle = ended.unwrap_or(started).max(moved).plus(self.idle);
        self.last().min(response).min(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Nanos {
        Nanos::from_nanos(nanos)
    }

    fn limits(response: u64) -> Limits {
        Limits { response: Duration::from_nanos(response), ..Limits::NONE }
    }

    #[test]
    fn a_request_that_goes_on_has_another_period() {
        let limits = limits(10);
        assert_eq!(limits.first(at(100)), at(110));
        assert_eq!(limits.due(at(100), None, at(100), at(110)), at(120));
        assert_eq!(limits.due(at(100), Some(at(113)), at(100), at(120)), at(123));
        assert_eq!(limits.due(at(100), Some(at(50)), at(100), at(110)), at(110));
    }

    #[test]
    fn deadline_and_total_count_whatever_the_request_does() {
        for limits in [Limits { deadline: at(105), ..limits(10) }, Limits { total: at(105), ..limits(10) }] {
            assert_eq!(limits.first(at(100)), at(105));
            assert_eq!(limits.due(at(100), None, at(100), at(105)), at(105));
            assert!(!limits.is_none());
        }
        assert!(Limits::NONE.is_none());
    }

    #[test]
    fn idle_counts_from_what_moved_last() {
        let limits = Limits { idle: Duration::from_nanos(10), ..Limits::NONE };
        assert_eq!(limits.first(at(100)), at(110));
        assert_eq!(limits.due(at(100), None, at(100), at(110)), at(110), "a request that does not move");
        assert_eq!(limits.due(at(100), None, at(110), at(110)), at(120), "one that does");
        assert_eq!(limits.due(at(100), Some(at(104)), at(100), at(110)), at(114), "its end");
        assert_eq!(limits.due(at(100), Some(at(4)), at(100), at(110)), at(110), "an end before the call");
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
            let limits = Limits { deadline, ..limits(response) };
            let mut timer = limits.first(at(started));
            loop {
                let known = (ended <= timer.as_nanos()).then_some(at(ended));
                let due = limits.due(at(started), known, at(started), timer);
                if due <= timer {
                    break;
                }
                timer = due;
            }
            let expected = deadline.min(at(ended.max(started) + response));
            prop_assert_eq!(timer, expected);
        }

        /// A request that moves now and then, and is looked at only when the timer goes off: given up no earlier than a
        /// period after it moved last, and within two.
        #[test]
        fn idle_fires_within_two_periods(
            gaps in prop::collection::vec(1_u64..300, 0..20),
            idle in 1_u64..500,
        ) {
            let started = 1_000;
            let moves: Vec<u64> = gaps.iter().scan(started, |moment, gap| { *moment += gap; Some(*moment) }).collect();
            let limits = Limits { idle: Duration::from_nanos(idle), ..Limits::NONE };
            let (mut timer, mut moved, mut seen) = (limits.first(at(started)), at(started), 0);
            loop {
                let moves_so_far = moves.iter().filter(|moment| at(**moment) <= timer).count();
                if moves_so_far != seen {
                    (seen, moved) = (moves_so_far, timer);
                }
                let due = limits.due(at(started), None, moved, timer);
                if due <= timer {
                    break;
                }
                timer = due;
            }
            let last = moves.iter().rfind(|moment| at(**moment) <= timer).copied().unwrap_or(started);
            let quiet = timer.as_nanos() - last;
            prop_assert!(quiet >= idle && quiet <= 2 * idle, "{} of {}", quiet, idle);
        }
    }
}
