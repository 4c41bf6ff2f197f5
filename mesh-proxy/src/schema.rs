//! The JSON Schema of specs, made of the types that read them, for editors.

use crate::{
    layers::Layers,
    spec::{Discovery, Pipeline, Registrar, Root},
};
use mesh_core::{
    Protocol, Registry,
    pipeline::Site,
    spec::{Node, Position},
};
use schemars::{
    Schema, SchemaGenerator,
    generate::SchemaSettings,
    json_schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// The JSON Schema (draft 7) of a whole spec with these layers and sources. It takes what is written, before
/// environment variables are expanded.
pub fn schema(layers: &Layers) -> Value {
    let (mut root, _) = described(layers);
    References.transform(&mut root);
    root.insert("title".into(), "A spec of mesh".into());
    root.to_value()
}

/// The schema of a spec after environment variables are expanded, and the layers in it with the schemas of their settings.
pub(crate) fn described(layers: &Layers) -> (Schema, Vec<Registered<'_>>) {
    let mut generator = generator();
    let pipeline = pipeline(&mut generator, layers);
    let discovery = layers.discovery.schema(&mut generator);
    let registrar = layers.discovery.registrar_schema(&mut generator);
    let definitions = generator.definitions_mut();
    definitions.insert(Pipeline::NAME.into(), pipeline.into());
    definitions.insert(Discovery::NAME.into(), discovery.into());
    definitions.insert(Registrar::NAME.into(), registrar.into());
    let mut all: Vec<_> = all(layers).collect();
    for layer in &mut all {
        layer.settings = (layer.schema)(&mut generator).to_value();
        with_common_settings(&mut layer.settings, generator.definitions_mut());
    }
    (generator.into_root_schema_for::<Root>(), all)
}

/// The registered layers, a line each: name, protocols, settings, and what it does.
pub fn describe(layers: &Layers) -> String {
    let rows: Vec<[String; 4]> = all(layers)
        .map(|layer| {
            let mut generator = generator();
            let schema = (layer.schema)(&mut generator).to_value();
            let mut names = Vec::new();
            property_names(&schema, generator.definitions(), &mut names);
            [layer.name.into(), layer.protocols.join(", "), names.join(", "), layer.about.into()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [name, protocols, settings, about] in &rows {
        let _ = writeln!(text, "{name:first$}  {protocols:second$}  {settings:third$}  {about}");
    }
    text
}

/// A layer, of whatever protocols it is registered for.
pub(crate) struct Registered<'a> {
    pub(crate) name: &'static str,
    pub(crate) protocols: Vec<&'static str>,
    pub(crate) about: &'a str,
    schema: Box<dyn Fn(&mut SchemaGenerator) -> Schema + 'a>,
    /// What `schema` gives, in the generator of a whole spec.
    pub(crate) settings: Value,
    /// The name alone will do, since the defaults do.
    pub(crate) alone: bool,
}

/// The layers by name; those of one name have the same settings.
fn all(layers: &Layers) -> impl Iterator<Item = Registered<'_>> {
    let mut all = BTreeMap::new();
    add(&layers.http, &mut all);
    add(&layers.tcp, &mut all);
    all.into_values()
}

fn add<'a, P: Protocol>(registry: &'a Registry<P>, all: &mut BTreeMap<&'static str, Registered<'a>>) {
    let nothing = Node::new(mesh_core::spec::Value::Mapping(Vec::new()), Position::UNKNOWN);
    for (name, factory) in registry.layers() {
        let registered = all.entry(name).or_insert_with(|| Registered {
            name,
            protocols: Vec::new(),
            about: factory.about(),
            schema: Box::new(|generator| factory.schema(generator)),
            settings: Value::Null,
            alone: factory.check(&nothing, &Site::library()).is_ok(),
        });
        registered.protocols.push(P::NAME);
    }
}

/// Draft 7 is what editors know best.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().into_generator()
}

fn pipeline(generator: &mut SchemaGenerator, layers: &Layers) -> Schema {
    let mut alone = Vec::new();
    let mut properties = Map::new();
    for layer in all(layers) {
        if layer.alone {
            alone.push(layer.name);
        }
        let settings = (layer.schema)(generator);
        let alternatives = json!([settings, { "type": "null" }]);
        properties.insert(layer.name.into(), json!({ "description": layer.about, "anyOf": alternatives }));
    }
    json_schema!({
        "description": "Layers, outermost first.",
        "type": ["array", "null"],
        "items": {
            "anyOf": [
                { "enum": alone },
                {
                    "type": "object",
                    "properties": properties,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false,
                },
            ],
        },
    })
}

/// What the settings of any layer may also say.
fn with_common_settings(schema: &mut Value, definitions: &mut Map<String, Value>) {
    if let Some(name) = reference(schema) {
        let Some(mut definition) = definitions.remove(&name) else { return };
        with_common_settings(&mut definition, definitions);
        definitions.insert(name, definition);
        return;
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(schemas)) = schema.get_mut(alternatives) {
            schemas.iter_mut().for_each(|schema| with_common_settings(schema, definitions));
        }
    }
    if schema.get("type").is_some_and(|kind| kind == "object") {
        schema["properties"]["id"] =
            json!({ "type": "string", "minLength": 1, "description": "The name that its state is kept under." });
        schema["properties"]["shadow"] =
            json!({ "type": "boolean", "description": "Decide and count, and let pass what it refuses." });
    }
}

fn property_names(schema: &Value, definitions: &Map<String, Value>, names: &mut Vec<String>) {
    if let Some(definition) = reference(schema).and_then(|name| definitions.get(&name)) {
        property_names(definition, definitions, names);
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(schemas)) = schema.get(alternatives) {
            schemas.iter().for_each(|schema| property_names(schema, definitions, names));
        }
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        names.extend(properties.keys().cloned());
    }
}

/// The name of the definition that a schema refers to.
pub(crate) fn reference(schema: &Value) -> Option<String> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/definitions/").map(str::to_owned)
}

/// What names an environment variable fits wherever a scalar does.
struct References;

/// A text with a reference in it.
const REFERENCE: &str = r"\$\{";

impl Transform for References {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        // a reference may fit several alternatives
        if let Some(alternatives) = object.remove("oneOf") {
            object.insert("anyOf".into(), alternatives);
        }
        let own = json!({ "type": "string", "pattern": REFERENCE });
        if let Some(Value::Array(alternatives)) = object.get_mut("anyOf")
            && alternatives.iter().any(|one| one.get("const").is_some())
        {
            alternatives.push(own);
        } else if let Some(values) = object.remove("enum") {
            object.remove("type");
            object.insert("anyOf".into(), json!([{ "enum": values }, own]));
        } else if let Some(Value::String(pattern)) = object.get_mut("pattern")
            && !pattern.contains(REFERENCE)
        {
            *pattern = format!("(?:{pattern})|{REFERENCE}");
        } else if let Some(kinds) = object.get_mut("type") {
            let scalar = |kind: &Value| kind == "integer" || kind == "number" || kind == "boolean";
            let all = match &*kinds {
                Value::Array(kinds) => kinds.clone(),
                one => vec![one.clone()],
            };
            if all.iter().any(scalar) && !all.iter().any(|kind| kind == "string") {
                *kinds = all.into_iter().chain([json!("string")]).collect();
                object.insert("pattern".into(), REFERENCE.into());
            }
        }
    }
}
