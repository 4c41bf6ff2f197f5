//! What became of the requests of a run.

use std::time::Duration;

/// Latencies of the good answers, in whole microseconds.
pub(crate) struct Latencies {
    requests: u32,
    good: Vec<u32>,
}

impl Latencies {
    /// For a run of this many requests. Those that are never added are errors.
    pub(crate) fn of(requests: u32) -> Self {
        Self { requests, good: Vec::with_capacity(requests as usize) }
    }

    /// Adds the latency of a good answer, or nothing for an error.
    pub(crate) fn add(&mut self, latency: Option<Duration>) {
        self.good.extend(latency.map(|latency| u32::try_from(latency.as_micros()).unwrap_or(u32::MAX)));
    }

    /// The report.
    pub(crate) fn line(&mut self) -> String {
        self.good.sort_unstable();
        let errors = self.requests as usize - self.good.len();
        let (p50, p99, max) = (self.percentile(50), self.percentile(99), self.percentile(100));
        format!("requests {} errors {errors} p50 {p50} p99 {p99} max {max}", self.requests)
    }

    /// The smallest latency that so many percent of the answers did not exceed (nearest rank); 0 without answers.
    fn percentile(&self, percent: usize) -> u32 {
        let rank = (self.good.len() * percent).div_ceil(100);
        self.good.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut latencies = Latencies::of(100);
        (1..=100).rev().for_each(|time| latencies.add(Some(Duration::from_micros(time))));
        assert_eq!(latencies.line(), "requests 100 errors 0 p50 50 p99 99 max 100");
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let mut latencies = Latencies::of(3);
        latencies.add(Some(Duration::from_micros(7)));
        latencies.add(None);
        assert_eq!(latencies.line(), "requests 3 errors 2 p50 7 p99 7 max 7");
        assert_eq!(Latencies::of(0).line(), "requests 0 errors 0 p50 0 p99 0 max 0");
    }
}
