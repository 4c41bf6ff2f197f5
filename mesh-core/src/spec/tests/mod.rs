mod deserialize;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::units::Rate;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    rate: Rate,
    #[serde(default)]
    burst: Option<NonZeroU32>,
    #[serde(default, with = "crate::units::duration::option")]
    max_wait: Option<Duration>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Mode {
    #[default]
    Reject,
    WarmUp {
        cold: u8,
    },
    Ramp(Ramp),
    Steps(u8, u8),
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ramp {
    from: u8,
}

fn node(json: serde_json::Value) -> Node {
    Node::from(json)
}

fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: serde_json::Value) -> String {
    node(json).deserialize::<T>().unwrap_err().to_string()
}

/// `field: ${NAME}` at 3:5, its value at 3:12, as a reader builds it.
fn from_environment(value: Value) -> Node {
    let node = Node { value, position: Position::new(3, 12), source: Some("${NAME}".to_owned()) };
    let key = Key::new("rate", Position::new(3, 5));
    Node::new(Value::Mapping(vec![(key, node)]), Position::new(3, 5))
}

#[test]
fn values_from_the_environment_stay_secret() {
    let node = from_environment(Value::String("hunter2".to_owned()));
    assert_eq!(format!("{node:?}"), r#"{"rate": ${NAME}}"#);
    assert_eq!(node.to_json(), json!({ "rate": "${NAME}" }));
    assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"rate":"${NAME}"}"#);
    let invalid = node.deserialize::<Settings>().unwrap_err();
    assert_eq!(invalid.position, Position::new(3, 12));
    assert!(invalid.message.starts_with("`${NAME}` is not a rate"), "{invalid}");
    let variant = node.deserialize::<BTreeMap<String, Mode>>().unwrap_err();
    assert!(variant.message.starts_with("unknown value `${NAME}`"), "{variant}");

    let long = from_environment(Value::String("secret".repeat(100)));
    let invalid = long.deserialize::<Settings>().unwrap_err();
    assert!(!invalid.to_string().contains("secret"), "{invalid}");

    // The 5 of other numbers is not the value.
    let number = from_environment(Value::Integer(5));
    let invalid = number.deserialize::<BTreeMap<String, bool>>().unwrap_err();
    assert_eq!(invalid.to_string(), "3:12: rate: expected `true` or `false`, found the number `${NAME}`");
    let invalid = Invalid::new("5 of 65535").at(&number);
    assert_eq!(invalid.message, "${NAME} of 65535");
}

#[test]
fn what_was_read_is_equal_wherever_it_was_written() {
    let here = from_environment(Value::Integer(5));
    let there = node(json!({ "rate": 5 }));
    assert_eq!(here, there);
    assert_ne!(here, node(json!({ "rate": 5.0 })));
    assert_ne!(here, node(json!({ "rate": "5" })));
    assert_ne!(here, node(json!({ "burst": 5 })));
    let nan = || Node::new(Value::Float(f64::NAN), Position::UNKNOWN);
    assert_eq!(nan(), nan());
}

#[test]
fn a_place_is_handed_through_serde() {
    #[derive(Debug, Deserialize)]
    struct Placed {
        rate: Spanned<String>,
    }

    let tree = from_environment(Value::String("orders".to_owned()));
    let placed: Placed = tree.deserialize().unwrap();
    assert_eq!(*placed.rate, "orders");
    assert_eq!(placed.rate.position, Position::new(3, 12));

    let keys: BTreeMap<Spanned<String>, Node> = tree.deserialize().unwrap();
    let (key, value) = keys.first_key_value().unwrap();
    assert_eq!(key.position, Position::new(3, 5));
    assert_eq!(value.source.as_deref(), Some("${NAME}"));

    let whole: Node = tree.deserialize().unwrap();
    assert_eq!(whole, tree);
    assert_eq!(whole.entries()[0].0.position, Position::new(3, 5));
    assert_eq!(whole.entries()[0].1.position, Position::new(3, 12));

    let wrong = tree.deserialize::<BTreeMap<String, Spanned<u8>>>();
    let invalid = wrong.unwrap_err();
    assert_eq!(invalid.position, Position::new(3, 12));

    // From any other deserializer without a place.
    let placed: Placed = serde_json::from_str(r#"{ "rate": "orders" }"#).unwrap();
    assert_eq!(placed.rate, Spanned::from("orders".to_owned()));
    let whole: Node = serde_json::from_str(r#"{ "rate": [1, -2, 2.5, null, true] }"#).unwrap();
    assert_eq!(whole, node(json!({ "rate": [1, -2, 2.5, null, true] })));
}

#[test]
fn paths_lead_to_nodes() {
    let tree = node(json!({ "routes": [{ "match": { "a.b": 1, "a": { "b": 2 } } }, 3] }));
    for (path, found) in [
        ("", json!({ "routes": [{ "match": { "a.b": 1, "a": { "b": 2 } } }, 3] })),
        ("routes[1]", json!(3)),
        ("routes[0].match.a.b", json!(1)),
        ("routes[0].match.a", json!({ "b": 2 })),
        ("routes[0].match.x.y", json!({ "a.b": 1, "a": { "b": 2 } })),
        ("routes[7].match", json!([{ "match": { "a.b": 1, "a": { "b": 2 } } }, 3])),
        ("routes[0]match", json!({ "a.b": 1, "a": { "b": 2 } })),
        ("route", json!({ "routes": [{ "match": { "a.b": 1, "a": { "b": 2 } } }, 3] })),
    ] {
        assert_eq!(tree.locate(path), &node(found), "{path}");
    }
}

#[test]
fn a_fault_is_placed_once_and_keeps_its_place() {
    let tree = from_environment(Value::Integer(5));
    let fault = Invalid::new("too few").in_path("rate");
    let placed = fault.clone().at(&tree);
    assert_eq!(placed.position, Position::new(3, 12));
    let elsewhere = placed.clone().at_position(Position::new(9, 9));
    assert_eq!(elsewhere, placed);
    assert_eq!(fault.at_position(Position::new(9, 9)).position.line, 9);
    assert_eq!(placed.in_path("[0]").in_path("pipeline").to_string(), "3:12: pipeline[0].rate: too few");
}

#[test]
fn texts_and_unit_errors_become_faults() {
    assert_eq!(Invalid::from("no"), Invalid::new("no"));
    let error = "5".parse::<Rate>().unwrap_err();
    let invalid = Invalid::from(error);
    assert_eq!(invalid.suggestion.as_deref(), Some("did you mean `5/s`?"));
    assert!(invalid.message.ends_with("`100/10s`"), "{invalid}");
}

#[test]
fn the_nearest_name_is_at_most_two_slips_away() {
    let names = ["rate", "burst", "max_wait", "concurrency_limit", "on"];
    for (name, near) in [
        ("rate", Some("rate")),
        ("RATE", Some("rate")),
        ("rte", Some("rate")),
        ("brust", Some("burst")),
        ("maxwait", Some("max_wait")),
        ("max-wait", Some("max_wait")),
        ("concurency_limt", Some("concurrency_limit")),
        ("no", Some("on")),
        ("key", None),
        ("", None),
        ("bu", None),
    ] {
        assert_eq!(nearest(name, names), near, "{name}");
    }
}

#[test]
fn layers_are_names_or_mappings_with_settings() {
    let list = node(json!([
        "access_log",
        { "metrics": null },
        { "timeout": "2s" },
        { "rate_limit": { "rate": "5/s", "id": "shared", "shadow": true } },
    ]));
    let (layers, faults) = LayerSpec::read_list(&list);
    assert_eq!(faults, []);
    let names: Vec<_> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["access_log", "metrics", "timeout", "rate_limit"]);
    assert_eq!(layers[0].settings, node(json!({})));
    assert_eq!(layers[1].settings, node(json!({})));
    assert_eq!(layers[2].settings, node(json!("2s")));
    assert_eq!(layers[3].settings, node(json!({ "rate": "5/s" })));
    assert_eq!(layers[3].id.as_deref(), Some("shared"));
    assert_eq!(layers[3].path, "[3].rate_limit");
    assert!(layers[3].shadow && !layers[2].shadow);
    assert_eq!(LayerSpec::read_list(&node(json!(null))), (vec![], vec![]));
}

#[test]
fn every_faulty_layer_is_told() {
    let list = node(json!([
        7,
        {},
        { "timeout": null, "total": "2s" },
        "metrics",
        { "rate_limit": { "rate": "5/s", "id": "", "shadow": "yes" } },
        [],
    ]));
    let (layers, faults) = LayerSpec::read_list(&list);
    assert_eq!(layers.len(), 2);
    let faults: Vec<_> = faults.iter().map(Invalid::to_string).collect();
    assert_eq!(
        faults,
        [
            "[0]: expected a layer, `name` or `name: settings`, found the number `7`",
            "[1]: expected a layer, found an empty mapping",
            "[2]: expected `timeout` alone, found another key `total`; \
             indent the settings of `timeout` further than its name",
            "[4].rate_limit.id: expected a name, found an empty text",
            "[4].rate_limit.shadow: expected `true` or `false`, found text `yes`; \
             did you mean `true`?",
            "[5]: expected a layer, `name` or `name: settings`, found a list",
        ]
    );
    let (layers, faults) = LayerSpec::read_list(&node(json!({ "timeout": "2s" })));
    assert_eq!(layers, []);
    assert_eq!(
        faults[0].to_string(),
        "expected a list of layers, found a mapping; \
         write each layer as an entry of its own: `- name` or `- name: settings`"
    );
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-z0-9/%. ]{0,8}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("rate|burst|mode|reject|[a-z]{1,5}", inner, 0..4)
                .prop_map(|entries| json!(entries)),
        ]
    })
}

proptest! {
    #[test]
    fn json_survives_the_tree(json in any_json()) {
        let tree = node(json.clone());
        prop_assert_eq!(&tree.to_json(), &json);
        prop_assert_eq!(&serde_json::to_value(&tree).unwrap(), &json);
        prop_assert_eq!(tree.deserialize::<serde_json::Value>().unwrap(), json);
        prop_assert_eq!(tree.deserialize::<Node>().unwrap(), tree);
    }

    #[test]
    fn any_tree_is_read_or_refused(json in any_json()) {
        let tree = node(json);
        let _ = tree.deserialize::<Settings>();
        let _ = tree.deserialize::<Vec<Mode>>();
        let _ = LayerSpec::read_list(&tree);
    }

    #[test]
    fn a_slip_of_the_pen_is_understood(at in 0_usize..16, c in "[a-z]") {
        let mut name = "concurrency_limit".to_owned();
        name.replace_range(at..=at, &c);
        prop_assert_eq!(nearest(&name, ["rate_limit", "concurrency_limit"]), Some("concurrency_limit"));
    }
}
