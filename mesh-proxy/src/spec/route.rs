use super::Faults;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use mesh_core::{
    pipeline::Place,
    spec::{Invalid, LayerSpec, Node, Position, Spanned, Value},
};
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;

/// One of a listener's `routes`
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Its name; by default a stable hash of what it matches and does.
    pub name: String,
    /// Where it is written.
    pub position: Position,
    /// Its path in the spec: `listeners.web.routes[0]`.
    pub path: String,
    /// Which requests it takes; by default all.
    pub matches: MatchSpec,
    /// What it does with them.
    pub action: ActionSpec,
    /// The layers of this route.
    pub pipeline: Vec<LayerSpec>,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum ActionSpec {
    /// Sends the request to this cluster.
    Cluster(Spanned<String>),
    /// Answers itself.
    Respond(RespondSpec),
}

impl ActionSpec {
    /// The clusters it may lead to.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Cluster(name) => Some(name.value.as_str()).into_iter(),
            Self::Respond(_) => None.into_iter(),
        }
    }
}

/// `match`: all conditions must hold
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchSpec {
    /// The host, without its port.
    pub host: Option<HostPattern>,
    /// The path, without the query.
    pub path: Option<PathPattern>,
    /// One of these methods; empty means any.
    #[serde(deserialize_with = "methods")]
    pub methods: Vec<Method>,
}

/// `match.host`, in lower case
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.DOMAIN`: any host below this domain, not the domain itself. Kept with its leading dot.
    Below(String),
}

/// `match.path`
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathPattern {
    /// This path.
    Exact(AbsolutePath),
    /// This path and all below it: whole segments only.
    Prefix(AbsolutePath),
}

/// A path that begins with a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AbsolutePath(pub String);

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: Option<Node>,
    #[serde(rename = "match")]
    matches: Option<Node>,
    cluster: Option<Node>,
    respond: Option<Node>,
    pipeline: Option<Node>,
}

impl RouteSpec {
    pub(super) fn read_list(list: Option<&Node>, listener: &str, faults: &mut Faults) -> Vec<Self> {
        let path = format!("{listener}.routes");
        match list.map(|list| (list, &list.value)) {
            None | Some((_, Value::Null)) => Vec::new(),
            Some((_, Value::Sequence(routes))) => {
                let routes = routes.iter().enumerate();
                routes.filter_map(|(index, route)| Self::read(route, &format!("{path}[{index}]"), faults)).collect()
            }
            Some((list, _)) => {
                let invalid = Invalid::new(format!("expected a list of routes, found {}", list.describe()));
                faults.found.push(invalid.at(list).in_path(path));
                Vec::new()
            }
        }
    }

    fn read(node: &Node, path: &str, faults: &mut Faults) -> Option<Self> {
        let settings: Settings = match node.deserialize() {
            Ok(settings) => settings,
            Err(invalid) => {
                faults.found.push(invalid.in_path(path));
                let pipeline = format!("{path}.pipeline");
                let layers = faults.layers(node.get("pipeline"), &pipeline);
                faults.orphan(Place::Route, layers, pipeline);
                return None;
            }
        };
        let name: Option<String> = settings.name.as_ref().and_then(|node| faults.read(node, &format!("{path}.name")));
        let matches = match &settings.matches {
            Some(node) if !node.is_null() => faults.read(node, &format!("{path}.match")),
            _ => Some(MatchSpec::default()),
        };
        let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
        let action = match (&settings.cluster, &settings.respond) {
            (Some(cluster), None) => faults.read(cluster, &format!("{path}.cluster")).map(ActionSpec::Cluster),
            (None, Some(respond)) => faults.read(respond, &format!("{path}.respond")).map(ActionSpec::Respond),
            (None, None) => {
                faults.found.push(Invalid::new("a route needs `cluster` or `respond`").at(node).in_path(path));
                None
            }
            (Some(_), Some(respond)) => {
                let invalid = Invalid::new("a route has either `cluster` or `respond`, not both");
                faults.found.push(invalid.at(respond).in_path(path));
                None
            }
        };
        let (Some(matches), Some(action)) = (matches, action.clone()) else {
            if let Some(ActionSpec::Cluster(cluster)) = action {
                faults.references.push((cluster, format!("{path}.cluster")));
            }
            faults.orphan(Place::Route, pipeline, format!("{path}.pipeline"));
            return None;
        };
        Some(Self {
            name: name.unwrap_or_else(|| stable_name(&matches, &action)),
            position: node.position,
            path: path.into(),
            matches,
            action,
            pipeline,
        })
    }
}

impl RouteSpec {
    /// The listener of this route is faulty: its layers are told about all the same.
    pub(super) fn orphan(self, faults: &mut Faults) {
        faults.orphan(Place::Route, self.pipeline, format!("{}.pipeline", self.path));
    }
}

/// A name that is the same as long as the route matches and does the same: state is kept under it.
fn stable_name(matches: &MatchSpec, action: &ActionSpec) -> String {
    let action = match action {
        ActionSpec::Cluster(cluster) => format!("cluster {}", cluster.value),
        ActionSpec::Respond(respond) => format!("respond {} {:?} {:?}", respond.status, respond.headers, respond.body),
    };
    // FNV-1a: std's hashers may change between versions, a name may not
    let text = format!("{matches:?} {action}");
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("route-{hash:016x}")
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

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
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
        Ok(if plain.len() < text.len() { Self::Below(format!(".{plain}")) } else { Self::Exact(text) })
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
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for RespondSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Settings {
            #[serde(default = "ok")]
            status: u16,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            #[serde(default)]
            body: String,
        }
        fn ok() -> u16 {
            200
        }
        let settings = Settings::deserialize(deserializer)?;
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
