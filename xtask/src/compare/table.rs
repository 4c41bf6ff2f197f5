//! The report in Markdown.

use std::fmt::Write as _;

use super::goals::goals;
use super::memory::{BUSY, IDLE, SIZES};
use super::options::Options;
use super::peers::{PEERS, REFERENCE};
use super::results::{Results, Sample};
use super::scenario::{Manner, SCENARIOS, Scenario};
use super::stats::{Spread, ratios};

/// All tables, without the line that says how they were made.
pub(super) fn report(results: &Results, options: &Options, versions: &str) -> String {
    let mut text = format!(
        "# The sidecar beside other proxies\n\n\
         {versions}. The proxy has one core and one worker, endpoints and generators have the others; each has the \
         settings of `benches/proxy`. {} interleaved rounds of {} s for each figure: medians, in parentheses the \
         least and the most; a ratio is the median of the rounds' ratios. Processor time is user and system time of \
         all threads over the requests of the closed loop. Where the core is well below 100 % busy, requests/s are the \
         limit of the load, or of other work on the machine, and not of the proxy. Latencies are of an open loop at a \
         fixed rate, from when a request was due.\n\n\
         Of a machine that is shared, the ratios of a round mean more than any absolute figure, and differences below \
         a tenth mean nothing.\n",
        options.rounds, options.seconds
    );
    if options.is_whole() {
        text.push_str("\n![Processor time per request, relative to HAProxy](compare.svg)\n");
    }
    text.push_str(&goal_table(results));
    for scenario in SCENARIOS.iter().filter(|scenario| options.has(scenario.name)) {
        text.push_str(&scenario_table(results, scenario));
    }
    if !results.memory.is_empty() {
        text.push_str(&memory_tables(results));
    }
    for failure in &results.failures {
        let _ = write!(text, "\nFailed: {failure}\n");
    }
    text
}

fn goal_table(results: &Results) -> String {
    let mut text = String::from(
        "\n## Goals\n\nProcessor time per request of `mesh` over that of the other, and its memory.\n\n\
         | goal | at most | is | | rounds |\n| --- | ---: | ---: | --- | --- |\n",
    );
    for goal in goals(results) {
        let met = goal.met.map_or("not measured", |met| if met { "met" } else { "**missed**" });
        let _ = writeln!(text, "| {} | {} | {} | {met} | {} |", goal.what, goal.most, goal.found, goal.rounds);
    }
    text
}

fn scenario_table(results: &Results, scenario: &Scenario) -> String {
    let load = match scenario.manner {
        Manner::Http1 => "wrk, 64 connections",
        Manner::Http2 => "h2load, 8 connections of 32 streams",
        Manner::Fresh => "wrk, 64 connections at a time",
    };
    let mut text = format!(
        "\n## {}\n\n{load}; the open loop at {}/s.\n\n\
         | proxy | CPU µs/request | ÷ HAProxy | requests/s | core busy % | p50 µs | p99 µs | RSS MiB | errors |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        scenario.title, scenario.rate
    );
    for peer in PEERS {
        if let Some(why) = results.missing(scenario, &peer) {
            let _ = writeln!(text, "| {} | {why} | | | | | | | |", peer.title);
            continue;
        }
        let samples = results.samples(scenario.name, peer.name);
        let column = |figure: fn(&Sample) -> f64, decimals: usize| {
            let spread = Spread::of(samples.iter().map(figure));
            spread.map_or("–".to_owned(), |spread| format!("{spread:.decimals$}"))
        };
        if samples.is_empty() {
            continue;
        }
        let each = ratios(&results.processor(scenario.name, peer.name), &results.processor(scenario.name, REFERENCE));
        let ratio = Spread::of(each).map_or("–".to_owned(), |spread| format!("{spread:.2}"));
        let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
        let _ = writeln!(
            text,
            "| {} | {} | {ratio} | {} | {} | {} | {} | {} | {errors} |",
            peer.title,
            column(|sample| sample.processor, 1),
            column(|sample| sample.per_second, 0),
            column(|sample| sample.busy, 0),
            column(|sample| sample.p50, 0),
            column(|sample| sample.p99, 0),
            column(|sample| sample.resident, 1),
        );
    }
    text
}

fn memory_tables(results: &Results) -> String {
    let [few, many] = IDLE;
    let mut text = format!(
        "\n## Memory of idle connections\n\nEach has had one answer of 128 B. What the process has more than after its \
         first requests, divided by the connections; then all that is resident two seconds after they closed.\n\n\
         | proxy | start, MiB | KiB each of {few} | KiB each of {many} | after {few}, MiB | after {many}, MiB |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
    for (peer, memory) in &results.memory {
        let [few, many] = &memory.idle;
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {} | {} |",
            peer.title,
            mib(memory.start),
            few.per_connection,
            many.per_connection,
            mib(few.closed),
            mib(many.closed)
        );
    }
    let [(_, small), (_, large)] = SIZES;
    let _ = write!(
        text,
        "\n## Memory of {BUSY} busy connections\n\nThe most that was resident under load, and ten seconds after it, \
         in MiB.\n\n| proxy | {small} | ten seconds later | {large} | ten seconds later | errors |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for (peer, memory) in &results.memory {
        let [small, large] = &memory.busy;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            peer.title,
            mib(small.most),
            mib(small.closed),
            mib(large.most),
            mib(large.closed),
            small.errors + large.errors
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(processor: f64) -> Sample {
        Sample { processor, per_second: 1000.0, ..Sample::default() }
    }

    #[test]
    fn a_row_has_medians_ranges_and_the_ratio_of_the_rounds() {
        let mut results = Results::default();
        let scenario = &SCENARIOS[0];
        for (ours, theirs) in [(10.0, 20.0), (30.0, 10.0), (20.0, 20.0)] {
            results.add(scenario, &PEERS[0], sample(ours));
            results.add(scenario, &PEERS[2], sample(theirs));
        }
        let table = scenario_table(&results, scenario);
        assert!(table.contains("| mesh | 20.0 (10.0–30.0) | 1.00 (0.50–3.00) | 1000 (1000–1000) |"), "{table}");
        assert!(
            goal_table(&results)
                .contains("| HTTP/1.1, 128 B ÷ HAProxy, same work | 1.10 | 1.00 | met | 0.50, 3.00, 1.00 |")
        );
    }

    #[test]
    fn what_was_not_run_says_why() {
        let mut results = Results::default();
        let tcp = &SCENARIOS[5];
        results.add(tcp, &PEERS[0], sample(1.0));
        results.miss(tcp, &PEERS[0], "not run: refused".to_owned());
        results.add(tcp, &PEERS[0], sample(1.0));
        let table = scenario_table(&results, tcp);
        assert!(table.contains("| mesh | not run: refused | | | | | | | |"), "{table}");
        assert!(!table.contains("HAProxy, plain"));
    }
}
