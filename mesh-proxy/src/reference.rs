//! The reference of all keys as a page of Markdown, made of the schema and so of the types that read a spec.

mod shape;

use crate::{
    layers::Layers,
    schema::{self, Registered},
};
use serde_json::{Map, Value};
use shape::{Row, Shape};
use std::{collections::BTreeMap, fmt::Write as _};

/// The page: a table for each object of a spec and for each layer, with type, default and meaning of every key.
pub fn reference(layers: &Layers) -> String {
    let (root, registered) = schema::described(layers);
    let mut root = root.to_value();
    let definitions = match root.get_mut("definitions").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut page = Page { definitions: &definitions, text: String::new(), places: BTreeMap::new() };
    page.text.push_str(HEAD);
    page.section("##", "The file", "", &root);
    page.text.push_str(LAYERS);
    for layer in &registered {
        page.layer(layer);
    }
    page.text
}

const HEAD: &str = "\
# Reference

Every key of a spec, as `mesh reference` makes it of the types that read it. NAME stands for a name of yours, `[]` for one of
a list. A default of *none* means that there is nothing of the kind, *as there* that each key below has its own.
";

const LAYERS: &str = "
## Layers

A pipeline is a list, outermost first. A layer in it is `name`, or `name: settings`. The settings of any layer may also
have

| key | type | default | |
| --- | --- | --- | --- |
| `id` | text | its place, name and ordinal | The name that its state is kept under over reloads. |
| `shadow` | `true` or `false` | `false` | Decide and count, and let pass what it refuses. Only for gates. |
";

struct Page<'a> {
    definitions: &'a Map<String, Value>,
    text: String,
    /// The title of the section that an object has, by the name of its definition.
    places: BTreeMap<String, String>,
}

impl Page<'_> {
    /// A heading, a table, and then a section for each object that the table is the first to name.
    fn section(&mut self, level: &str, title: &str, path: &str, schema: &Value) {
        let shape = Shape::of(schema, self.definitions);
        let _ = writeln!(self.text, "\n{level} {title}");
        self.table(level, path, &shape);
    }

    fn layer(&mut self, layer: &Registered<'_>) {
        let mut shape = Shape::of(&layer.settings, self.definitions);
        // what all have, which is said once
        shape.rows.retain(|row| !matches!(row.key, "id" | "shadow"));
        let (name, protocols) = (layer.name, layer.protocols.join(" and "));
        let _ = writeln!(self.text, "\n### `{name}`\n\nFor {protocols}: {}.", layer.about);
        let alone = layer.alone.then_some("the name alone");
        let short: Vec<&str> = alone.into_iter().chain(shape.scalars.iter().map(String::as_str)).collect();
        if !short.is_empty() {
            let _ = writeln!(self.text, "In place of a mapping: {}.", short.join(", or "));
        }
        self.table("####", name, &shape);
    }

    fn table(&mut self, level: &str, path: &str, shape: &Shape<'_>) {
        let mut below = Vec::new();
        if shape.rows.is_empty() {
            return;
        }
        self.text.push_str("\n| key | type | default | |\n| --- | --- | --- | --- |\n");
        for Row { key, schema, about, default } in &shape.rows {
            let inner = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
            let kind = self.kind(schema, &inner, &mut below);
            let _ = writeln!(self.text, "| `{key}` | {kind} | {default} | {} |", about.replace('|', "\\|"));
        }
        for (path, schema) in below {
            self.section(level, &format!("`{path}`"), &path, schema);
        }
    }

    /// What may stand there. Objects without a section yet are given one, by `below`.
    fn kind<'s>(&mut self, schema: &'s Value, path: &str, below: &mut Vec<(String, &'s Value)>) -> String
    where
        Self: 's,
    {
        let shape = Shape::of(schema, self.definitions);
        let mut kinds = shape.scalars.clone();
        if let Some(items) = shape.list {
            kinds.push(format!("list of {}", self.kind(items, &format!("{path}[]"), below)));
        }
        if let Some(values) = shape.map {
            kinds.push(format!("mapping of names to {}", self.kind(values, &format!("{path}.NAME"), below)));
        }
        if shape.is_pipeline {
            kinds.push("[layers](#layers)".into());
        }
        if !shape.rows.is_empty() {
            let place = match &shape.name {
                Some(name) if self.places.contains_key(name) => self.places[name].clone(),
                name => {
                    if let Some(name) = name {
                        self.places.insert(name.clone(), path.to_owned());
                    }
                    below.push((path.to_owned(), schema));
                    path.to_owned()
                }
            };
            kinds.push(format!("[mapping](#{})", anchor(&place)));
        }
        if kinds.is_empty() { "anything".into() } else { kinds.join(" or ") }
    }
}

/// What a heading is linked by.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}
