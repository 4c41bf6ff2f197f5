//! What a route does with a request: answer it, redirect it, or change it and send it on.

use super::{
    AbsolutePath,
    pairs::{FieldName, pairs},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority};
use mesh_core::spec::Spanned;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

/// What a route does.
#[derive(Clone, Debug)]
pub enum ActionSpec {
    /// Sends the request to this cluster.
    Cluster(Spanned<String>),
    /// Sends it to one of several clusters.
    Split(SplitSpec),
    /// Answers with another place.
    Redirect(RedirectSpec),
    /// Answers itself.
    Respond(RespondSpec),
}

impl ActionSpec {
    /// The key it is written under.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "cluster",
            Self::Split(_) => "split",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }

    /// The clusters it names.
    pub fn clusters(&self) -> impl Iterator<Item = &Spanned<String>> {
        let (one, several) = match self {
            Self::Cluster(cluster) => (Some(cluster), None),
            Self::Split(split) => (None, Some(&split.0)),
            Self::Redirect(_) | Self::Respond(_) => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten().map(|(cluster, _)| cluster))
    }
}

/// `split`: clusters by their weights, drawn once per request
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitSpec(pub Vec<(Spanned<String>, u32)>);

/// `redirect`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectSpec {
    /// The scheme of the other place. Default: the one that the client used.
    pub scheme: Option<RedirectScheme>,
    /// Its host, with a port if that is to be named. Default: the one that the client asked for.
    #[serde(default, deserialize_with = "authority")]
    #[schemars(with = "Option<String>")]
    pub host: Option<Authority>,
    /// Its path, and its query if there is a `?`. Default: the path that the client asked for. A query of the request
    /// goes on where this has none.
    pub path: Option<LocationPath>,
    /// 301, 302, 303, 307 or 308. Default 308.
    #[serde(default = "permanent", deserialize_with = "redirect_status")]
    #[schemars(schema_with = "redirect_statuses")]
    pub status: StatusCode,
}

/// `redirect.scheme`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedirectScheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl RedirectScheme {
    /// As it stands in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// `redirect.path`: text with the variables of `match.path.template`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationPath(Vec<LocationPart>);

/// A part of a [`LocationPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationPart {
    /// This text.
    Literal(String),
    /// What this variable stands for.
    Variable(String),
}

impl LocationPath {
    /// Its parts, in their order.
    pub fn parts(&self) -> &[LocationPart] {
        &self.0
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            LocationPart::Literal(_) => None,
            LocationPart::Variable(name) => Some(name.as_str()),
        })
    }
}

impl std::fmt::Display for LocationPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            LocationPart::Literal(text) => f.write_str(text),
            LocationPart::Variable(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// `rewrite`: how the request goes on
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RewriteSpec {
    /// Stands in place of what `match.path.prefix`, or `exact`, has matched.
    pub prefix: Option<AbsolutePath>,
    /// The host, with a port if that is to be named.
    #[serde(deserialize_with = "authority")]
    #[schemars(with = "Option<String>")]
    pub host: Option<Authority>,
}

/// `headers`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersSpec {
    /// Of the request, before it goes on.
    pub request: HeaderOps,
    /// Of the response that came back.
    pub response: HeaderOps,
}

/// Changes to header fields, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderOps {
    /// These fields go.
    #[serde(deserialize_with = "names")]
    #[schemars(with = "Vec<String>")]
    pub remove: Vec<HeaderName>,
    /// These fields have this value and no other.
    #[serde(deserialize_with = "fields")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These fields have this value beside those that are there.
    #[serde(deserialize_with = "fields")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderOps {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes these fields.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

/// `respond`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondSpec {
    /// The status. Default 200.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Default empty.
    pub body: Bytes,
}

/// What belongs to a connection or says how long a body is, and what the host is: a route that changed it would break
/// the message.
const NOT_TO_CHANGE: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

fn changeable<E: de::Error>(name: FieldName) -> Result<HeaderName, E> {
    match name.0 {
        header::HOST => Err(E::custom("`host` is not changed as a header; did you mean `rewrite: { host: … }`?")),
        name if NOT_TO_CHANGE.contains(&name) => {
            Err(E::custom(format!("`{name}` belongs to the connection or the body and cannot be changed")))
        }
        name => Ok(name),
    }
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
    Vec::<FieldName>::deserialize(deserializer)?.into_iter().map(changeable).collect()
}

fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(HeaderName, HeaderValue)>, D::Error> {
    let fields: Vec<(FieldName, FieldValue)> = pairs(deserializer)?;
    fields.into_iter().map(|(name, value)| Ok((changeable(name)?, value.0))).collect()
}

struct FieldValue(HeaderValue);

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match HeaderValue::from_str(&text) {
            Ok(value) => Ok(Self(value)),
            Err(_) => Err(de::Error::custom(format!("`{text}` cannot be the value of a header field"))),
        }
    }
}

fn authority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Authority>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let refuse = |why: &str| Err(de::Error::custom(format!("`{text}` is not a host: {why}")));
    if text.contains(['/', '?', '#']) {
        return refuse("a host has neither scheme nor path");
    }
    match text.parse::<Authority>() {
        Ok(authority) if text.contains('@') || authority.host().is_empty() => refuse("expected `HOST` or `HOST:PORT`"),
        Ok(authority) => Ok(Some(authority)),
        Err(_) => refuse("expected `HOST` or `HOST:PORT`"),
    }
}

fn permanent() -> StatusCode {
    StatusCode::PERMANENT_REDIRECT
}

fn redirect_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
    let status = u16::deserialize(deserializer)?;
    match status {
        301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(status).map_err(de::Error::custom),
        _ => Err(de::Error::custom(format!("{status} redirects nobody, expected 301, 302, 303, 307 or 308"))),
    }
}

impl FromStr for LocationPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("a path begins with a slash; did you mean `/{text}`?"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{text}`: a `{{` without its `}}`"));
            };
            parts.push(LocationPart::Literal(literal.to_owned()));
            parts.push(LocationPart::Variable(name.to_owned()));
            rest = after;
        }
        parts.push(LocationPart::Literal(rest.to_owned()));
        parts.retain(|part| *part != LocationPart::Literal(String::new()));
        for part in &parts {
            let LocationPart::Literal(literal) = part else { continue };
            if literal.contains('}') {
                return Err(format!("`{text}`: a `}}` without its `{{`"));
            }
            if !literal
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|'))
            {
                return Err(format!("`{text}`: `{literal}` has characters that must be escaped in a URI"));
            }
        }
        Ok(Self(parts))
    }
}

impl<'de> Deserialize<'de> for LocationPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SplitSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let clusters: Vec<(Spanned<String>, u32)> = pairs(deserializer)?;
        if clusters.iter().all(|(_, weight)| *weight == 0) {
            return Err(de::Error::custom("a split needs at least one cluster whose weight is not 0"));
        }
        Ok(Self(clusters))
    }
}

/// An answer of the sidecar's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Respond {
    /// Its status. Default 200.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Its header fields. Default: none of its own.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body. Default: empty.
    #[serde(default)]
    body: String,
}

fn ok() -> u16 {
    200
}

impl<'de> Deserialize<'de> for RespondSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Respond::deserialize(deserializer)?;
        if !(200..=599).contains(&settings.status) {
            return Err(de::Error::custom(format!("status {} is not within 200 to 599", settings.status)));
        }
        let mut headers = HeaderMap::with_capacity(settings.headers.len());
        for (name, value) in settings.headers {
            let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(&value));
            let (Ok(name), Ok(value)) = parsed else {
                return Err(de::Error::custom(format!("`{name}: {value}` is not an HTTP header")));
            };
            headers.insert(name, value);
        }
        Ok(Self {
            status: StatusCode::from_u16(settings.status).map_err(de::Error::custom)?,
            headers,
            body: settings.body.into(),
        })
    }
}

fn redirect_statuses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [301, 302, 303, 307, 308] })
}

impl JsonSchema for RespondSpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Respond::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Respond>()
    }
}

impl JsonSchema for SplitSpec {
    fn schema_name() -> Cow<'static, str> {
        "Split".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let weight = generator.subschema_for::<u32>();
        json_schema!({
            "type": "object",
            "description": "Clusters by their weights; at least one is not 0.",
            "additionalProperties": weight,
            "minProperties": 1,
        })
    }
}

impl JsonSchema for LocationPath {
    fn schema_name() -> Cow<'static, str> {
        "LocationPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A path, perhaps with a query, with the variables of `match.path.template` in braces.",
            "pattern": "^/",
            "examples": ["/orders?user={id}"],
        })
    }
}
