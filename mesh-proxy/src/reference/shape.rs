//! What a schema lets stand at a place, in words.

use mesh_core::units::duration;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The alternatives that a schema leaves, taken together.
#[derive(Default)]
pub(super) struct Shape<'a> {
    /// The name of the definition, where it is one.
    pub(super) name: Option<String>,
    /// What is written without a mapping or list.
    pub(super) scalars: Vec<String>,
    /// The keys of the mappings.
    pub(super) rows: Vec<Row<'a>>,
    /// What the items of a list are.
    pub(super) list: Option<&'a Value>,
    /// What the values of a mapping are whose keys are names.
    pub(super) map: Option<&'a Value>,
    /// It is a list of layers.
    pub(super) is_pipeline: bool,
}

/// A key of a mapping.
pub(super) struct Row<'a> {
    pub(super) key: &'a str,
    pub(super) schema: &'a Value,
    pub(super) about: String,
    pub(super) default: String,
}

/// The pattern of durations, which have no definition of their own.
static DURATION: LazyLock<Option<Value>> =
    LazyLock::new(|| duration::schema(&mut SchemaGenerator::default()).get("pattern").cloned());

impl<'a> Shape<'a> {
    pub(super) fn of(schema: &'a Value, definitions: &'a Map<String, Value>) -> Self {
        let mut shape = Self::default();
        shape.add(schema, definitions);
        shape
    }

    fn add(&mut self, schema: &'a Value, definitions: &'a Map<String, Value>) {
        if let Some(name) = crate::schema::reference(schema) {
            if name == crate::spec::Pipeline::NAME {
                self.is_pipeline = true;
                return;
            }
            let unit = match &*name {
                "Rate" => Some("rate"),
                "Ratio" => Some("percentage"),
                "Size" => Some("size"),
                _ => None,
            };
            match (unit, definitions.get(&name)) {
                (Some(unit), _) => self.scalars.push(unit.into()),
                (None, Some(definition)) => {
                    self.name.get_or_insert(name);
                    self.add(definition, definitions);
                }
                (None, None) => {}
            }
            return;
        }
        let alternatives = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
        let alternatives: Vec<&Value> = alternatives.flatten().collect();
        if !alternatives.is_empty() {
            // of several mappings with one key each, one is written
            let single =
                |schema: &&Value| schema.get("properties").and_then(Value::as_object).is_some_and(|all| all.len() == 1);
            let exclusive = alternatives.iter().copied().filter(single).count() > 1;
            for alternative in alternatives {
                let before = self.rows.len();
                self.add(alternative, definitions);
                for row in &mut self.rows[before..] {
                    if exclusive && row.default == REQUIRED {
                        row.default = ONE_OF.into();
                    }
                    let text = about(alternative, definitions);
                    if single(&alternative) && !text.is_empty() {
                        row.about = text;
                    }
                }
            }
            return;
        }
        if let Some(value) = schema.get("const") {
            self.scalars.push(code(value));
        } else if let Some(Value::Array(values)) = schema.get("enum") {
            self.scalars.extend(values.iter().filter(|value| !value.is_null()).map(code));
        } else {
            let kinds = match schema.get("type") {
                Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(kind)) => vec![kind.as_str()],
                _ => Vec::new(),
            };
            for kind in kinds {
                self.add_kind(kind, schema, definitions);
            }
        }
    }

    fn add_kind(&mut self, kind: &str, schema: &'a Value, definitions: &'a Map<String, Value>) {
        match kind {
            "boolean" => self.scalars.push("`true` or `false`".into()),
            "integer" => self.scalars.push(whole_number(schema)),
            "number" => self.scalars.push("number".into()),
            "string" if schema.get("pattern").is_some() && schema.get("pattern") == DURATION.as_ref() => {
                self.scalars.push("duration".into());
            }
            "string" => self.scalars.push(match schema.get("examples").and_then(Value::as_array) {
                Some(examples) if examples.iter().all(|example| code(example).len() < 40) => {
                    let examples: Vec<String> = examples.iter().map(code).collect();
                    format!("text such as {}", examples.join(", "))
                }
                _ => "text".into(),
            }),
            "array" => self.list = schema.get("items"),
            "object" => {
                let required: Vec<&str> = match schema.get("required") {
                    Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).collect(),
                    _ => Vec::new(),
                };
                for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    let row = Row::new(key, property, required.contains(&key.as_str()), definitions);
                    match self.rows.iter_mut().find(|known| known.key == row.key) {
                        // in another of several mappings
                        Some(known) => {
                            known.about = format!("{} {}", known.about, row.about);
                            known.default = format!("{}; {}", known.default, row.default);
                        }
                        None => self.rows.push(row),
                    }
                }
                self.map = schema.get("additionalProperties").filter(|values| values.is_object());
            }
            _ => {}
        }
    }
}

const REQUIRED: &str = "required";
const ONE_OF: &str = "one of these";
const NONE: &str = "none";
/// What a mapping has that is not written: the defaults of its keys.
const AS_THERE: &str = "as there";

/// Whether a mapping has a default for each of its keys, which then hold without it.
fn has_defaults(schema: &Value, definitions: &Map<String, Value>) -> bool {
    let rows = Shape::of(schema, definitions).rows;
    !rows.is_empty() && rows.iter().all(|row| ![NONE, REQUIRED, ONE_OF].contains(&row.default.as_str()))
}

impl<'a> Row<'a> {
    fn new(key: &'a str, schema: &'a Value, is_required: bool, definitions: &Map<String, Value>) -> Self {
        let text = about(schema, definitions);
        let (mut about, said) = split_default(&text);
        // what each of several words means
        let choices = schema_of(schema, definitions).get("oneOf").and_then(Value::as_array).into_iter().flatten();
        for choice in choices {
            if let (Some(word), Some(meaning)) =
                (choice.get("const"), choice.get("description").and_then(Value::as_str))
                && meaning != code(word)
            {
                about.push_str(&format!(" {}: {}", code(word), prose(meaning)));
            }
        }
        let default = match (said, schema.get("default")) {
            _ if is_required => REQUIRED.into(),
            (Some(said), _) => said,
            (None, None) if has_defaults(schema, definitions) => AS_THERE.into(),
            (None, None | Some(Value::Null)) => NONE.into(),
            (None, Some(Value::Object(of_its_own))) if !of_its_own.is_empty() => AS_THERE.into(),
            (None, Some(Value::Array(items))) if items.is_empty() => NONE.into(),
            (None, Some(Value::Object(_))) => NONE.into(),
            (None, Some(value)) => code(value),
        };
        Self { key, schema, about: about.trim().to_owned(), default }
    }
}

/// The definition that a schema is, if it is nothing but one.
fn schema_of<'s>(schema: &'s Value, definitions: &'s Map<String, Value>) -> &'s Value {
    let of = |schema: &'s Value| crate::schema::reference(schema).and_then(|name| definitions.get(&name));
    let alternatives = ["allOf", "anyOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    of(schema).or_else(|| alternatives.filter_map(of).next()).unwrap_or(schema)
}

/// What a schema says of itself, or the definition that it is.
fn about(schema: &Value, definitions: &Map<String, Value>) -> String {
    let own = |schema: &Value| schema.get("description").and_then(Value::as_str).map(prose);
    own(schema).or_else(|| own(schema_of(schema, definitions))).unwrap_or_default()
}

/// One line of the first paragraph, with the words of links in place of links into the documentation of the code.
pub(super) fn prose(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let (mut plain, mut rest) = (String::new(), paragraph.as_str());
    while let Some((before, after)) = rest.split_once("](crate") {
        let (Some((before, words)), Some((_, after))) = (before.rsplit_once('['), after.split_once(')')) else { break };
        plain.push_str(before);
        plain.push_str(words);
        rest = after;
    }
    plain + rest
}

/// The sentence that says the default, apart from the rest.
fn split_default(text: &str) -> (String, Option<String>) {
    let starts = text.match_indices("Default").map(|(at, _)| at);
    let Some(start) = starts.filter(|at| *at == 0 || text[..*at].ends_with(". ")).last() else {
        return (text.to_owned(), None);
    };
    let sentence = &text[start..];
    let end = sentence.find(". ").map_or(sentence.len(), |end| end + 1);
    let said = sentence[..end].trim_start_matches("Default").trim_start_matches([':', ' ']).trim_end_matches('.');
    (format!("{}{}", &text[..start], sentence[end..].trim_start()).trim().to_owned(), Some(said.to_owned()))
}

fn whole_number(schema: &Value) -> String {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    match (bound("minimum").filter(|least| *least > 0), bound("maximum").filter(|most| *most < u64::from(u32::MAX))) {
        (least, Some(most)) => format!("whole number from {} to {most}", least.unwrap_or(0)),
        (Some(least), None) => format!("whole number from {least}"),
        (None, None) => "whole number".into(),
    }
}

/// A value as a spec has it.
fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| code(item).replace('`', "")).collect();
            format!("`[{}]`", items.join(", "))
        }
        other => format!("`{other}`"),
    }
}
