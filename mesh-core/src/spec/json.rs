//! From and to JSON.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;

use super::{Key, Node, Position, Value};

impl From<Json> for Node {
    /// The same tree without places.
    fn from(json: Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Value::Integer(value.into()),
                (None, Some(value)) => Value::Integer(value.into()),
                (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::String(text),
            Json::Array(items) => Value::Sequence(items.into_iter().map(Node::from).collect()),
            Json::Object(entries) => Value::Mapping(
                entries.into_iter().map(|(name, json)| (Key::new(name, Position::UNKNOWN), Node::from(json))).collect(),
            ),
        };
        Node::new(value, Position::UNKNOWN)
    }
}

impl Node {
    /// The tree as JSON, for people to look at: what came from the environment is shown as it was
    /// written, `${NAME}`. Numbers that JSON does not have become text.
    ///
    /// Keys may be sorted; serialise the node itself to keep their order.
    pub fn to_json(&self) -> Json {
        if let Some(source) = &self.source {
            return Json::String(source.clone());
        }
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => {
                serde_json::Number::from_i128(*value).map_or_else(|| Json::String(value.to_string()), Json::Number)
            }
            Value::Float(value) => {
                serde_json::Number::from_f64(*value).map_or_else(|| Json::String(value.to_string()), Json::Number)
            }
            Value::String(text) => Json::String(text.clone()),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
        }
    }
}

impl Serialize for Node {
    /// Shows what came from the environment as it was written, like [`Node::to_json`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(source) = &self.source {
            return serializer.serialize_str(source);
        }
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                _ => serializer.serialize_str(&value.to_string()),
            },
            Value::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Float(value) => serializer.serialize_str(&value.to_string()),
            Value::String(text) => serializer.serialize_str(text),
            Value::Sequence(items) => serializer.collect_seq(items),
            Value::Mapping(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    map.serialize_entry(&key.name, node)?;
                }
                map.end()
            }
        }
    }
}

impl Node {
    /// Puts the names of environment variables back into settings that were read from this node and written anew with
    /// their defaults: for people to look at. A value that was changed on the way, or whose key was, is found where it
    /// is still the same text.
    pub fn conceal(&self, settings: &mut Json) {
        match (&self.source, &self.value, &mut *settings) {
            (Some(source), _, Json::Object(_) | Json::Array(_)) => {
                // a shorthand: one of the leaves has come of it
                if let Value::String(secret) = &self.value {
                    replace(settings, secret, source);
                }
            }
            (Some(source), ..) => *settings = Json::String(source.clone()),
            (None, Value::Mapping(entries), Json::Object(fields)) => {
                for (key, node) in entries {
                    match fields.get_mut(&key.name) {
                        Some(field) => node.conceal(field),
                        None => node.conceal_anywhere(fields.values_mut()),
                    }
                }
            }
            (None, Value::Sequence(nodes), Json::Array(items)) if nodes.len() == items.len() => {
                nodes.iter().zip(items).for_each(|(node, item)| node.conceal(item));
            }
            _ => self.conceal_anywhere(std::iter::once(settings)),
        }
    }

    /// Its structure is another than that of the settings.
    fn conceal_anywhere<'a>(&self, settings: impl Iterator<Item = &'a mut Json>) {
        let settings: Vec<&mut Json> = settings.collect();
        for json in settings {
            match (&self.source, &self.value) {
                (Some(source), Value::String(secret)) => replace(json, secret, source),
                (Some(_), _) => {}
                (None, Value::Sequence(nodes)) => {
                    nodes.iter().for_each(|node| node.conceal_anywhere(std::iter::once(&mut *json)));
                }
                (None, Value::Mapping(entries)) => {
                    entries.iter().for_each(|(_, node)| node.conceal_anywhere(std::iter::once(&mut *json)));
                }
                (None, _) => {}
            }
        }
    }
}

/// Replaces every text that is this one.
fn replace(json: &mut Json, secret: &str, source: &str) {
    match json {
        Json::String(text) if text == secret => source.clone_into(text),
        Json::Array(items) => items.iter_mut().for_each(|item| replace(item, secret, source)),
        Json::Object(fields) => fields.values_mut().for_each(|field| replace(field, secret, source)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_came_from_the_environment_is_shown_by_its_name() {
        let secret = |value: Value| Node { source: Some("${X}".into()), ..Node::new(value, Position::UNKNOWN) };
        let text = || secret(Value::String("s3cret".into()));
        let mapping = |entries: Vec<(&str, Node)>| {
            let entries = entries.into_iter().map(|(name, node)| (Key::new(name.to_owned(), Position::UNKNOWN), node));
            Node::new(Value::Mapping(entries.collect()), Position::UNKNOWN)
        };
        let concealed = |node: &Node, mut settings: Json| {
            node.conceal(&mut settings);
            settings
        };
        // at its key, also where it was written in another way
        let number = mapping(vec![("max", secret(Value::Integer(5))), ("user", Node::from(json!("u")))]);
        assert_eq!(
            concealed(&number, json!({ "max": 5, "user": "u", "extra": 5 })),
            json!({ "max": "${X}", "user": "u", "extra": 5 })
        );
        // a shorthand, a key that has another name, a list, a list that became longer
        assert_eq!(concealed(&text(), json!({ "a": "s3cret", "b": [1] })), json!({ "a": "${X}", "b": [1] }));
        assert_eq!(concealed(&text(), json!("S3CRET")), json!("${X}"));
        assert_eq!(
            concealed(&mapping(vec![("key", text())]), json!({ "other": "s3cret" })),
            json!({ "other": "${X}" })
        );
        let list = |items: Vec<Node>| Node::new(Value::Sequence(items), Position::UNKNOWN);
        assert_eq!(concealed(&list(vec![text()]), json!(["x"])), json!(["${X}"]));
        assert_eq!(concealed(&list(vec![text()]), json!(["s3cret", "y"])), json!(["${X}", "y"]));
        let deep = mapping(vec![("a", mapping(vec![("b", text())]))]);
        assert_eq!(concealed(&deep, json!({ "a": { "b": "s3cret" } })), json!({ "a": { "b": "${X}" } }));
        assert_eq!(concealed(&deep, json!({ "c": ["s3cret"] })), json!({ "c": ["${X}"] }));
    }
}
