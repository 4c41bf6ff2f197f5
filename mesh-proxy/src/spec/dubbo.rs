//! A listener whose `protocol` is `dubbo`, as a spec says it.

use super::{
    ActionSpec, Faults, HeadersSpec, MatchSpec, Pipeline, RewriteSpec, RouteSpec, SplitSpec, StringMatcher,
    limits::positive, pairs::pairs, route,
};
use mesh_core::{
    spec::{Invalid, Node},
    units::{self, Size},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, collections::BTreeMap, num::NonZeroU32, time::Duration};

/// What a listener has whose `protocol` is `dubbo`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DubboSpec {
    /// `limits`
    pub limits: DubboLimits,
    /// `timeouts`
    pub timeouts: DubboTimeouts,
}

/// `limits` of a listener whose `protocol` is `dubbo`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DubboLimits {
    /// The largest body of a frame. A call with a larger one is answered with BAD_REQUEST. Default 8MiB.
    pub body: Size,
    /// The most calls of a connection at once; who has so many is read again when one of them has ended. Default 1024.
    pub calls: NonZeroU32,
}

impl Default for DubboLimits {
    fn default() -> Self {
        Self { body: Size::from_mib(8), calls: const { NonZeroU32::new(1024).unwrap() } }
    }
}

/// `timeouts` of a listener whose `protocol` is `dubbo`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DubboTimeouts {
    /// How long a connection may be quiet before it is sent a heartbeat; it is closed after three times that. Default 60s.
    #[serde(serialize_with = "units::duration::serialize", deserialize_with = "positive")]
    #[schemars(schema_with = "units::duration::schema")]
    pub heartbeat: Duration,
}

impl Default for DubboTimeouts {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(60) }
    }
}

/// `match` of a Dubbo route: all conditions must hold
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DubboMatchSpec {
    /// The interface.
    pub service: Option<ServicePattern>,
    /// The method; of a generic call the one that it means.
    pub method: Option<StringMatcher>,
    /// The version of the service. One that is not set is `0.0.0`.
    pub version: Option<StringMatcher>,
    /// The group of the service; one that is not set is no value.
    pub group: Option<StringMatcher>,
    /// Each of these attachments whose values are text.
    #[serde(deserialize_with = "pairs")]
    #[schemars(with = "BTreeMap<String, StringMatcher>")]
    pub attachments: Vec<(String, StringMatcher)>,
    /// Each of these arguments, by its number from 0 or a field in it: `0`, `1.user.id`. Numbers and truth values are
    /// compared as they are written in decimal.
    #[serde(deserialize_with = "arguments")]
    #[schemars(with = "BTreeMap<String, StringMatcher>")]
    pub arguments: Vec<(String, StringMatcher)>,
}

/// `match.service`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServicePattern {
    /// This interface.
    Exact(String),
    /// Those whose names begin so: `com.acme.*`.
    Prefix(String),
    /// Those whose names end so: `*.Orders`.
    Suffix(String),
}

/// A route: which calls, and where they go. It has one action: `cluster` or `split`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "DubboRoute")]
pub(super) struct Settings {
    /// The label in metrics, and the key of its layers' state. Default: a hash of `match` and action.
    #[schemars(with = "Option<String>")]
    name: Option<Node>,
    /// Which calls it takes: all conditions must hold. Default: all calls.
    #[serde(rename = "match")]
    #[schemars(with = "Option<DubboMatchSpec>")]
    matches: Option<Node>,
    /// The action: the name of the cluster that they go to.
    #[schemars(with = "Option<String>")]
    cluster: Option<Node>,
    /// The action: clusters with their weights, of which one is drawn.
    #[schemars(with = "Option<SplitSpec>")]
    split: Option<Node>,
    /// The layers of this route.
    #[schemars(with = "Option<Pipeline>")]
    pipeline: Option<Node>,
}

impl DubboSpec {
    /// Reads it from a listener that speaks Dubbo.
    pub(super) fn read(listener: &Node, path: &str, faults: &mut Faults) -> Self {
        for key in ["forwarded", "request_id", "trusted_hops", "merge_slashes"] {
            if let Some(node) = listener.get(key) {
                let invalid = Invalid::new(format!("a listener over dubbo has no `{key}`: that is for HTTP"));
                faults.found.push(invalid.at(node).in_path(format!("{path}.{key}")));
            }
        }
        let limits = listener.get("limits").and_then(|node| faults.read(node, &format!("{path}.limits")));
        let timeouts = listener.get("timeouts").and_then(|node| faults.read(node, &format!("{path}.timeouts")));
        Self { limits: limits.unwrap_or_default(), timeouts: timeouts.unwrap_or_default() }
    }
}

/// The routes of a listener that speaks Dubbo.
pub(super) fn read_routes(list: Option<&Node>, listener: &str, faults: &mut Faults) -> Vec<RouteSpec> {
    route::read_list(list, listener, faults, read_route)
}

fn read_route(node: &Node, path: &str, faults: &mut Faults) -> Option<RouteSpec> {
    let settings: Settings = route::read_settings(node, path, faults)?;
    let name: Option<String> = settings.name.as_ref().and_then(|node| faults.read(node, &format!("{path}.name")));
    let matches = route::read_or_default(settings.matches.as_ref(), &format!("{path}.match"), faults);
    let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
    let (matches, action) = match (matches, settings.action(node, path, faults)) {
        (Some(matches), Some(action)) => (matches, action),
        (_, action) => {
            route::tell_of_the_rest(path, action.as_ref(), pipeline, faults);
            return None;
        }
    };
    let parts = [("match", &settings.matches), ("cluster", &settings.cluster), ("split", &settings.split)];
    Some(RouteSpec {
        name: name.unwrap_or_else(|| route::stable_name(&parts)),
        position: node.position,
        path: path.into(),
        matches: MatchSpec::default(),
        dubbo: Some(matches),
        action,
        rewrite: RewriteSpec::default(),
        headers: HeadersSpec::default(),
        pipeline,
    })
}

impl Settings {
    fn action(&self, node: &Node, path: &str, faults: &mut Faults) -> Option<ActionSpec> {
        let mut fault = |invalid: Invalid, path: String| faults.found.push(invalid.in_path(path));
        match (&self.cluster, &self.split) {
            (Some(cluster), None) => faults.read(cluster, &format!("{path}.cluster")).map(ActionSpec::Cluster),
            (None, Some(split)) => faults.read(split, &format!("{path}.split")).map(ActionSpec::Split),
            (Some(_), Some(split)) => {
                let invalid = Invalid::new("a route has one action, `cluster` or `split`, not both");
                fault(invalid.at(split), format!("{path}.split"));
                None
            }
            (None, None) => {
                fault(Invalid::new("a route needs `cluster` or `split`").at(node), path.to_owned());
                None
            }
        }
    }
}

impl ServicePattern {
    /// Whether it takes this interface.
    pub fn takes(&self, service: &str) -> bool {
        match self {
            Self::Exact(exact) => service == exact,
            Self::Prefix(prefix) => service.starts_with(prefix),
            Self::Suffix(suffix) => service.ends_with(suffix),
        }
    }
}

impl std::fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl<'de> Deserialize<'de> for ServicePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pattern = match (text.strip_suffix('*'), text.strip_prefix('*')) {
            (Some(prefix), _) => Self::Prefix(prefix.to_owned()),
            (None, Some(suffix)) => Self::Suffix(suffix.to_owned()),
            (None, None) => Self::Exact(text.clone()),
        };
        let (Self::Exact(rest) | Self::Prefix(rest) | Self::Suffix(rest)) = &pattern;
        if rest.contains('*') {
            return Err(de::Error::custom(format!("`{text}`: there is one `*`, at the end or at the start")));
        }
        if text.is_empty() {
            return Err(de::Error::custom("expected the name of an interface, or one with a `*` at its end or start"));
        }
        Ok(pattern)
    }
}

impl JsonSchema for ServicePattern {
    fn schema_name() -> Cow<'static, str> {
        "ServicePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The name of an interface, which may have one `*` at its end or its start.",
            "examples": ["com.acme.Orders", "com.acme.*", "*.Orders"],
            "pattern": "^(\\*?[^*]+|[^*]*\\*)$",
        })
    }
}

fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, StringMatcher)>, D::Error> {
    let arguments: Vec<(String, StringMatcher)> = pairs(deserializer)?;
    for (path, _) in &arguments {
        let mut parts = path.split('.');
        let number = parts.next().unwrap_or_default();
        if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(de::Error::custom(format!(
                "`{path}`: expected the number of an argument, as in `0` or `0.id`"
            )));
        }
        if parts.any(str::is_empty) {
            return Err(de::Error::custom(format!("`{path}`: a field has no name")));
        }
    }
    Ok(arguments)
}
