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
