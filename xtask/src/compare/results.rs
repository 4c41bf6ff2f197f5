//! What was measured.

use std::fmt;

use super::memory::Memory;
use super::peers::Peer;
use super::scenario::Scenario;

/// One peer under one scenario in one round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Processor time of the proxy per request, in µs.
    pub(super) processor: f64,
    /// How much of its core the proxy used in the closed loop, in percent: well below 100, the load was the limit.
    pub(super) busy: f64,
    pub(super) per_second: f64,
    /// Latencies of the open loop, in µs.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Resident memory at the end of the closed loop, in MiB.
    pub(super) resident: f64,
    pub(super) errors: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { processor, busy, per_second, p50, p99, resident, errors } = self;
        write!(f, "{processor:.1} µs, {per_second:.0}/s, core {busy:.0} % busy, p50 {p50:.0} µs, p99 {p99:.0} µs, ")?;
        write!(f, "{resident:.1} MiB, {errors} errors")
    }
}

/// The samples of a peer under a scenario, one per round, or why there are none.
enum Cell {
    Samples(Vec<Sample>),
    Missing(String),
}

#[derive(Default)]
pub(super) struct Results {
    cells: Vec<(&'static str, &'static str, Cell)>,
    pub(super) memory: Vec<(&'static Peer, Memory)>,
    /// What went wrong, for the end of the run.
    pub(super) failures: Vec<String>,
}

impl Results {
    pub(super) fn add(&mut self, scenario: &Scenario, peer: &Peer, sample: Sample) {
        match self.cells.iter_mut().find(|(of, by, _)| (*of, *by) == (scenario.name, peer.name)) {
            Some((_, _, Cell::Samples(samples))) => samples.push(sample),
            Some((_, _, Cell::Missing(_))) => {}
            None => self.cells.push((scenario.name, peer.name, Cell::Samples(vec![sample]))),
        }
    }

    /// Forgets the samples of other rounds: they have nothing to be compared with.
    pub(super) fn miss(&mut self, scenario: &Scenario, peer: &Peer, why: String) {
        self.cells.retain(|(of, by, _)| (*of, *by) != (scenario.name, peer.name));
        self.cells.push((scenario.name, peer.name, Cell::Missing(why)));
    }

    /// Why there are no samples, where they were wanted.
    pub(super) fn missing(&self, scenario: &Scenario, peer: &Peer) -> Option<&str> {
        match self.cell(scenario.name, peer.name)? {
            Cell::Missing(why) => Some(why),
            Cell::Samples(_) => None,
        }
    }

    /// The samples in the order of the rounds; empty where there are none.
    pub(super) fn samples(&self, scenario: &str, peer: &str) -> &[Sample] {
        match self.cell(scenario, peer) {
            Some(Cell::Samples(samples)) => samples,
            _ => &[],
        }
    }

    /// Processor time per request, in µs, in the order of the rounds.
    pub(super) fn processor(&self, scenario: &str, peer: &str) -> Vec<f64> {
        self.samples(scenario, peer).iter().map(|sample| sample.processor).collect()
    }

    fn cell(&self, scenario: &str, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|(of, by, _)| (*of, *by) == (scenario, peer)).map(|(_, _, cell)| cell)
    }
}
