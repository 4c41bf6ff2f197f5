//! A request over HTTP as a generic call.

use super::{
    Generic, JavaType, Mapping, Parameter, Source,
    argument::{Arguments, FromJson, Place, Rules, from_text, from_texts},
    source::{cookie, parameters, segment},
};
use crate::hessian2::Writer;
use http::HeaderMap;
use mesh_core::http::PathTemplate;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What generic calls are described by, whatever the method.
const DESCRIPTOR: &str = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";
/// So that attachments come back.
const PROTOCOL: &str = "2.0.2";
/// What an interface has as its version that has none.
const NO_VERSION: &str = "0.0.0";

/// A request over HTTP as far as arguments come from it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its path, without the query.
    pub path: &'a str,
    /// What the path has matched.
    pub template: Option<&'a PathTemplate>,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// All of its body.
    pub body: &'a [u8],
}

/// A call that a provider understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The interface.
    pub service: String,
    /// The method that is meant; on the wire it is `$invoke`.
    pub method: String,
    /// The body of the frame.
    pub body: Vec<u8>,
}

/// Why a request cannot be a call: a fault of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    source: String,
    why: String,
}

impl BadRequest {
    pub(super) fn new(source: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { source: source.to_string(), why: why.into() }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.source, self.why)
    }
}

impl std::error::Error for BadRequest {}

/// What of a call is not in the mapping.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions {
    /// How deep the values of a client may be. Default 64.
    pub depth: usize,
    /// Whether a client may say by `class` of which class an object is to be made: it chooses what the provider
    /// loads then. Default no.
    pub classes: bool,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self { depth: 64, classes: false }
    }
}

impl Mapping {
    /// The call that a request becomes.
    ///
    /// # Errors
    /// A value is missing, or is not what its parameter takes. The message names its source and the place in it.
    pub fn call(&self, received: &Received<'_>, options: CallOptions) -> Result<Call, BadRequest> {
        let rules = Rules { depth: options.depth, classes: options.classes };
        let mut arguments = Vec::new();
        for parameter in &self.parameters {
            let mut to = Writer::new(arguments);
            parameter.write(received, self.generic, &rules, &mut to)?;
            arguments = to.into_inner();
        }
        let types: Option<Vec<&str>> =
            self.parameters.iter().map(|parameter| parameter.java_type.as_ref().map(JavaType::name)).collect();
        let attachments = self.attachments.iter().filter_map(|name| {
            let value = received.headers.get(name.as_str())?.to_str().ok()?;
            Some((name.as_str(), value))
        });
        let timeout = self.timeout.map(|timeout| timeout.as_millis().to_string());
        let whole = Whole {
            service: &self.service,
            version: self.version.as_deref(),
            group: self.group.as_deref(),
            method: &self.method,
            types: types.as_deref(),
            generic: self.generic,
            count: self.parameters.len(),
            arguments: &arguments,
            timeout: timeout.as_deref(),
        };
        Ok(Call { service: self.service.clone(), method: self.method.clone(), body: whole.write(attachments) })
    }
}

impl Parameter {
    fn write(
        &self,
        received: &Received<'_>,
        generic: Generic,
        rules: &Rules,
        to: &mut Arguments,
    ) -> Result<(), BadRequest> {
        let bad = |why: String| BadRequest::new(&self.from, why);
        let java = self.java_type.as_ref();
        let texts: Vec<String> = match &self.from {
            Source::Path(name) => {
                let value = received.template.and_then(|template| template.variable(received.path, name));
                value.iter().map(|value| segment(value).into_owned()).collect()
            }
            Source::Query(name) => parameters(received.query.unwrap_or_default(), name).collect(),
            Source::Header(name) => {
                let values = received.headers.get_all(name.as_str()).iter();
                let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned);
                values.map(text).collect::<Result<_, _>>().map_err(|_| bad("it is no text".into()))?
            }
            Source::Cookie(name) => {
                let fields = received.headers.get_all(http::header::COOKIE).iter();
                let value = cookie(fields.filter_map(|field| field.to_str().ok()), name);
                value.iter().map(|value| (*value).to_owned()).collect()
            }
            Source::Body(fields) => {
                let mut at = Place::default();
                let found = from_body(received.body, fields, java, generic, rules, &mut at, to);
                return match found {
                    Ok(true) => Ok(()),
                    Ok(false) => self.absent(generic, rules, to),
                    Err(why) => Err(BadRequest::new(Within(&self.from, &at), why)),
                };
            }
            Source::Const => Vec::new(),
        };
        match (texts.as_slice(), generic) {
            ([], _) => self.absent(generic, rules, to),
            ([text], Generic::True) => from_text(java, text, to).map_err(bad),
            (texts, Generic::True) => from_texts(java, texts, to).map_err(bad),
            (texts, Generic::Gson) => {
                to.string(&as_json(java, texts).map_err(bad)?);
                Ok(())
            }
        }
    }

    /// The request does not say it.
    fn absent(&self, generic: Generic, rules: &Rules, to: &mut Arguments) -> Result<(), BadRequest> {
        let value = match &self.default {
            Some(value) => value,
            None if self.required => return Err(BadRequest::new(&self.from, "it is missing")),
            None => &serde_json::Value::Null,
        };
        match (generic, value) {
            (Generic::Gson, serde_json::Value::Null) => to.null(),
            (Generic::Gson, value) => to.string(&value.to_string()),
            (Generic::True, value) => {
                let mut at = Place::default();
                let written = FromJson::new(self.java_type.as_ref(), to, &mut at, rules).deserialize(value);
                written.map_err(|error| BadRequest::new(Within(&self.from, &at), error.to_string()))?;
            }
        }
        Ok(())
    }
}

/// A source, and a place in what it gave.
struct Within<'a>(&'a Source, &'a Place);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.1.to_string();
        match place.as_bytes().first() {
            None => self.0.fmt(f),
            Some(b'[') => write!(f, "{}{place}", self.0),
            Some(_) => write!(f, "{}.{place}", self.0),
        }
    }
}

/// Text as a provider's gson reads it.
fn as_json(java: Option<&JavaType>, texts: &[String]) -> Result<String, String> {
    // what is not text in Java stands without quotes, if it is good
    let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let plain = |text: &String| match java {
        Some(java) if java.is_plain_in_json() => {
            let mut to = Writer::new(Vec::new());
            from_text(Some(java), text, &mut to).map(|()| text.clone())
        }
        _ => Ok(quoted(text)),
    };
    match texts {
        [text] => plain(text),
        texts => Ok(format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(","))),
    }
}

/// Writes a body, or a field in it. Whether it is there.
fn from_body(
    body: &[u8],
    fields: &[String],
    java: Option<&JavaType>,
    generic: Generic,
    rules: &Rules,
    at: &mut Place,
    to: &mut Arguments,
) -> Result<bool, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(false);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let leaf = Leaf { java, generic, rules, at, to };
    let found = Descend { fields, leaf }.deserialize(&mut deserializer);
    let found = found.and_then(|found| deserializer.end().map(|()| found));
    found.map_err(|error| error.to_string())
}

struct Leaf<'a> {
    java: Option<&'a JavaType>,
    generic: Generic,
    rules: &'a Rules,
    at: &'a mut Place,
    to: &'a mut Arguments,
}

/// Down to a field.
struct Descend<'a> {
    fields: &'a [String],
    leaf: Leaf<'a>,
}

impl<'de> DeserializeSeed<'de> for Descend<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if !self.fields.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let Leaf { java, generic, rules, at, to } = self.leaf;
        match generic {
            Generic::True => FromJson::new(java, to, at, rules).deserialize(deserializer)?,
            Generic::Gson => {
                let text: &RawValue = serde::Deserialize::deserialize(deserializer)?;
                if text.get() == "null" { to.null() } else { to.string(text.get()) }
            }
        }
        Ok(true)
    }
}

impl<'de> Visitor<'de> for Descend<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let Some((field, rest)) = self.fields.split_first() else { return Ok(false) };
        let mut inner = Some(Descend { fields: rest, leaf: self.leaf });
        let mut found = false;
        while let Some(key) = entries.next_key::<String>()? {
            // the first of that name: what an application sees of two is anybody's guess
            match inner.take_if(|_| key == *field) {
                Some(inner) => found = entries.next_value_seed(inner)?,
                None if key == *field => return Err(serde::de::Error::custom(format!("`{key}` is there twice"))),
                None => _ = entries.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

/// All that a body consists of.
pub(super) struct Whole<'a> {
    pub(super) service: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) group: Option<&'a str>,
    pub(super) method: &'a str,
    pub(super) types: Option<&'a [&'a str]>,
    pub(super) generic: Generic,
    pub(super) count: usize,
    /// Written one after the other; nothing in them has a type, a class or a reference.
    pub(super) arguments: &'a [u8],
    pub(super) timeout: Option<&'a str>,
}

impl Whole<'_> {
    /// What it sets itself no attachment of a client's replaces.
    pub(super) fn write<'b>(&self, attachments: impl Iterator<Item = (&'b str, &'b str)>) -> Vec<u8> {
        let version = self.version.unwrap_or(NO_VERSION);
        let mut to = Writer::new(Vec::with_capacity(self.arguments.len() + 512));
        for text in [PROTOCOL, self.service, version, "$invoke", DESCRIPTOR, self.method] {
            to.string(text);
        }
        match self.types {
            // a method without parameters needs none, and of others the provider is not told half
            Some(types) => {
                to.list(Some("[string"), Some(types.len()));
                types.iter().for_each(|name| to.string(name));
            }
            None => to.null(),
        }
        to.list(Some("[object"), Some(self.count));
        let mut bytes = to.into_inner();
        bytes.extend_from_slice(self.arguments);
        let mut to = Writer::new(bytes);
        to.map(None);
        let own = [
            ("path", Some(self.service)),
            ("interface", Some(self.service)),
            ("version", Some(version)),
            ("group", self.group),
            ("generic", Some(self.generic.as_str())),
            ("timeout", self.timeout),
        ];
        for (name, value) in attachments.filter(|(name, _)| own.iter().all(|(own, _)| own != name)) {
            to.string(name);
            to.string(value);
        }
        for (name, value) in own {
            if let Some(value) = value {
                to.string(name);
                to.string(value);
            }
        }
        to.end();
        to.into_inner()
    }
}

#[cfg(test)]
mod tests;
