//! What the sidecar is to reach, and whether it does.

use super::memory::Memory;
use super::peers::{PEERS, Peer, REFERENCE};
use super::results::Results;
use super::scenario::SCENARIOS;
use super::stats::{Spread, ratios};

/// Scenario, the peer that it is measured against, the most that ours may cost of it.
const RATIOS: [(&str, &str, f64); 6] = [
    ("http1-small", REFERENCE, 1.1),
    ("http1-small", "envoy", 0.45),
    ("local", REFERENCE, 1.0),
    ("http2", REFERENCE, 1.05),
    ("fresh", REFERENCE, 2.0),
    ("tcp", REFERENCE, 1.0),
];

/// What is measured, in which unit, the most it may be, and where it is found.
type Bound = (&'static str, &'static str, f64, fn(&Memory) -> f64);

const MIB: f64 = 1024.0;

const MEMORY: [Bound; 6] = [
    ("an idle connection, of 1,000", "KiB", 15.0, |memory| memory.idle[0].per_connection),
    ("2 s after 1,000 idle ones closed", "MiB", 8.0, |memory| memory.idle[0].closed as f64 / MIB),
    ("512 busy connections, 128 B", "MiB", 12.0, |memory| memory.busy[0].most as f64 / MIB),
    ("10 s after they closed, 128 B", "MiB", 12.0, |memory| memory.busy[0].closed as f64 / MIB),
    ("512 busy connections, 16 KiB", "MiB", 20.0, |memory| memory.busy[1].most as f64 / MIB),
    ("10 s after they closed, 16 KiB", "MiB", 12.0, |memory| memory.busy[1].closed as f64 / MIB),
];

/// The name of the peer whose goals these are.
const OURS: &str = "mesh";

/// A line of the table of goals.
#[derive(Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) most: String,
    pub(super) found: String,
    /// Absent where it was not measured.
    pub(super) met: Option<bool>,
    pub(super) rounds: String,
}

/// All of them, in the order in which they are set.
pub(super) fn goals(results: &Results) -> Vec<Goal> {
    let ratios = RATIOS.iter().map(|(scenario, against, most)| {
        let title = SCENARIOS.iter().find(|known| known.name == *scenario).map_or("", |known| known.title);
        let each = ratios(&results.processor(scenario, OURS), &results.processor(scenario, against));
        of_ratios(&format!("{title} ÷ {}", self::title(against)), *most, &each)
    });
    let memory = results.memory.iter().find(|(peer, _)| peer.name == OURS).map(|(_, memory)| memory);
    let memory = MEMORY.iter().map(|(what, unit, most, find)| {
        let found = memory.map(find);
        Goal {
            what: format!("memory, {what}"),
            most: format!("{most} {unit}"),
            found: found.map_or("–".to_owned(), |found| format!("{found:.1} {unit}")),
            met: found.map(|found| found <= *most),
            rounds: String::new(),
        }
    });
    ratios.chain(memory).collect()
}

fn title(peer: &str) -> &'static str {
    PEERS.iter().find(|known: &&Peer| known.name == peer).map_or("", |known| known.title)
}

/// The median counts.
fn of_ratios(what: &str, most: f64, each: &[f64]) -> Goal {
    let spread = Spread::of(each.iter().copied());
    let rounds: Vec<String> = each.iter().map(|ratio| format!("{ratio:.2}")).collect();
    Goal {
        what: what.to_owned(),
        most: format!("{most:.2}"),
        found: spread.map_or("–".to_owned(), |spread| format!("{:.2}", spread.median)),
        met: spread.map(|spread| spread.median <= most),
        rounds: rounds.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_decides() {
        let goal = of_ratios("x", 1.0, &[1.3, 0.9, 0.95]);
        assert_eq!((goal.met, goal.found.as_str(), goal.rounds.as_str()), (Some(true), "0.95", "1.30, 0.90, 0.95"));
        assert_eq!(of_ratios("x", 1.0, &[1.3, 0.9, 1.1]).met, Some(false));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(of_ratios("x", 1.0, &[]).met, None);
        assert!(goals(&Results::default()).iter().all(|goal| goal.met.is_none()));
    }

    #[test]
    fn every_goal_is_of_a_known_scenario_and_peer() {
        for (scenario, against, _) in RATIOS {
            assert!(SCENARIOS.iter().any(|known| known.name == scenario), "{scenario}");
            assert!(PEERS.iter().any(|known| known.name == against), "{against}");
        }
    }
}
