//! Named, timed steps and the table that closes a run.

use std::time::{Duration, Instant};

/// What a step gives: `Err` says in one sentence why it failed.
pub(crate) type Outcome = Result<(), String>;

/// A step longer than this belongs in a target that is not part of `ci`.
const LONGEST: Duration = Duration::from_secs(8 * 60);

/// Runs steps one after the other and remembers how each ended.
///
/// A failed step does not stop the next one, so that one run reports every failure.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, Outcome)>,
}

impl Steps {
    /// Runs one step and prints its time at its end.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = step();
        let took = start.elapsed();
        match &outcome {
            Ok(()) => println!("=== {name}: ok, {}", seconds(took)),
            Err(why) => println!("=== {name}: FAILED, {}: {why}", seconds(took)),
        }
        self.done.push((name.to_owned(), took, outcome));
    }

    /// Prints the table of all steps and says whether every one of them succeeded.
    pub(crate) fn finish(self) -> Outcome {
        println!("\n{:<28} {:>9}", "step", "time");
        let mut total = Duration::ZERO;
        for (name, took, outcome) in &self.done {
            total += *took;
            let note = match outcome {
                Err(_) => "  FAILED",
                Ok(()) if *took > LONGEST => "  over eight minutes: move it to a target of its own",
                Ok(()) => "",
            };
            println!("{name:<28} {:>9}{note}", seconds(*took));
        }
        println!("{:<28} {:>9}", "total", seconds(total));
        let failed: Vec<String> = self
            .done
            .into_iter()
            .filter_map(|(name, _, outcome)| outcome.err().map(|why| format!("{name}: {why}")))
            .collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
