//! User instructions and allocations per proxied request.

use std::fmt::Write as _;

use super::callgrind::{self, Profile};
use super::program::{Program, free_port};
use super::{STOCK, origin, program, publish};
use crate::command::target;
use crate::step::Outcome;

const CONNECTIONS: usize = 8;

/// Requests on each connection in the shorter run; the longer one has twice as many, so that what
/// start, connections and end cost cancels out.
const REQUESTS: usize = 1000;

/// What the budgets of the project are about.
const DEFENDED: &str = "stock";

const MOST_INSTRUCTIONS: i64 = 33_000;
const MOST_ALLOCATIONS: f64 = 16.0;

/// A listener's settings beside its address and routes.
struct Variant {
    name: &'static str,
    listener: String,
    /// Further settings of the cluster.
    cluster: &'static str,
}

fn variants() -> Vec<Variant> {
    let bare = "forwarded: off\n    request_id: off\n    ";
    let variant = |name, listener| Variant { name, listener, cluster: "" };
    let seven = |delay: &str| {
        format!(
            "pipeline: [ tracing: 0%, fault_injection: {{ {delay}abort: {{ status: 503, percent: 0% }} }}, \
             rate_limit: {{ rate: 10000000/s, burst: 10000000 }}, concurrency_limit: {{ max: 1000000, until_end: true }} ]"
        )
    };
    let breaker = ", load_balancer: p2c, endpoint_pipeline: [ circuit_breaker: 5 ]";
    let gate = ", rate_limit: { rate: 10000000/s, burst: 10000000 }";
    vec![
        variant("no layers, header work off", format!("{bare}pipeline: []")),
        variant("no layers", "pipeline: []".to_owned()),
        variant("timeout", "pipeline: [ timeout: 30s ]".to_owned()),
        variant("metrics, timeout", "pipeline: [ metrics, timeout: 30s ]".to_owned()),
        variant(DEFENDED, format!("pipeline: [ {STOCK} ]")),
        variant("stock and four more rate limits", format!("pipeline: [ {STOCK}{} ]", gate.repeat(4))),
        Variant { name: "the seven, no delay armed", listener: seven(""), cluster: breaker },
        Variant {
            name: "the seven, a delay armed",
            listener: seven("delay: { fixed: 1s, percent: 0% }, "),
            cluster: breaker,
        },
    ]
}

/// Counts every variant; fails when the defended one is over its budget.
pub(crate) fn instructions() -> Outcome {
    program::build()?;
    let endpoint = origin::start().map_err(|error| format!("the endpoint: {error}"))?;
    let mut text = String::from(
        "# User instructions per proxied HTTP/1.1 request\n\n\
         One worker, keep-alive on both sides, 128 bytes of body, five request header fields. \
         *stock* is metrics, timeout and rate limit with request id and forwarded fields. *The seven* are discovery, \
         the power of two choices, rate limit, concurrency limit, circuit breaker, fault injection and tracing, which \
         begins a trace that is not recorded.\n\n\
         | listener | instructions | allocations | reallocations |\n| --- | ---: | ---: | ---: |\n",
    );
    let mut defended = None;
    for variant in variants() {
        println!("{} …", variant.name);
        let profile = measure(&variant, endpoint)?;
        // a difference may be a little less than nothing
        let per_request = |count: i64| count.max(0) as f64 / (CONNECTIONS * REQUESTS) as f64;
        let (allocations, reallocations) = (per_request(profile.allocations), per_request(profile.reallocations));
        let each = profile.total() / (CONNECTIONS * REQUESTS) as i64;
        let row = format!("| {} | {each} | {allocations:.1} | {reallocations:.1} |", variant.name);
        println!("{row}");
        let _ = writeln!(text, "{row}");
        if variant.name == DEFENDED {
            defended = Some((profile, each, allocations + reallocations));
        }
    }
    let Some((profile, each, allocations)) = defended else {
        return Err("the defended variant was not measured".to_owned());
    };
    text.push_str(&by_part(&profile, each));
    publish("instructions", "cargo xtask instructions", &text)?;
    if each > MOST_INSTRUCTIONS || allocations > MOST_ALLOCATIONS {
        return Err(format!(
            "{each} instructions and {allocations:.1} allocations are over the budget of \
             {MOST_INSTRUCTIONS} and {MOST_ALLOCATIONS}"
        ));
    }
    Ok(())
}

fn measure(variant: &Variant, endpoint: u16) -> Result<Profile, String> {
    let shorter = run(variant, endpoint, REQUESTS)?;
    let longer = run(variant, endpoint, 2 * REQUESTS)?;
    Ok(longer.minus(&shorter))
}

fn run(variant: &Variant, endpoint: u16, requests: usize) -> Result<Profile, String> {
    let port = free_port()?;
    let spec = format!(
        "workers: 1\n\
         listeners:\n  web:\n    bind: \"127.0.0.1:{port}\"\n    {}\n\
         \x20   routes: [ {{ match: {{ path: {{ prefix: / }} }}, cluster: app }} ]\n\
         clusters:\n  app: {{ discovery: {{ static: [ \"127.0.0.1:{endpoint}\" ] }}{} }}\n",
        variant.listener, variant.cluster
    );
    let file = target().join("measure/callgrind.out");
    let program = Program::start(&callgrind::words(&file), &spec)?;
    origin::fire(port, CONNECTIONS, requests).map_err(|error| format!("the client: {error}"))?;
    program.stop()?;
    Profile::take(&file)
}

/// The table of the parts, each with at least one in two hundred of the whole.
fn by_part(profile: &Profile, each: i64) -> String {
    let requests = (CONNECTIONS * REQUESTS) as i64;
    let mut parts: Vec<(&str, i64)> =
        profile.parts.iter().map(|(part, cost)| (part.as_str(), cost / requests)).collect();
    parts.sort_by_key(|(part, cost)| (-cost, *part));
    let mut text = String::from(
        "\nWhere *stock* spends them, by the crate whose source they come from (inlined code \
         counts where it was written):\n\n| part | instructions | share |\n| --- | ---: | ---: |\n",
    );
    let mut rest = each;
    for (part, cost) in parts.into_iter().filter(|(_, cost)| cost * 200 >= each) {
        rest -= cost;
        let _ = writeln!(text, "| {part} | {cost} | {:.1} % |", percent(cost, each));
    }
    let _ = writeln!(text, "| others | {rest} | {:.1} % |", percent(rest, each));
    text
}

fn percent(part: i64, whole: i64) -> f64 {
    part as f64 * 100.0 / whole as f64
}
