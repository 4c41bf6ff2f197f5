//! Equal decisions, arrival by arrival, with a token bucket in big integers, and with `governor` at ordinary rates.

use super::*;
use proptest::prelude::*;

/// A token bucket that refills: tokens are counted in 1/`period`, so that a nanosecond adds `count` and nothing is
/// rounded.
struct Bucket {
    count: i128,
    period: i128,
    size: i128,
    tokens: i128,
    last: u64,
}

impl Bucket {
    fn new(quota: Quota) -> Self {
        let period = quota.rate().per().as_nanos() as i128;
        let size = i128::from(quota.burst().get()) * period;
        Self { count: i128::from(quota.rate().count().get()), period, size, tokens: size, last: 0 }
    }

    fn refill(&mut self, now: u64) {
        let elapsed = i128::from(now.saturating_sub(self.last));
        self.tokens = (self.tokens + elapsed * self.count).min(self.size);
        self.last = self.last.max(now);
    }

    fn check(&mut self, n: u32, now: u64) -> Decided {
        self.refill(now);
        let cost = i128::from(n) * self.period;
        if cost > self.size {
            return Decided::NeverFits;
        }
        let missing = cost - self.tokens;
        if n > 0 && missing > 0 {
            let wait = (missing + self.count - 1) / self.count + i128::from(self.last - now);
            return Decided::Denied(wait as u64);
        }
        self.tokens -= cost;
        Decided::Admitted((self.tokens / self.period).max(0) as u32)
    }

    fn settle(&mut self, difference: i64, now: u64) {
        self.refill(now);
        self.tokens = (self.tokens - i128::from(difference) * self.period).min(self.size);
    }
}

#[derive(Debug, PartialEq)]
enum Decided {
    Admitted(u32),
    Denied(u64),
    NeverFits,
}

impl From<Decision> for Decided {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Admitted(room) => Decided::Admitted(room.cells()),
            Decision::Denied { wait } => Decided::Denied(wait.as_nanos() as u64),
            Decision::NeverFits => Decided::NeverFits,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many thousandths of the emission interval after the one before.
    Check {
        after: u64,
        n: u32,
    },
    /// At the very end of the wait that was announced last, or one nanosecond earlier.
    AtWait {
        early: bool,
        n: u32,
    },
    Settle {
        after: u64,
        difference: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3000u64, 0..8u32).prop_map(|(after, n)| Step::Check { after, n }),
        2 => (0..20_000u64, 0..60u32).prop_map(|(after, n)| Step::Check { after, n }),
        4 => (any::<bool>(), 0..8u32).prop_map(|(early, n)| Step::AtWait { early, n }),
        1 => (0..3000u64, -8..8i64).prop_map(|(after, difference)| Step::Settle { after, difference }),
    ]
}

/// Any rate whose fraction is kept: from one in a day to one in a nanosecond, round, prime, or odd.
fn rate() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![
        (1..10_000u64, Just(SECOND)),
        (1..16_000_000u64, Just(SECOND)),
        (1..100u64).prop_map(|ten_millions| (ten_millions * 10_000_000, SECOND)),
        (1..100_000u64, Just(86_400 * SECOND)),
        (1..1000u64, 1..1_000_000u64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decides_as_a_token_bucket_in_big_integers(
        (count, period) in rate(),
        burst in 1..50u32,
        start in prop_oneof![0..SECOND, (0..u64::MAX / 4)],
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let quota = quota(count, Duration::from_nanos(period), burst);
        let (limiter, mut bucket) = (Gcra::new(Some(quota)), Bucket::new(quota));
        let (mut now, mut announced) = (start, 0);
        for step in steps {
            let (n, later) = match step {
                Step::Check { after, n } => (n, after * (period / count) / 1000),
                Step::AtWait { early, n } => (n, u64::saturating_sub(announced, u64::from(early))),
                Step::Settle { after, difference } => {
                    now += after * (period / count) / 1000;
                    limiter.settle(difference, at(now));
                    bucket.settle(difference, now);
                    continue;
                }
            };
            now += later;
            let expected = bucket.check(n, now);
            prop_assert_eq!(&Decided::from(limiter.check(n, at(now))), &expected);
            announced = if let Decided::Denied(wait) = expected { wait } else { 0 };
        }
    }

    /// `governor` counts whole nanoseconds, so the rates here are those of whole ones.
    #[test]
    fn decides_as_governor_at_ordinary_rates(
        interval in prop_oneof![Just(1_000u64), Just(10_000), Just(1_000_000), Just(10_000_000), Just(SECOND)],
        burst in 1..50u32,
        gaps in proptest::collection::vec((0..3000u64, 1..4u32), 1..200),
    ) {
        use governor::{Quota as Theirs, RateLimiter, clock::FakeRelativeClock};
        let clock = FakeRelativeClock::default();
        let theirs = Theirs::with_period(Duration::from_nanos(interval)).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let oracle = RateLimiter::direct_with_clock(theirs, clock.clone());
        let limiter = Gcra::new(Some(quota(1, Duration::from_nanos(interval), burst)));
        let mut now = SECOND;
        for (gap, n) in gaps {
            let later = gap * interval / 1000;
            now += later;
            clock.advance(Duration::from_nanos(later));
            let expected = match oracle.check_n(NonZeroU32::new(n).unwrap()) {
                Err(_) => None,
                Ok(result) => Some(result.is_ok()),
            };
            let ours = match limiter.check(n, at(now)) {
                Decision::NeverFits => None,
                Decision::Admitted(_) => Some(true),
                Decision::Denied { .. } => Some(false),
            };
            prop_assert_eq!(ours, expected);
        }
    }
}
