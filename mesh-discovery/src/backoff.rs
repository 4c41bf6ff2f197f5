use mesh_core::time;
use std::time::Duration;

/// How long to wait before the next try: twice as long after each failure, up to a bound, with jitter, so that those
/// who lost the same server do not come back at the same moment.
///
/// The wait before retry n, counted from 0, is random between one half and the whole of `min(base · 2ⁿ, cap)`.
///
/// ```
/// use mesh_discovery::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::default();
/// let first = backoff.next_wait();
/// assert!(Duration::from_millis(50) <= first && first <= Duration::from_millis(100));
/// assert!(backoff.next_wait() >= Duration::from_millis(100));
/// backoff.reset(); // it went well
/// assert!(backoff.next_wait() <= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    random: fastrand::Rng,
}

/// Nobody waits longer, and no sum with it overflows.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl Default for Backoff {
    /// From 100 ms to 10 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

impl Backoff {
    /// From `base`, of at least 1 ms, to `cap`, of at least `base`; both of at most a year.
    pub fn new(base: Duration, cap: Duration) -> Self {
        let base = base.clamp(Duration::from_millis(1), YEAR);
        Self { base, cap: cap.clamp(base, YEAR), failures: 0, random: fastrand::Rng::new() }
    }

    /// With a generator that always gives the same jitter.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), ..self }
    }

    /// Counts a failure, and says how long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let whole = 2_u32.checked_pow(self.failures).and_then(|factor| self.base.checked_mul(factor));
        let whole = whole.unwrap_or(self.cap).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + 0.5 * self.random.f64())
    }

    /// Counts a failure, and waits by the clock of `mesh-core`. Dropped before its end it has counted all the same.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled, as [`time::sleep`].
    pub async fn wait(&mut self) {
        let wait = self.next_wait();
        time::sleep(wait).await;
    }

    /// Begins anew: it went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many times in a row it has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_lies_in_the_upper_half_of_its_step_up_to_the_cap() {
        for seed in 0..200 {
            let mut backoff = Backoff::default().with_seed(seed);
            for step in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
                let (wait, step) = (backoff.next_wait(), Duration::from_millis(step));
                assert!(step / 2 <= wait && wait <= step, "{wait:?} of {step:?}");
            }
        }
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::MAX);
        for _ in 0..100 {
            backoff.next_wait();
        }
        assert_eq!(backoff.failures(), 100);
        assert!(backoff.next_wait() >= YEAR / 2);
        assert!(
            Backoff::new(Duration::from_secs(5), Duration::from_secs(1)).next_wait() >= Duration::from_millis(2500)
        );
    }

    #[test]
    fn clients_of_one_server_do_not_come_back_together() {
        let waits: std::collections::HashSet<_> =
            (0..100).map(|seed| Backoff::default().with_seed(seed).next_wait()).collect();
        assert!(waits.len() > 90);
    }
}
