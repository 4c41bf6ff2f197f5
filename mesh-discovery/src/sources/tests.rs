use super::*;
use crate::{Leave, Registration, Static, Updates, updates};
use mesh_core::spec::{Key, Position};
use serde::Deserialize;
use serde_json::json;

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    #[serde(default)]
    port: u16,
}

impl Validate for Settings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.name.is_empty() { Err(Invalid::new("must not be empty").in_path("name")) } else { Ok(()) }
    }
}

struct Quiet;

impl Discovery for Quiet {
    fn updates(&self) -> Updates {
        updates(async |_| ())
    }
}

impl Registrar for Quiet {
    fn register(&self, _: Target) -> Registration {
        Registration::spawn(async |mut leave: Leave| leave.asked().await)
    }
}

fn sources() -> Sources {
    let mut sources = Sources::new();
    crate::register(&mut sources);
    sources.add("quiet", "Says nothing", |_: Settings| Quiet);
    sources.add_registrar("quiet", "Keeps nothing", |_: Settings| -> Arc<dyn Registrar> { Arc::new(Quiet) });
    sources
}

fn key(name: &str, line: u32) -> Key {
    Key::new(name, Position::new(line, 1))
}

fn text(text: &str, line: u32) -> Node {
    Node::new(Value::String(text.into()), Position::new(line, 9))
}

fn mapping(entries: impl IntoIterator<Item = (Key, Node)>, line: u32) -> Node {
    Node::new(Value::Mapping(entries.into_iter().collect()), Position::new(line, 5))
}

#[test]
fn a_source_is_made_of_its_settings() {
    let sources = sources();
    let source = sources.check(&json!({ "quiet": { "name": "orders" } }).into()).unwrap();
    assert_eq!((source.name(), source.effective()), ("quiet", &json!({ "name": "orders", "port": 0 })));
    assert_eq!(source.fixed_targets(), None);

    let source = sources.check(&json!({ "static": ["127.0.0.1:1"] }).into()).unwrap();
    let expected = Static::new([Target::new("127.0.0.1:1".parse::<mesh_core::Address>().unwrap())]).unwrap();
    assert_eq!(source.fixed_targets(), Some(expected.targets()));
    assert_eq!(source.effective(), &json!([{ "address": "127.0.0.1:1", "weight": 1 }]));
    assert_eq!(source.discovery().fixed(), source.fixed_targets(), "a shared one says the same");
    let known: Vec<_> = sources.sources().map(|(name, _)| name).collect();
    assert!(["quiet", "static"].iter().all(|name| known.contains(name)));
    assert_eq!(sources.registrars().collect::<Vec<_>>(), [("quiet", "Keeps nothing")]);
}

#[test]
fn what_did_not_change_is_equal() {
    let sources = sources();
    let check = |value| sources.check(&Node::from(value)).unwrap();
    let first = check(json!({ "static": [] }));
    assert_eq!(first, first.clone());
    assert_eq!(first, check(json!({ "static": [] })));
    assert_ne!(first, check(json!({ "static": ["127.0.0.1:1"] })));
    assert_ne!(first, check(json!({ "quiet": { "name": "a" } })));
}

#[test]
fn faults_say_what_and_where() {
    let sources = sources();
    let settings = |entries| mapping([(key("quiet", 2), mapping(entries, 3))], 1);
    let two = mapping([(key("static", 2), Node::default()), (key("quiet", 3), Node::default())], 1);
    for (node, line, message) in [
        (mapping([(key("qiet", 2), Node::default())], 1), 2, "unknown source `qiet`; did you mean `quiet`?"),
        (two, 3, "expected `static` alone, found another key `quiet`; there is exactly one source"),
        (mapping([], 1), 1, "expected a source as `{ NAME: settings }`, found an empty mapping"),
        (text("static", 4), 4, "expected a source as `{ NAME: settings }`, found text `static`"),
        (settings(vec![(key("nam", 3), text("a", 3))]), 3, "quiet: unknown key `nam`; did you mean `name`?"),
        (settings(vec![(key("name", 4), text("", 4))]), 4, "quiet.name: must not be empty"),
        (
            settings(vec![(key("name", 4), text("a", 4)), (key("port", 5), text("b", 5))]),
            5,
            "quiet.port: expected a whole number from 0 to 65535, found text `b`",
        ),
    ] {
        let invalid = sources.check(&node).unwrap_err();
        assert_eq!(invalid.position.line, line, "{invalid}");
        let shown = invalid.to_string().split_once(": ").unwrap().1.to_owned();
        assert!(shown.starts_with(message), "{shown}");
    }
    let invalid = sources.check(&json!({ "carrier_pigeon": {} }).into()).unwrap_err();
    assert!(invalid.suggestion.unwrap().starts_with("the sources are "));
    let invalid = sources.check_registrar(&json!({ "static": [] }).into()).unwrap_err();
    assert_eq!(invalid.to_string(), "unknown registrar `static`; the registrars are quiet");
}

#[tokio::test]
async fn a_registrar_is_made_of_its_settings() {
    let registrar = sources().check_registrar(&json!({ "quiet": { "name": "orders", "port": 1 } }).into()).unwrap();
    assert_eq!((registrar.name(), registrar.effective()), ("quiet", &json!({ "name": "orders", "port": 1 })));
    let instance = Target::new("127.0.0.1:1".parse::<mesh_core::Address>().unwrap());
    registrar.registrar().register(instance).deregister().await;
}

#[test]
fn the_schema_has_one_alternative_for_each() {
    let mut generator = SchemaGenerator::default();
    let schema = sources().schema(&mut generator).to_value();
    let alternatives = schema["oneOf"].as_array().unwrap();
    let quiet = alternatives.iter().find(|one| one["required"] == json!(["quiet"])).unwrap();
    assert_eq!(quiet["properties"]["quiet"], json!({ "$ref": "#/$defs/Settings" }));
    assert_eq!(quiet["additionalProperties"], json!(false));
    assert_eq!(sources().registrar_schema(&mut generator).to_value()["oneOf"].as_array().unwrap().len(), 1);
}
