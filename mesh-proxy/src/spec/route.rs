use super::{
    ActionSpec, DubboMatchSpec, Faults, HeadersSpec, MatchSpec, PathPattern, Pipeline, RedirectSpec, RespondSpec,
    RewriteSpec, SplitSpec, dubbo,
};
use mesh_core::{
    http::PathTemplate,
    pipeline::Place,
    spec::{Invalid, LayerSpec, Node, Position, Value, nearest},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt::Write as _;

/// One of a listener's `routes`
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Its name; by default a stable hash of what it matches and does.
    pub name: String,
    /// Where it is written.
    pub position: Position,
    /// Its path in the spec: `listeners.web.routes[0]`.
    pub path: String,
    /// Which requests over HTTP it takes; by default all.
    pub matches: MatchSpec,
    /// Which calls it takes, on a listener over Dubbo.
    pub dubbo: Option<DubboMatchSpec>,
    /// What it does with them.
    pub action: ActionSpec,
    /// What it changes of a request's path and host before the request goes on.
    pub rewrite: RewriteSpec,
    /// What it changes of header fields.
    pub headers: HeadersSpec,
    /// The layers of this route.
    pub pipeline: Vec<LayerSpec>,
}

/// A route: which requests, and what becomes of them. It has one action: `cluster`, `split`, `redirect` or `respond`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Route")]
pub(super) struct Settings {
    /// The label in metrics, and the key of its layers' state. Default: a hash of `match` and action.
    #[schemars(with = "Option<String>")]
    name: Option<Node>,
    /// Which requests it takes: all conditions must hold. Default: all requests.
    #[serde(rename = "match")]
    #[schemars(with = "Option<MatchSpec>")]
    matches: Option<Node>,
    /// The action: the name of the cluster that they go to.
    #[schemars(with = "Option<String>")]
    cluster: Option<Node>,
    /// The action: clusters with their weights, of which one is drawn.
    #[schemars(with = "Option<SplitSpec>")]
    split: Option<Node>,
    /// The action: another place that they are sent to.
    #[schemars(with = "Option<RedirectSpec>")]
    redirect: Option<Node>,
    /// The action: the answer that they get.
    #[schemars(with = "Option<RespondSpec>")]
    respond: Option<Node>,
    /// What is changed of a request's path and host before it goes on.
    #[schemars(with = "Option<RewriteSpec>")]
    rewrite: Option<Node>,
    /// What is changed of header fields.
    #[schemars(with = "Option<HeadersSpec>")]
    headers: Option<Node>,
    /// The layers of this route.
    #[schemars(with = "Option<Pipeline>")]
    pipeline: Option<Node>,
}

/// A route of any listener, as the schema describes it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant, reason = "read as one or the other by the protocol of the listener")]
pub(super) enum AnyRoute {
    Http(Settings),
    Dubbo(dubbo::Settings),
}

impl RouteSpec {
    pub(super) fn read_list(list: Option<&Node>, listener: &str, faults: &mut Faults) -> Vec<Self> {
        read_list(list, listener, faults, Self::read)
    }

    fn read(node: &Node, path: &str, faults: &mut Faults) -> Option<Self> {
        let settings: Settings = read_settings(node, path, faults)?;
        let name: Option<String> = settings.name.as_ref().and_then(|node| faults.read(node, &format!("{path}.name")));
        let matches: Option<MatchSpec> = read_or_default(settings.matches.as_ref(), &format!("{path}.match"), faults);
        let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
        let action = settings.action(node, path, faults);
        let rewrite = read_or_default(settings.rewrite.as_ref(), &format!("{path}.rewrite"), faults);
        let headers = read_or_default(settings.headers.as_ref(), &format!("{path}.headers"), faults);
        let (matches, action, rewrite, headers) = match (matches, action, rewrite, headers) {
            (Some(matches), Some(action), Some(rewrite), Some(headers)) => (matches, action, rewrite, headers),
            (_, action, ..) => {
                tell_of_the_rest(path, action.as_ref(), pipeline, faults);
                return None;
            }
        };
        let name = name.unwrap_or_else(|| {
            stable_name(&[
                ("match", &settings.matches),
                ("cluster", &settings.cluster),
                ("split", &settings.split),
                ("redirect", &settings.redirect),
                ("respond", &settings.respond),
                ("rewrite", &settings.rewrite),
                ("headers", &settings.headers),
            ])
        });
        let route = Self {
            name,
            position: node.position,
            path: path.into(),
            matches,
            dubbo: None,
            action,
            rewrite,
            headers,
            pipeline,
        };
        if let Err(invalid) = route.check(node) {
            faults.found.push(invalid.in_path(path));
        }
        Some(route)
    }

    /// What its parts ask of each other.
    fn check(&self, node: &Node) -> Result<(), Invalid> {
        let goes_on = matches!(self.action, ActionSpec::Cluster(_) | ActionSpec::Split(_));
        let refuse = |path: &str, why: &str| Err(Invalid::new(why).in_path(path).at(node));
        if !goes_on && self.rewrite != RewriteSpec::default() {
            return refuse("rewrite", "nothing goes on that could be rewritten: the route answers itself");
        }
        if !goes_on && !self.headers.request.is_empty() {
            return refuse("headers.request", "no request goes on: the route answers itself");
        }
        let replaces = matches!(self.matches.path, Some(PathPattern::Prefix(_) | PathPattern::Exact(_)));
        if self.rewrite.prefix.is_some() && !replaces {
            let invalid = Invalid::new("it stands in place of what `match.path` has matched: `prefix` or `exact`")
                .with_suggestion("add `match: { path: { prefix: / } }` to put it before every path");
            return Err(invalid.in_path("rewrite.prefix").at(node));
        }
        if let ActionSpec::Redirect(redirect) = &self.action {
            return self.check_redirect(redirect).map_err(|invalid| invalid.in_path("redirect").at(node));
        }
        Ok(())
    }

    fn check_redirect(&self, redirect: &RedirectSpec) -> Result<(), Invalid> {
        if redirect.scheme.is_none() && redirect.host.is_none() && redirect.path.is_none() {
            return Err(Invalid::new("a redirect leads to another `path`, `host` or `scheme`"));
        }
        let known: Vec<&str> = self.template().into_iter().flat_map(PathTemplate::variables).collect();
        let mut variables = redirect.path.iter().flat_map(super::LocationPath::variables);
        let Some(name) = variables.find(|name| !known.contains(name)) else { return Ok(()) };
        let invalid = Invalid::new(format!("`{{{name}}}` is no variable of `match.path.template`")).in_path("path");
        Err(match nearest(name, known.iter().copied()) {
            Some(known) => invalid.with_suggestion(format!("did you mean `{{{known}}}`?")),
            None => invalid,
        })
    }

    /// The template of its path, if it has one.
    pub fn template(&self) -> Option<&PathTemplate> {
        match &self.matches.path {
            Some(PathPattern::Template(template)) => Some(template),
            _ => None,
        }
    }

    /// The listener of this route is faulty: its layers are told about all the same.
    pub(super) fn orphan(self, faults: &mut Faults) {
        faults.orphan(Place::Route, self.pipeline, format!("{}.pipeline", self.path));
    }
}

impl Settings {
    fn action(&self, node: &Node, path: &str, faults: &mut Faults) -> Option<ActionSpec> {
        let actions = [
            ("cluster", &self.cluster),
            ("split", &self.split),
            ("redirect", &self.redirect),
            ("respond", &self.respond),
        ];
        let mut given = actions.into_iter().filter_map(|(name, node)| Some((name, node.as_ref()?)));
        let Some((name, action)) = given.next() else {
            let invalid = Invalid::new("a route needs `cluster`, `split`, `redirect` or `respond`");
            faults.found.push(invalid.at(node).in_path(path));
            return None;
        };
        if let Some((other, node)) = given.next() {
            let invalid = Invalid::new(format!("a route has one action, `{name}` or `{other}`, not both"));
            faults.found.push(invalid.at(node).in_path(format!("{path}.{other}")));
            return None;
        }
        let path = format!("{path}.{name}");
        match name {
            "cluster" => faults.read(action, &path).map(ActionSpec::Cluster),
            "split" => faults.read(action, &path).map(ActionSpec::Split),
            "redirect" => faults.read(action, &path).map(ActionSpec::Redirect),
            _ => faults.read(action, &path).map(ActionSpec::Respond),
        }
    }
}

/// The routes of a listener, each read by `read`.
pub(super) fn read_list<T>(
    list: Option<&Node>,
    listener: &str,
    faults: &mut Faults,
    read: impl Fn(&Node, &str, &mut Faults) -> Option<T>,
) -> Vec<T> {
    let path = format!("{listener}.routes");
    match list.map(|list| (list, &list.value)) {
        None | Some((_, Value::Null)) => Vec::new(),
        Some((_, Value::Sequence(routes))) => {
            let routes = routes.iter().enumerate();
            routes.filter_map(|(index, route)| read(route, &format!("{path}[{index}]"), faults)).collect()
        }
        Some((list, _)) => {
            let invalid = Invalid::new(format!("expected a list of routes, found {}", list.describe()));
            faults.found.push(invalid.at(list).in_path(path));
            Vec::new()
        }
    }
}

/// The settings of a route. Where they are faulty its layers are told about all the same.
pub(super) fn read_settings<T: serde::de::DeserializeOwned>(node: &Node, path: &str, faults: &mut Faults) -> Option<T> {
    match node.deserialize() {
        Ok(settings) => Some(settings),
        Err(invalid) => {
            faults.found.push(invalid.in_path(path));
            let pipeline = format!("{path}.pipeline");
            let layers = faults.layers(node.get("pipeline"), &pipeline);
            faults.orphan(Place::Route, layers, pipeline);
            None
        }
    }
}

/// What a route that is faulty names, and its layers, are told about all the same.
pub(super) fn tell_of_the_rest(path: &str, action: Option<&ActionSpec>, pipeline: Vec<LayerSpec>, faults: &mut Faults) {
    if let Some(action) = action {
        let place = format!("{path}.{}", action.key());
        faults.references.extend(action.clusters().map(|cluster| (cluster.clone(), place.clone())));
    }
    faults.orphan(Place::Route, pipeline, format!("{path}.pipeline"));
}

/// A name that is the same as long as the route matches and does the same, in this version and the next: of what is
/// written, not of what we make of it. State is kept under it.
pub(super) fn stable_name(parts: &[(&str, &Option<Node>)]) -> String {
    let mut text = String::new();
    for (name, node) in parts {
        if let Some(node) = node.as_ref().filter(|node| !is_nothing(node)) {
            write_text(name, &mut text);
            write_canonical(node, &mut text);
        }
    }
    // FNV-1a: std's hashers may change between versions, a name may not
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("route-{hash:016x}")
}

fn is_nothing(node: &Node) -> bool {
    node.is_null() || matches!(&node.value, Value::Mapping(entries) if entries.is_empty())
}

/// The same text for the same settings, in whatever order and style they are written. What comes from the environment
/// is its name: a name in metrics is no place for a secret's hash.
fn write_canonical(node: &Node, text: &mut String) {
    match (&node.source, &node.value) {
        (Some(source), _) => write_text(source, text),
        (None, Value::Null) => text.push_str("null"),
        (None, Value::Bool(value)) => _ = write!(text, "{value}"),
        (None, Value::Integer(value)) => _ = write!(text, "{value}"),
        (None, Value::Float(value)) => _ = write!(text, "{value:?}"),
        (None, Value::String(value)) => write_text(value, text),
        (None, Value::Sequence(items)) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        (None, Value::Mapping(entries)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
            text.push('{');
            for (key, node) in entries {
                write_text(&key.name, text);
                write_canonical(node, text);
                text.push(',');
            }
            text.push('}');
        }
    }
}

/// With its length, so that no text can look like two.
fn write_text(value: &str, text: &mut String) {
    let _ = write!(text, "{}:{value}", value.len());
}

pub(super) fn read_or_default<T: Default + serde::de::DeserializeOwned>(
    node: Option<&Node>,
    path: &str,
    faults: &mut Faults,
) -> Option<T> {
    match node {
        Some(node) if !node.is_null() => faults.read(node, path),
        _ => Some(T::default()),
    }
}
