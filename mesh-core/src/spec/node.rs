use std::fmt;

use super::Invalid;
use crate::units::shorten;

/// A place in a text: line and column, both counted from 1, the column in characters.
///
/// Zero is an unknown place: of a value that was made by code, or came from JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1; 0 if unknown.
    pub line: u32,
    /// The column in characters, from 1; 0 if unknown.
    pub column: u32,
}

impl Position {
    /// A place that is not known.
    pub const UNKNOWN: Self = Self { line: 0, column: 0 };

    /// The place at `line` and `column`, both from 1.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }

    /// Whether this is a place at all.
    pub const fn is_known(self) -> bool {
        self.line != 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One value of a settings tree, and where it was written.
///
/// Two nodes are equal when their values are, wherever they were written: that tells whether a
/// reload changed the settings of a layer. `Debug` and `Serialize` show the
/// [source](Self::source) of a value in its place, so what came from the environment stays secret.
#[derive(Clone, Default)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where it begins.
    pub position: Position,
    /// The scalar as it was written, where it named environment variables: `${PASSWORD}`.
    pub source: Option<String>,
}

/// What a [`Node`] holds: the types of JSON, with whole numbers told from others and the order of
/// keys kept.
#[derive(Clone, Default)]
pub enum Value {
    /// Nothing: `null`, `~`, or a key without a value.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number that is not whole, or not written as one.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys, each once, and their values, in the order in which they were written.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping, and where it was written. Equal when the names are.
#[derive(Clone, Debug, Eq)]
pub struct Key {
    /// The key itself.
    pub name: String,
    /// Where it begins.
    pub position: Position,
}

impl Key {
    /// The key `name`, written at `position`.
    pub fn new(name: impl Into<String>, position: Position) -> Self {
        Self { name: name.into(), position }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Node {
    /// A node without a source.
    pub fn new(value: Value, position: Position) -> Self {
        Self { value, position, source: None }
    }

    /// A mapping without keys: the settings of a layer that is only named.
    pub fn empty(position: Position) -> Self {
        Self::new(Value::Mapping(Vec::new()), position)
    }

    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known.name == key).map(|(_, node)| node)
    }

    /// Takes `key` and its value out, if this is a mapping that has it.
    pub fn remove(&mut self, key: &str) -> Option<(Key, Node)> {
        let Value::Mapping(entries) = &mut self.value else {
            return None;
        };
        let index = entries.iter().position(|(known, _)| known.name == key)?;
        Some(entries.remove(index))
    }

    /// Keys and values in the order in which they were written; empty if this is no mapping.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; empty if this is none.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_integer(&self) -> Option<i128> {
        match self.value {
            Value::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// Whether this is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What this is, for a message: "a mapping", "text `abc`", "the number `5`".
    ///
    /// A value that came from the environment is described by its source.
    pub fn describe(&self) -> String {
        let shown = |value: &dyn fmt::Display| match &self.source {
            Some(source) => shorten(source),
            None => shorten(&value.to_string()),
        };
        match &self.value {
            Value::Null if self.source.is_some() => format!("nothing (from `{}`)", shown(&"")),
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{}`", shown(value)),
            Value::Integer(value) => format!("the number `{}`", shown(value)),
            Value::Float(value) => format!("the number `{}`", shown(&format!("{value:?}"))),
            Value::String(text) if text.is_empty() && self.source.is_none() => "an empty text".to_owned(),
            Value::String(text) => format!("text `{}`", shown(text)),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The node at `path` (`routes[0].match.host`) below this one, or the deepest one on the way there.
    ///
    /// Keys may contain dots; the longest key that fits is taken.
    pub fn locate(&self, path: &str) -> &Node {
        let mut node = self;
        let mut rest = path;
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let step = match &node.value {
                Value::Sequence(items) => index(rest).and_then(|(index, rest)| {
                    let item = items.get(index)?;
                    Some((item, rest))
                }),
                Value::Mapping(entries) => entries
                    .iter()
                    .filter_map(|(key, node)| Some((node, after_key(rest, &key.name)?)))
                    .min_by_key(|(_, rest)| rest.len()),
                _ => None,
            };
            match step {
                Some((next, after)) => (node, rest) = (next, after),
                None => return node,
            }
        }
    }

    /// Turns this subtree into a value of type `T`.
    ///
    /// Whole numbers fit every numeric type whose range they keep, text fits unit types such as
    /// [`Rate`](crate::units::Rate), a key without a value stands for a mapping or list without
    /// entries, and an enum's variant is its name or a mapping with the name as its only key.
    ///
    /// # Errors
    /// The first thing that does not fit, with its position and its path from this node.
    pub fn deserialize<T: serde::de::DeserializeOwned>(&self) -> Result<T, Invalid> {
        T::deserialize(self).map_err(|invalid| invalid.at(self))
    }
}

/// Reads `[index]` off the start of a path.
fn index(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

/// What follows `key` at the start of a path, if it stands there whole.
fn after_key<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(key)?;
    (!key.is_empty() && (rest.is_empty() || rest.starts_with(['.', '[']))).then_some(rest)
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            // Not a number is a setting like any other: written again, it has not changed.
            (Self::Float(a), Self::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Sequence(a), Self::Sequence(b)) => a == b,
            (Self::Mapping(a), Self::Mapping(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => f.write_str(source),
            None => self.value.fmt(f),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::String(text) => text.fmt(f),
            Self::Sequence(items) => f.debug_list().entries(items).finish(),
            Self::Mapping(entries) => {
                f.debug_map().entries(entries.iter().map(|(key, node)| (&key.name, node))).finish()
            }
        }
    }
}
