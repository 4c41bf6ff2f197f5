//! `match` of a route: which requests it takes.

use super::pairs::{FieldName, pairs};
use http::{HeaderName, Method, header};
use mesh_codec_http::forward::{Slashes, normalise};
use mesh_core::http::{PathTemplate, TemplateError};
use regex::bytes::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

/// `match`: all conditions must hold
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchSpec {
    /// The host, without its port.
    pub host: Option<HostPattern>,
    /// The path, without the query.
    pub path: Option<PathPattern>,
    /// One of these methods; empty means any.
    #[serde(deserialize_with = "methods")]
    #[schemars(with = "Vec<String>")]
    pub methods: Vec<Method>,
    /// Each of these header fields, by any of its values.
    #[serde(deserialize_with = "headers")]
    #[schemars(with = "BTreeMap<String, StringMatcher>")]
    pub headers: Vec<(HeaderName, StringMatcher)>,
    /// Each of these parameters of the query, by any of its values, decoded.
    #[serde(deserialize_with = "pairs")]
    #[schemars(with = "BTreeMap<String, StringMatcher>")]
    pub query: Vec<(String, StringMatcher)>,
}

/// `match.host`, in lower case and without a dot at its end
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.DOMAIN`: any host below this domain, not the domain itself. Kept with its leading dot.
    Below(String),
}

impl HostPattern {
    /// How long a name may be (RFC 1035, section 2.3.4): no longer host is ever matched.
    pub const MAX_LENGTH: usize = 253;
}

/// `match.path`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathPattern {
    /// This path.
    Exact(AbsolutePath),
    /// This path and all below it: whole segments only.
    Prefix(AbsolutePath),
    /// A path of this form.
    #[serde(deserialize_with = "template")]
    #[schemars(with = "AbsolutePath")]
    Template(PathTemplate),
    /// A path that this expression describes as a whole.
    Regex(Pattern),
}

/// A path that begins with a slash, as a request's is after normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AbsolutePath(pub String);

/// What the value of a header field or of a parameter is compared with. Upper and lower case differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatcher {
    /// This text.
    Exact(String),
    /// What begins with this text.
    Prefix(String),
    /// What ends with this text.
    Suffix(String),
    /// What this expression describes as a whole.
    Regex(Pattern),
    /// Whether there is a value at all.
    Present(bool),
}

/// A regular expression that a whole text must match, in time that grows with the text's length only. The syntax is
/// that of the crate `regex`.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a text is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl Pattern {
    /// How much memory a compiled expression may take, in bytes. Its cache, one for each thread that uses it, is
    /// bounded by a quarter of this.
    pub const MAX_SIZE: usize = 1 << 20;

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it describes all of `text`.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let compile =
            |text: &str| RegexBuilder::new(text).size_limit(Self::MAX_SIZE).dfa_size_limit(Self::MAX_SIZE / 4).build();
        // alone first: `a)|(b` is no expression, though it is one between the brackets below
        let whole = compile(text).and_then(|_| compile(&format!(r"\A(?:{text})\z")));
        let regex =
            whole.map_err(|error| PatternError(format!("`{text}` is not a regular expression: {}", why(error))))?;
        Ok(Self { text: text.to_owned(), regex })
    }
}

/// In one line: the crate draws the expression with a caret below it.
fn why(error: regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("it takes more than {limit} bytes when it is compiled"),
        other => {
            let text = other.to_string();
            let caret =
                text.lines().find_map(|line| line.find('^').filter(|_| line.trim().bytes().all(|byte| byte == b'^')));
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            // the drawing is indented by four
            match caret.and_then(|column| column.checked_sub(3)) {
                Some(column) => format!("{reason}, at character {column}"),
                None => reason,
            }
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let method = |name: &String| match name.parse::<Method>() {
        Ok(method) if name.bytes().any(|byte| byte.is_ascii_lowercase()) => Err(de::Error::custom(format!(
            "methods are in upper case; did you mean `{}`?",
            method.as_str().to_uppercase()
        ))),
        Ok(method) => Ok(method),
        Err(_) => Err(de::Error::custom(format!("`{name}` is not an HTTP method"))),
    };
    names.iter().map(method).collect()
}

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(HeaderName, StringMatcher)>, D::Error> {
    let headers: Vec<(FieldName, StringMatcher)> = pairs(deserializer)?;
    if headers.iter().any(|(name, _)| name.0 == header::HOST) {
        // HTTP/2 has no such field
        return Err(de::Error::custom("the host is not matched as a header; did you mean `match.host`?"));
    }
    Ok(headers.into_iter().map(|(name, matcher)| (name.0, matcher)).collect())
}

fn template<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathTemplate, D::Error> {
    let path = AbsolutePath::deserialize(deserializer)?;
    path.0.parse().map_err(|error: TemplateError| de::Error::custom(error))
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?.to_ascii_lowercase();
        let refuse = |why: &str| Err(de::Error::custom(format!("`{text}` is not a host: {why}")));
        let plain = text.strip_prefix("*.").unwrap_or(&text);
        if plain.is_empty() {
            return refuse("expected a name, or `*.` and a domain");
        }
        if plain.contains('*') {
            return refuse("a `*` stands for whole labels at the start: `*.example.com`");
        }
        if plain.contains(['/', ' ', '@', '?', '#']) {
            return refuse("a host has neither scheme nor path");
        }
        let port = plain.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        if port.is_some() {
            return refuse("the port is not matched, leave it out");
        }
        if text.len() > Self::MAX_LENGTH {
            return refuse("a name has at most 253 characters");
        }
        if text.ends_with('.') {
            text.pop();
        }
        Ok(match text.strip_prefix('*') {
            Some(domain) => Self::Below(domain.to_owned()),
            None => Self::Exact(text),
        })
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.starts_with('/') {
            return Err(de::Error::custom(format!("a path begins with a slash; did you mean `/{text}`?")));
        }
        if text.contains(['?', '#']) {
            return Err(de::Error::custom(format!("`{text}` is not a path: the query is not part of it")));
        }
        match normalise(&text, Slashes::Keep) {
            Ok(normal) if normal == text => Ok(Self(text)),
            Ok(normal) => Err(de::Error::custom(format!(
                "no request has the path `{text}`, since paths are normalised; did you mean `{normal}`?"
            ))),
            Err(malformed) => Err(de::Error::custom(format!("`{text}` is refused in any request: {malformed}"))),
        }
    }
}

/// What a value is compared with.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Matcher {
    /// It is this text.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// It ends so.
    Suffix(String),
    /// This expression describes it as a whole.
    Regex(Pattern),
    /// It is there, or is not; whatever it says.
    Present(bool),
}

impl<'de> Deserialize<'de> for StringMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrMapping;

        impl<'de> Visitor<'de> for TextOrMapping {
            type Value = StringMatcher;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes, or one of `exact`, `prefix`, `suffix`, `regex`, `present`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StringMatcher, E> {
                Ok(StringMatcher::Exact(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StringMatcher, A::Error> {
                Ok(match Matcher::deserialize(MapAccessDeserializer::new(map))? {
                    Matcher::Exact(text) => StringMatcher::Exact(text),
                    Matcher::Prefix(text) => StringMatcher::Prefix(text),
                    Matcher::Suffix(text) => StringMatcher::Suffix(text),
                    Matcher::Regex(pattern) => StringMatcher::Regex(pattern),
                    Matcher::Present(present) => StringMatcher::Present(present),
                })
            }
        }

        deserializer.deserialize_any(TextOrMapping)
    }
}

impl JsonSchema for StringMatcher {
    fn schema_name() -> Cow<'static, str> {
        "StringMatcher".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<Matcher>();
        json_schema!({
            "description": "What a value is compared with: text that it is, or a mapping.",
            "anyOf": [{ "type": "string" }, mapping],
        })
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A regular expression that the whole text must match." })
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A host without its port, or `*.` and a domain: any host below it, not itself.",
            "examples": ["shop.example", "*.shop.example"],
        })
    }
}

impl JsonSchema for AbsolutePath {
    fn schema_name() -> Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[^?#]*$" })
    }
}
