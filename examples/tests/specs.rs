//! The specs of the examples and of the documents are good, and `stock.yaml` is complete.

use mesh_core::spec::{LayerSpec, Node};
use mesh_proxy::{Layers, Plan, read};
use schemars::SchemaGenerator;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn root(text: &str, file: &str) -> Node {
    match read::read(text, file, &|_| None) {
        Ok(document) => document.root,
        Err(faults) => panic!("{faults:#?}"),
    }
}

fn stock() -> Node {
    let path = here().join("stock.yaml");
    root(&fs::read_to_string(&path).expect("the stock spec"), "stock.yaml")
}

/// Checked with the stock layers: every fault and every warning.
fn complaints(text: &str, file: &str) -> Vec<String> {
    let document = match read::read(text, file, &|_| None) {
        Ok(document) => document,
        Err(faults) => return faults.iter().map(ToString::to_string).collect(),
    };
    match Plan::check(&document, &Layers::stock()) {
        Ok(plan) => plan.warnings().iter().map(ToString::to_string).collect(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(here())
        .expect("this directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    files.extend(
        ["mesh.yaml", "mesh-bare.yaml", "mesh-tcp.yaml"].map(|file| here().join("../benches/proxy").join(file)),
    );
    files
}

#[test]
fn every_spec_is_good() {
    for path in files() {
        // it names layers of the example's own; the test of that program checks it
        if path.ends_with("foreign.yaml") {
            continue;
        }
        let name = path.display().to_string();
        let complaints = complaints(&fs::read_to_string(&path).expect("a spec"), &name);
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

/// Those blocks that are whole specs; the others are parts.
#[test]
fn the_specs_in_the_documents_are_good() {
    for file in ["README.md", "docs/spec.md"] {
        let text = fs::read_to_string(here().join("..").join(file)).expect("the document");
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        let whole: Vec<&str> = blocks.filter(|block| block.contains("listeners:")).collect();
        assert!(!whole.is_empty(), "{file}");
        for block in whole {
            let complaints = complaints(block, file);
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        }
    }
}

#[test]
fn the_readme_shows_the_tour() {
    let tour = include_str!("../tour.yaml");
    let spec = tour.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect::<String>();
    assert!(include_str!("../../README.md").contains(&spec));
}

#[test]
fn the_default_spec_is_a_part_of_stock() {
    let (default, stock) = (root(mesh_bin::DEFAULT_SPEC, "default.yaml"), stock());
    for section in ["listeners", "clusters"] {
        let part = default.get(section).expect("a section");
        for (key, node) in part.entries() {
            let same = stock.get(section).and_then(|section| section.get(&key.name));
            assert_eq!(same.map(Node::to_json), Some(node.to_json()), "{section}.{}", key.name);
        }
    }
    assert_eq!(stock.get("admin").map(Node::to_json), default.get("admin").map(Node::to_json));
}

#[test]
fn stock_names_every_layer_and_every_setting() {
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    let (mut has_id, mut has_shadow) = (false, false);
    visit_layers(&stock(), &mut |layer| {
        has_id |= layer.id.is_some();
        has_shadow |= layer.shadow;
        keys(&layer.settings, named.entry(layer.name.clone()).or_default());
    });
    assert!(has_id && has_shadow, "what any layer may say");
    for (name, factory) in Layers::stock().http.layers() {
        let keys = named.get(name).unwrap_or_else(|| panic!("`{name}` is not in stock.yaml"));
        let mut generator = SchemaGenerator::default();
        let mut known = BTreeSet::new();
        properties(factory.schema(&mut generator).as_value(), &mut known);
        generator.take_definitions(true).values().for_each(|definition| properties(definition, &mut known));
        let missing: Vec<_> = known.difference(keys).collect();
        assert!(missing.is_empty(), "{missing:?} of `{name}` are not in stock.yaml");
    }
}

/// All keys that are written, those of mappings inside too.
fn keys(node: &Node, found: &mut BTreeSet<String>) {
    for (key, value) in node.entries() {
        found.insert(key.name.clone());
        keys(value, found);
    }
}

fn visit_layers(node: &Node, visit: &mut impl FnMut(&LayerSpec)) {
    for (key, value) in node.entries() {
        if matches!(key.name.as_str(), "pipeline" | "endpoint_pipeline") {
            LayerSpec::read_list(value).0.iter().for_each(&mut *visit);
        }
        visit_layers(value, visit);
    }
    node.items().iter().for_each(|item| visit_layers(item, visit));
}

/// The names of all properties that a schema describes.
fn properties(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(entries) => {
            if let Some(serde_json::Value::Object(names)) = entries.get("properties") {
                found.extend(names.keys().cloned());
            }
            entries.values().for_each(|value| properties(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        _ => {}
    }
}

/// What an independent validator finds.
fn breaches(schema: &serde_json::Value, spec: &serde_json::Value) -> Vec<String> {
    let validator = jsonschema::draft7::new(schema).expect("a good schema");
    validator.iter_errors(spec).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Each example names the schema in its first line, where editors look for it; that is the present one, and the spec is
/// good by it.
#[test]
fn editors_find_the_schema() {
    for path in files() {
        let text = fs::read_to_string(&path).expect("a spec");
        let first = text.lines().next().unwrap_or("");
        let name = first.strip_prefix("# yaml-language-server: $schema=");
        let name = name.unwrap_or_else(|| panic!("{}: {first}", path.display()));
        let schema =
            fs::read_to_string(path.parent().expect("a directory").join(name)).expect("the schema that it names");
        let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
        let spec = root(&text, &path.display().to_string()).to_json();
        let found = breaches(&schema, &spec);
        assert!(found.is_empty(), "{}: {found:#?}", path.display());
    }
    let present = mesh_proxy::schema(&Layers::stock());
    let kept: serde_json::Value = serde_json::from_str(include_str!("../mesh.schema.json")).expect("JSON");
    assert!(kept == present, "run `cargo run -p mesh-bin -- schema > examples/mesh.schema.json`");
}

/// What `mesh check` refuses the schema refuses, as far as a schema can know.
#[test]
fn the_schema_tells_bad_specs() {
    let schema = mesh_proxy::schema(&Layers::stock());
    let good = root(&fs::read_to_string(here().join("stock.yaml")).expect("the stock spec"), "stock.yaml").to_json();
    assert!(breaches(&schema, &good).is_empty());
    for (path, bad) in [
        ("/listenres", serde_json::json!({})),
        ("/workers", serde_json::json!(0)),
        ("/workers", serde_json::json!("two")),
        ("/shutdown/delay", serde_json::json!("5 parsecs")),
        ("/listeners/shop/protocol", serde_json::json!("htpp")),
        ("/listeners/shop/pipeline/0", serde_json::json!("rate_limit")),
        ("/listeners/shop/pipeline/0", serde_json::json!("metricss")),
        ("/listeners/shop/pipeline/0", serde_json::json!({ "metrics": {}, "timeout": "1s" })),
        ("/listeners/shop/pipeline/0", serde_json::json!({ "rate_limit": { "rate": "1/s", "brust": 5 } })),
        ("/listeners/shop/pipeline/0", serde_json::json!({ "rate_limit": { "rate": "1/s", "shadow": "maybe" } })),
        ("/listeners/shop/routes/0/match/path", serde_json::json!({ "prefix": "no-slash" })),
        ("/listeners/shop/routes/0/respond/status", serde_json::json!(99)),
        ("/clusters/shop/load_balancer", serde_json::json!("rundom")),
        ("/clusters/shop/discovery", serde_json::json!({ "statik": [] })),
        ("/clusters/shop/discovery", serde_json::json!(null)),
        ("/registrations/shop/instance", serde_json::json!({ "weight": 1 })),
    ] {
        let (parent, key) = path.rsplit_once('/').expect("a path");
        let mut spec = good.clone();
        match spec.pointer_mut(parent).expect(path) {
            serde_json::Value::Object(fields) => _ = fields.insert(key.to_owned(), bad.clone()),
            serde_json::Value::Array(items) => items[key.parse::<usize>().expect("a number")] = bad.clone(),
            other => panic!("{path}: {other}"),
        }
        assert!(!breaches(&schema, &spec).is_empty(), "{path}: {bad}");
        // a reference may stand for any scalar
        let reference = serde_json::json!("${X}");
        if let (Some(place), true) = (spec.pointer_mut(path), bad.is_number()) {
            *place = reference;
            assert!(breaches(&schema, &spec).is_empty(), "{path}");
        }
    }
}
