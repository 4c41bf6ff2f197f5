//! The policy in a spec.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{spec::Node, units::Ratio};
use mesh_lb::{Load, PeakEwma, Policy};
use serde_json::json;
use std::time::Duration;

#[test]
fn policies_have_names() {
    for (policy, name) in [(Policy::Random, "random"), (Policy::RoundRobin, "round_robin")] {
        assert_eq!(Node::from(json!(name)).deserialize::<Policy>().unwrap(), policy);
        assert_eq!(serde_json::to_value(policy).unwrap(), json!(name));
    }
}

fn read(value: serde_json::Value) -> Result<Policy, String> {
    Node::from(value).deserialize::<Policy>().map_err(|refused| refused.to_string())
}

#[test]
fn p2c_alone_is_the_default() {
    for value in [json!("p2c"), json!({ "p2c": {} }), json!({ "p2c": { "load": "peak_ewma" } })] {
        assert_eq!(read(value), Ok(Policy::default()));
    }
    let defaults = json!({
        "p2c": { "load": "peak_ewma", "decay": "10s", "rise": "50%", "penalty": "1s", "default_rtt": "30ms" }
    });
    assert_eq!(serde_json::to_value(Policy::default()).unwrap(), defaults);
    assert_eq!(read(defaults), Ok(Policy::default()));
}

#[test]
fn p2c_with_settings() {
    let least = json!({ "p2c": { "load": "least_request" } });
    assert_eq!(read(least.clone()), Ok(Policy::p2c(Load::LeastRequest)));
    assert_eq!(serde_json::to_value(Policy::p2c(Load::LeastRequest)).unwrap(), least);
    let ewma = PeakEwma::default()
        .with_decay(Duration::from_secs(5))
        .with_rise(Ratio::ONE)
        .with_penalty(Duration::from_millis(200))
        .with_default_rtt(Duration::from_millis(2));
    let value = json!({ "p2c": { "decay": "5s", "rise": "100%", "penalty": "200ms", "default_rtt": "2ms" } });
    assert_eq!(read(value), Ok(Policy::p2c(Load::PeakEwma(ewma))));
}

#[test]
fn another_is_refused_with_what_there_is() {
    for (value, message) in [
        (json!("least_request"), "unknown value `least_request`, expected one of `random`, `round_robin`, `p2c`"),
        (json!("round-robin"), "unknown value `round-robin`; did you mean `round_robin`?"),
        (
            json!({ "least_request": {} }),
            "unknown value `least_request`, expected one of `random`, `round_robin`, `p2c`",
        ),
        (
            json!({ "p2c": { "load": "ewma" } }),
            "p2c.load: unknown value `ewma`, expected `least_request` or `peak_ewma`",
        ),
        (json!({ "p2c": { "dekay": "1s" } }), "p2c: unknown key `dekay`; did you mean `decay`?"),
        (
            json!({ "p2c": { "decay": 10 } }),
            "p2c.decay: `10` is not a duration: expected whole numbers with units, such as `250ms`, `2s` or `1h30m`, \
             at most 213503d; did you mean `10s`?",
        ),
        (
            json!({ "p2c": { "load": "least_request", "decay": "1s" } }),
            "`decay` is a setting of `load: peak_ewma`; `least_request` has none",
        ),
        (json!({ "p2c": { "decay": "0s" } }), "`decay` must be longer than `0s`"),
    ] {
        assert_eq!(read(value), Err(message.to_owned()));
    }
}

#[test]
fn the_schema_takes_a_name_or_p2c_with_settings() {
    let schema = serde_json::to_value(schemars::schema_for!(Policy)).unwrap();
    assert_eq!(schema["anyOf"][0]["enum"], json!(["random", "round_robin", "p2c"]));
    assert_eq!(schema["anyOf"][1]["required"], json!(["p2c"]));
    let keys = schema["$defs"]["P2c"]["properties"].as_object().unwrap();
    assert_eq!(keys.keys().collect::<Vec<_>>().len(), 5, "{keys:?}");
}
