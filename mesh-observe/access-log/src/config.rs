//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{
    AccessLog, AccessLogSettings, DEFAULT_JSON, DEFAULT_TEXT, Format, FormatError, When, format::Source, layer::NAME,
    operator::NAMES,
};
use mesh_core::{
    Protocol, Registry,
    pipeline::Validate,
    spec::{Invalid, nearest, shorthand},
    units::{Ratio, Statuses, duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

/// Registers `access_log`. Over a reload that changes the settings, requests under way get their line as they would
/// have; a file that both settings name stays open.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        NAME,
        "writes a line for each request that has ended",
        |settings: AccessLogSettings, _: Option<Arc<AccessLog>>, _| Arc::new(AccessLog::over(settings, P::NAME)),
    );
}

impl Validate for AccessLogSettings {
    fn validate(&self) -> Result<(), Invalid> {
        match &self.path {
            Some(path) if path.as_os_str().is_empty() => Err(Invalid::new("an empty path is no file")
                .in_path("path")
                .with_suggestion("leave it out for standard output")),
            _ => Ok(()),
        }
    }
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccessLogMapping")]
struct Mapping {
    /// The format of a line. Default `text`.
    #[serde(default)]
    format: Format,
    /// The file that lines are appended to. Default: standard output.
    #[serde(default)]
    path: Option<PathBuf>,
    /// Which requests get a line: those for which one of these holds. Default: all.
    #[serde(default)]
    when: WhenMapping,
}

#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccessLogWhen")]
struct WhenMapping {
    /// HTTP statuses: `503`, `5xx`, `400-404`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<Statuses>,
    /// Whatever is not a success: failures, refusals, timeouts, clients that went away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    errors: bool,
    /// Those that took so long, or longer.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::option::schema")]
    min_duration: Option<Duration>,
    /// This part of all, drawn at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Ratio>,
}

impl From<Mapping> for AccessLogSettings {
    fn from(Mapping { format, path, when }: Mapping) -> Self {
        let WhenMapping { status, errors, min_duration, sample } = when;
        Self { format, path, when: When { status, errors, min_duration, sample } }
    }
}

/// The mapping form.
impl Serialize for AccessLogSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { format, path, when } = self.clone();
        let When { status, errors, min_duration, sample } = when;
        Mapping { format, path, when: WhenMapping { status, errors, min_duration, sample } }.serialize(serializer)
    }
}

/// A mapping, nothing, or the format's name alone.
impl<'de> Deserialize<'de> for AccessLogSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(deserializer, "`text`, `json`, or a mapping", |text| {
            named(text).map(|format| Self { format, ..Self::default() })
        })
    }
}

impl JsonSchema for AccessLogSettings {
    fn schema_name() -> Cow<'static, str> {
        "AccessLogSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<Mapping>();
        json_schema!({
            "description": "The format of a line, or a mapping.",
            "anyOf": [{ "enum": ["text", "json"] }, mapping],
        })
    }
}

/// One of the formats that have a name.
fn named(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::default_text()),
        "json" => Ok(Format::default_json()),
        _ if text.contains('%') => {
            Err(format!("`{text}` is a format of one's own; did you mean `{{ text: '{text}' }}`?"))
        }
        _ => Err(match nearest(text, ["text", "json"]) {
            Some(known) => format!("unknown format `{text}`; did you mean `{known}`?"),
            None => {
                format!("unknown format `{text}`: expected `text`, `json`, `{{ text: … }}` or `{{ json: {{ … }} }}`")
            }
        }),
    }
}

/// With the nearest name of an operator that is not known.
fn told<E: de::Error>(error: &FormatError) -> E {
    let known = error.unknown.as_ref().map(|unknown| match nearest(unknown, NAMES) {
        Some(known) => format!("did you mean `%{known}%`?"),
        None => format!("the operators are {}", NAMES.join(", ")),
    });
    match known.or_else(|| error.suggestion.clone()) {
        Some(suggestion) => E::custom(format_args!("{}; {suggestion}", error.sentence())),
        None => E::custom(error.sentence()),
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.source {
            Source::DefaultText => serializer.serialize_str("text"),
            Source::DefaultJson => serializer.serialize_str("json"),
            Source::Text(text) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("text", &**text)?;
                map.end()
            }
            Source::Json(fields) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("json", &Fields(fields.to_vec()))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Own, _, _>(deserializer, "`text`, `json`, `{ text: … }` or `{ json: { … } }`", named)
    }
}

impl JsonSchema for Format {
    fn schema_name() -> Cow<'static, str> {
        "AccessLogFormat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let fields: BTreeMap<&str, &str> = DEFAULT_JSON.into_iter().collect();
        json_schema!({
            "description": "The format of a line: text with operators of Envoy's, or a JSON object.",
            "anyOf": [
                { "enum": ["text", "json"] },
                {
                    "type": "object",
                    "properties": {
                        "text": { "type": "string", "description": "Text with operators.", "examples": [DEFAULT_TEXT] },
                        "json": {
                            "type": "object",
                            "description": "The fields of an object, each text with operators.",
                            "additionalProperties": { "type": "string" },
                            "minProperties": 1,
                            "examples": [fields],
                        },
                    },
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// A format of one's own.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Own {
    Text(OwnText),
    Json(OwnJson),
}

impl From<Own> for Format {
    fn from(own: Own) -> Self {
        match own {
            Own::Text(OwnText(format)) | Own::Json(OwnJson(format)) => format,
        }
    }
}

struct OwnText(Format);

impl<'de> Deserialize<'de> for OwnText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Format::text(&text).map(Self).map_err(|error| told(&error))
    }
}

struct OwnJson(Format);

impl<'de> Deserialize<'de> for OwnJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields(fields) = Fields::deserialize(deserializer)?;
        Format::json(fields).map(Self).map_err(|error| told(&error))
    }
}

/// A mapping whose order counts.
struct Fields(Vec<(String, String)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, text)| (name, text)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of fields to text with operators")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, Checked(text))) = map.next_entry::<String, Checked>()? {
                    fields.push((name, text));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A text whose faults are found where it stands.
struct Checked(String);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Format::text(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(told(&error)),
        }
    }
}
