//! The policy in a spec.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::spec::Node;
use mesh_lb::Policy;
use serde_json::json;

#[test]
fn policies_have_names() {
    for (policy, name) in [(Policy::Random, "random"), (Policy::RoundRobin, "round_robin")] {
        assert_eq!(Node::from(json!(name)).deserialize::<Policy>().unwrap(), policy);
        assert_eq!(serde_json::to_value(policy).unwrap(), json!(name));
    }
    assert_eq!(Policy::default(), Policy::Random);
}

#[test]
fn another_is_refused_with_what_there_is() {
    for (value, message) in [
        (json!("least_request"), "unknown value `least_request`, expected `random` or `round_robin`"),
        (json!("round-robin"), "unknown value `round-robin`; did you mean `round_robin`?"),
        (json!({ "least_request": {} }), "unknown value `least_request`, expected `random` or `round_robin`"),
    ] {
        let refused = Node::from(value).deserialize::<Policy>().unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}
