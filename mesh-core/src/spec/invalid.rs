use std::fmt;

use serde::de;

use super::{Node, Position, Value};
use crate::units::{UnitError, shorten};

/// Why settings were refused, and where.
///
/// Made by [`Node::deserialize`], or by hand where settings are checked:
///
/// ```
/// use mesh_core::spec::{Invalid, Node};
///
/// fn validate(burst: u32) -> Result<(), Invalid> {
///     if burst == 0 {
///         return Err(Invalid::new("must be at least 1").in_path("burst"));
///     }
///     Ok(())
/// }
///
/// let settings = Node::from(serde_json::json!({ "burst": 0 }));
/// // `at` finds the position of `burst` in the settings (here unknown: JSON has none).
/// let invalid = validate(0).unwrap_err().at(&settings).in_path("routes[0].rate_limit");
/// assert_eq!(invalid.to_string(), "routes[0].rate_limit.burst: must be at least 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// Where the fault is; [unknown](Position::UNKNOWN) until [`at`](Self::at) has placed it.
    pub position: Position,
    /// The way to the fault from the root of what was checked: `listeners.web.routes[0].match`.
    pub path: String,
    /// What is wrong: what was expected, what was found.
    pub message: String,
    /// What to do about it, as a sentence: "did you mean `burst`?".
    pub suggestion: Option<String>,
}

impl Invalid {
    /// A fault without a place.
    ///
    /// A message that ends in "; did you mean …?", as that of [`UnitError`] does, is split into
    /// message and suggestion.
    pub fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        let suggestion = message.rfind("; did you mean ").map(|end| {
            let suggestion = message[end + 2..].to_owned();
            message.truncate(end);
            suggestion
        });
        Self { position: Position::UNKNOWN, path: String::new(), message, suggestion }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Places the fault in `node`: at the node that its path leads to from there, or the deepest
    /// one on the way. A fault that has a place keeps it.
    ///
    /// Values in the message that came from the environment are replaced by their source.
    #[must_use]
    pub fn at(mut self, node: &Node) -> Self {
        if !self.position.is_known() {
            self.position = node.locate(&self.path).position;
            conceal(&mut self.message, node);
            if let Some(suggestion) = &mut self.suggestion {
                conceal(suggestion, node);
            }
        }
        self
    }

    /// Places the fault, if it has no place yet.
    #[must_use]
    pub fn at_position(mut self, position: Position) -> Self {
        if !self.position.is_known() {
            self.position = position;
        }
        self
    }

    /// Puts `prefix` before the path: `routes[0]` before `match.host` gives `routes[0].match.host`.
    #[must_use]
    pub fn in_path(mut self, prefix: impl fmt::Display) -> Self {
        let separator = match self.path.as_bytes() {
            [] | [b'[', ..] => "",
            _ => ".",
        };
        let mut path = prefix.to_string();
        if !path.is_empty() {
            path.push_str(separator);
        }
        path.push_str(&self.path);
        self.path = path;
        self
    }
}

/// Replaces each value of `node` that came from the environment by its source.
fn conceal(message: &mut String, node: &Node) {
    match (&node.value, &node.source) {
        (Value::Sequence(items), _) => items.iter().for_each(|item| conceal(message, item)),
        (Value::Mapping(entries), _) => entries.iter().for_each(|(_, node)| conceal(message, node)),
        (Value::String(secret), Some(source)) => replace_word(message, secret, source),
        (Value::Integer(secret), Some(source)) => {
            replace_word(message, &secret.to_string(), source);
        }
        (Value::Float(secret), Some(source)) => {
            replace_word(message, &secret.to_string(), source);
            replace_word(message, &format!("{secret:?}"), source);
        }
        _ => {}
    }
}

/// Replaces `word` where it does not stand inside a longer word: the value `5` is not the `5` of `65535`.
fn replace_word(message: &mut String, word: &str, by: &str) {
    if word.is_empty() || !message.contains(word) {
        // Long values are quoted in part.
        let part = shorten(word);
        if part != word && message.contains(&part) {
            *message = message.replace(&part, by);
        }
        return;
    }
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut replaced = String::with_capacity(message.len());
    let mut end = 0;
    for (start, _) in message.match_indices(word) {
        let after = start + word.len();
        let part = inside(message[..start].chars().next_back()) && inside(word.chars().next())
            || inside(message[after..].chars().next()) && inside(word.chars().next_back());
        if !part {
            replaced.push_str(&message[end..start]);
            replaced.push_str(by);
            end = after;
        }
    }
    replaced.push_str(&message[end..]);
    *message = replaced;
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.position.is_known() {
            write!(f, "{}: ", self.position)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Invalid {}

impl From<String> for Invalid {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Invalid {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<UnitError> for Invalid {
    fn from(error: UnitError) -> Self {
        Self::new(error.to_string())
    }
}

impl de::Error for Invalid {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found {}", in_words(&expected.to_string()), found_in_words(found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::new(format!(
            "expected {}, found {length} {}",
            in_words(&expected.to_string()),
            if length == 1 { "entry" } else { "entries" }
        ))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("key", field, known)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::unknown("value", variant, known)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("key `{field}` is given twice"))
    }
}

impl Invalid {
    /// An unknown name: with the nearest known one, else with all that are known.
    fn unknown(what: &str, name: &str, known: &[&str]) -> Self {
        let mut invalid = Self::new(String::new());
        invalid.message = format!("unknown {what} `{name}`");
        if let Some(near) = nearest(name, known.iter().copied()) {
            invalid.suggestion = Some(format!("did you mean `{near}`?"));
        } else if known.is_empty() {
            invalid.message.push_str(", none is allowed here");
        } else {
            invalid.message.push_str(", expected ");
            invalid.message.push_str(&one_of(known));
        }
        invalid
    }
}

/// "`a`", "`a` or `b`", "one of `a`, `b`, `c`".
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [one] => format!("`{one}`"),
        [one, two] => format!("`{one}` or `{two}`"),
        names => format!("one of `{}`", names.join("`, `")),
    }
}

/// What serde calls a type, in the words of somebody who writes a file.
fn in_words(expected: &str) -> String {
    let range = |min: i128, max: i128| format!("a whole number from {min} to {max}");
    match expected {
        "a string" | "a borrowed string" | "string" | "path string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" => range(0, u64::MAX.into()),
        "usize" => range(0, usize::MAX as i128),
        "i8" => range(i8::MIN.into(), i8::MAX.into()),
        "i16" => range(i16::MIN.into(), i16::MAX.into()),
        "i32" => range(i32::MIN.into(), i32::MAX.into()),
        "i64" => range(i64::MIN.into(), i64::MAX.into()),
        "isize" => range(isize::MIN as i128, isize::MAX as i128),
        "a nonzero u8" => range(1, u8::MAX.into()),
        "a nonzero u16" => range(1, u16::MAX.into()),
        "a nonzero u32" => range(1, u32::MAX.into()),
        "a nonzero u64" => range(1, u64::MAX.into()),
        "a nonzero usize" => range(1, usize::MAX as i128),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "unit" => "nothing".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => match other.strip_prefix("a tuple of size ") {
            Some(length) => format!("a list of {length}"),
            None => other.to_owned(),
        },
    }
}

fn found_in_words(found: de::Unexpected<'_>) -> String {
    let value = match found {
        de::Unexpected::Bool(value) => Value::Bool(value),
        de::Unexpected::Unsigned(value) => Value::Integer(value.into()),
        de::Unexpected::Signed(value) => Value::Integer(value.into()),
        de::Unexpected::Float(value) => Value::Float(value),
        de::Unexpected::Str(text) => Value::String(text.to_owned()),
        de::Unexpected::Unit | de::Unexpected::Option => Value::Null,
        de::Unexpected::Seq => Value::Sequence(Vec::new()),
        de::Unexpected::Map => Value::Mapping(Vec::new()),
        other => return other.to_string(),
    };
    Node::new(value, Position::UNKNOWN).describe()
}

/// The one of `candidates` that was probably meant by `name`: at most two slips of the pen away
/// (one in names of up to four letters), not counting upper case and `-` for `_`.
///
/// ```
/// use mesh_core::spec::nearest;
///
/// assert_eq!(nearest("Rate-Limt", ["timeout", "rate_limit"]), Some("rate_limit"));
/// assert_eq!(nearest("cache", ["timeout", "rate_limit"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| -> Vec<char> {
        text.chars().flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
    };
    let name = fold(name);
    let allowed = if name.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    // Far apart in length is far apart; and hostile names stay cheap.
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let substituted = last[j] + usize::from(a[i] != b[j]);
            row[j + 1] = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
