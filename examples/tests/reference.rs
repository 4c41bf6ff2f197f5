//! Every key of a spec has its line in `docs/reference.md`, and is in use in one of the examples.

use mesh_proxy::{Layers, read};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fs, path::Path};

const PAGE: &str = include_str!("../../docs/reference.md");

#[test]
fn the_page_is_the_programs() {
    assert!(
        PAGE == mesh_proxy::reference(&Layers::stock()),
        "run `cargo run -p mesh-bin -- reference > docs/reference.md`"
    );
}

/// A line for each key, with type, default and meaning.
#[test]
fn no_line_of_the_page_is_empty() {
    let rows: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 100, "{}", rows.len());
    for row in rows {
        assert!(row.matches(" | ").count() >= 3 && !row.contains("|  |"), "{row}");
    }
}

#[test]
fn every_key_is_in_use_in_an_example() {
    let schema = mesh_proxy::schema(&Layers::stock());
    let definitions = schema["definitions"].as_object().expect("definitions");
    let keys = Keys { definitions };
    let mut known = BTreeSet::new();
    keys.all("the file", &schema, &mut known);
    definitions.iter().for_each(|(name, definition)| keys.all(name, definition, &mut known));
    assert!(known.len() > 100, "{known:?}");

    let mut used = BTreeSet::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(here).expect("this directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).expect("a spec");
            let document = read::read(&text, "a spec", &|_| None).expect("a good spec");
            keys.used("the file", &schema, &document.root.to_json(), &mut used);
        }
    }
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "in no example: {missing:#?}");
}

/// The keys that a schema knows, each by the object it is in.
struct Keys<'a> {
    definitions: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    fn all(&self, place: &str, schema: &'a Value, found: &mut BTreeSet<(String, String)>) {
        // what any layer may say; that it is in use somewhere is seen with the layers
        let has_common = properties(schema).any(|(key, _)| key == "shadow");
        for (key, property) in properties(schema) {
            if has_common && matches!(key.as_str(), "id" | "shadow") {
                continue;
            }
            found.insert((place.to_owned(), key.clone()));
            self.all(&format!("{place}.{key}"), property, found);
        }
        for inner in alternatives(schema).chain(schema.get("items")).chain(schema.get("additionalProperties")) {
            self.all(place, inner, found);
        }
    }

    /// Those that this value uses.
    fn used(&self, place: &str, schema: &'a Value, value: &Value, found: &mut BTreeSet<(String, String)>) {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
            return self.used(name, &self.definitions[name], value, found);
        }
        for alternative in alternatives(schema) {
            self.used(place, alternative, value, found);
        }
        match value {
            Value::Array(items) => {
                for (schema, item) in
                    schema.get("items").into_iter().flat_map(|of| items.iter().map(move |item| (of, item)))
                {
                    self.used(place, schema, item, found);
                }
            }
            Value::Object(entries) => {
                for (key, value) in entries {
                    if let Some((_, property)) = properties(schema).find(|(name, _)| *name == key) {
                        found.insert((place.to_owned(), key.clone()));
                        self.used(&format!("{place}.{key}"), property, value, found);
                    } else if let Some(of_any_name) = schema.get("additionalProperties") {
                        self.used(place, of_any_name, value, found);
                    }
                }
            }
            _ => {}
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten()
}
