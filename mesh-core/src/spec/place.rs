//! Handing positions and whole subtrees through `serde`, which knows only values.
//!
//! [`Spanned`], [`Key`] and [`Node`] ask for a newtype struct of a name that nothing else has. The
//! deserializer of this crate answers it with a list of line, column, value and source; any other
//! answers it, as serde asks, with the value alone, whose place is then unknown.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer};
use serde::{Serialize, Serializer};

use super::{Invalid, Key, Node, Position, Value};

/// The name of the newtype struct that asks for a place.
pub(super) const NAME: &str = "$mesh_core::spec::Spanned";

/// A value with the place where it was written, for settings that are checked after they were read:
/// a reference to something that may not exist, for example.
///
/// Compared, ordered and hashed by the value; dereferences to it.
///
/// ```
/// use mesh_core::spec::{Node, Spanned};
///
/// let cluster: Spanned<String> = Node::from(serde_json::json!("orders")).deserialize().unwrap();
/// assert_eq!(cluster.len(), 6);
/// assert!(!cluster.position.is_known(), "JSON has no places");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it begins.
    pub position: Position,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub const fn new(value: T, position: Position) -> Self {
        Self { value, position }
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> From<T> for Spanned<T> {
    fn from(value: T) -> Self {
        Self::new(value, Position::UNKNOWN)
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: PartialOrd> PartialOrd for Spanned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Spanned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: std::hash::Hash> std::hash::Hash for Spanned<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, SpannedVisitor(PhantomData))
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

struct SpannedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for SpannedVisitor<T> {
    type Value = Spanned<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        T::deserialize(value).map(Spanned::from)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut place: A) -> Result<Self::Value, A::Error> {
        let position = next_position(&mut place)?;
        let value = place.next_element()?.ok_or_else(incomplete)?;
        Ok(Spanned { value, position })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, position } = Spanned::<String>::deserialize(deserializer)?;
        Ok(Key::new(value, position))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, NodeVisitor)
    }
}

impl schemars::JsonSchema for Node {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Node".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

struct NodeVisitor;

impl<'de> de::Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Node, D::Error> {
        let Content(value) = Content::deserialize(value)?;
        Ok(Node::new(value, Position::UNKNOWN))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut place: A) -> Result<Node, A::Error> {
        let position = next_position(&mut place)?;
        let Content(value) = place.next_element()?.ok_or_else(incomplete)?;
        let source: String = place.next_element()?.ok_or_else(incomplete)?;
        Ok(Node { value, position, source: (!source.is_empty()).then_some(source) })
    }
}

/// What a node holds, from any deserializer.
struct Content(Value);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(Content)
    }
}

struct ContentVisitor;

impl<'de> de::Visitor<'de> for ContentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<Value, D::Error> {
        some.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }
}

fn next_position<'de, A: de::SeqAccess<'de>>(place: &mut A) -> Result<Position, A::Error> {
    let line = place.next_element()?.ok_or_else(incomplete)?;
    let column = place.next_element()?.ok_or_else(incomplete)?;
    Ok(Position { line, column })
}

fn incomplete<E: de::Error>() -> E {
    E::custom("a place is a line, a column, a value and a source")
}

/// The list that answers a request for a place.
pub(super) struct Place<'de, D> {
    parts: [u32; 2],
    value: Option<D>,
    source: &'de str,
    step: usize,
}

impl<'de, D> Place<'de, D> {
    pub(super) fn new(value: D, position: Position, source: Option<&'de str>) -> Self {
        Self {
            parts: [position.line, position.column],
            value: Some(value),
            source: source.unwrap_or_default(),
            step: 0,
        }
    }
}

impl<'de, D: Deserializer<'de, Error = Invalid>> de::SeqAccess<'de> for Place<'de, D> {
    type Error = Invalid;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Invalid> {
        let step = self.step;
        self.step += 1;
        if let Some(part) = self.parts.get(step) {
            let part: U32Deserializer<Invalid> = part.into_deserializer();
            return seed.deserialize(part).map(Some);
        }
        match self.value.take() {
            Some(value) => seed.deserialize(value).map(Some),
            None => {
                let source: StrDeserializer<'_, Invalid> = self.source.into_deserializer();
                seed.deserialize(source).map(Some)
            }
        }
    }
}
