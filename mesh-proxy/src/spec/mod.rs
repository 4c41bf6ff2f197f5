//! The spec: what a configuration file says, as types. Each listener, route, cluster and layer is read from its own
//! subtree, so that every fault in every one of them is reported in one go.

mod action;
mod bind;
mod cluster;
mod connection;
mod dubbo;
mod limits;
mod listener;
mod matches;
mod pairs;
mod registration;
mod relay;
mod route;
mod schema;

pub use action::{
    ActionSpec, HeaderOps, HeadersSpec, LocationPart, LocationPath, RedirectScheme, RedirectSpec, RespondSpec,
    RewriteSpec, SplitSpec,
};
pub use bind::BindSpec;
pub use cluster::{ClusterSpec, ConnectSpec, UpstreamProtocol};
pub use connection::ConnectionLayer;
pub use dubbo::{DubboLimits, DubboMatchSpec, DubboSpec, DubboTimeouts, ServicePattern};
pub use limits::{LimitsSpec, TimeoutsSpec};
pub use listener::{DrainOrder, Forwarded, ListenerProtocol, ListenerSpec, MergeSlashes, RequestId};
pub use matches::{AbsolutePath, HostPattern, MatchSpec, PathPattern, Pattern, PatternError, StringMatcher};
pub use registration::RegistrationSpec;
pub use relay::{RelaySpec, RelayTimeouts};
pub use route::RouteSpec;
pub(crate) use schema::{Discovery, Pipeline, Registrar};

use mesh_core::{
    pipeline::Place,
    spec::{Invalid, LayerSpec, Node, Spanned, Value},
    units,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

/// A whole spec. Its parts are good each by itself; [`Plan`](crate::Plan) checks what they say of each other.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The admin listener; absent means off.
    pub admin: Option<AdminSpec>,
    /// How many workers; by default as many as there are processors for this process.
    pub workers: Option<NonZeroUsize>,
    /// How the program ends.
    pub shutdown: ShutdownSpec,
    /// The listeners, in the order of the file.
    pub listeners: Vec<ListenerSpec>,
    /// The clusters, in the order of the file.
    pub clusters: Vec<ClusterSpec>,
    /// Where this service makes itself known, in the order of the file.
    pub registrations: Vec<RegistrationSpec>,
}

/// `admin`
#[derive(Clone, Debug)]
pub struct AdminSpec {
    /// Where it listens.
    pub bind: Spanned<BindSpec>,
}

/// The admin listener.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Admin {
    /// Where it listens.
    #[schemars(with = "BindSpec")]
    bind: Node,
}

/// `shutdown`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownSpec {
    /// How long connections are still accepted after `/ready` has begun to fail. Default 0s.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub delay: Duration,
    /// How long requests in flight may then take. Default 30s.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub timeout: Duration,
}

impl Default for ShutdownSpec {
    fn default() -> Self {
        Self { delay: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Root {
    /// The admin listener. Default: off.
    #[schemars(with = "Option<Admin>")]
    admin: Option<Node>,
    /// How many threads serve requests. Default: one per processor that this process may use.
    #[schemars(with = "Option<NonZeroUsize>")]
    workers: Option<Node>,
    /// How the program ends. Default: that of each key.
    #[schemars(with = "Option<ShutdownSpec>")]
    shutdown: Option<Node>,
    /// The listeners, by name.
    #[schemars(with = "Option<BTreeMap<String, listener::Settings>>")]
    listeners: Option<Node>,
    /// The clusters, by name.
    #[schemars(with = "Option<BTreeMap<String, cluster::Settings>>")]
    clusters: Option<Node>,
    /// Where this service makes itself known, by name.
    #[schemars(with = "Option<BTreeMap<String, registration::Settings>>")]
    registrations: Option<Node>,
}

/// Gathers faults while a spec is read.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) found: Vec<Invalid>,
    /// The layers of what is faulty itself.
    pub(crate) orphans: Vec<Orphan>,
    /// The clusters that faulty routes name, with the path of the name.
    pub(crate) references: Vec<(Spanned<String>, String)>,
}

/// The layers of a faulty listener, route or cluster: told about all the same.
#[derive(Clone, Debug)]
pub(crate) struct Orphan {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) layers: Vec<LayerSpec>,
}

impl Faults {
    /// The value, or its fault noted under `path`.
    pub(crate) fn take<T>(&mut self, read: Result<T, Invalid>, path: &str) -> Option<T> {
        read.map_err(|invalid| self.found.push(invalid.in_path(path))).ok()
    }

    /// A subtree as its type.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&mut self, node: &Node, path: &str) -> Option<T> {
        self.take(node.deserialize(), path)
    }

    /// A list of layers.
    pub(crate) fn layers(&mut self, node: Option<&Node>, path: &str) -> Vec<LayerSpec> {
        let Some(node) = node else { return Vec::new() };
        let (layers, faults) = LayerSpec::read_list(node);
        self.found.extend(faults.into_iter().map(|invalid| invalid.in_path(path)));
        layers
    }

    /// A list of layers that belongs to something faulty.
    pub(crate) fn orphan(&mut self, place: Place, layers: Vec<LayerSpec>, path: String) {
        self.orphans.push(Orphan { place, path, layers });
    }

    /// The entries of a mapping of names to objects.
    fn named<'a>(&mut self, node: Option<&'a Node>, path: &str) -> &'a [(mesh_core::spec::Key, Node)] {
        match node.map(|node| (node, &node.value)) {
            None | Some((_, Value::Null)) => &[],
            Some((_, Value::Mapping(entries))) => entries,
            Some((node, _)) => {
                let invalid = Invalid::new(format!("expected a mapping of names, found {}", node.describe()));
                self.found.push(invalid.at(node).in_path(path));
                &[]
            }
        }
    }
}

impl Spec {
    /// Reads a spec. What is good of it is given back together with all faults.
    pub fn read(root: &Node) -> (Self, Vec<Invalid>) {
        let (spec, faults) = Self::read_all(root);
        (spec, faults.found)
    }

    /// As [`Spec::read`], with the layers of what is faulty.
    pub(crate) fn read_all(root: &Node) -> (Self, Faults) {
        let mut faults = Faults::default();
        let parts =
            if root.is_null() { Root::default() } else { faults.read(root, "").unwrap_or_else(|| partly(root)) };
        let mut spec = Spec::default();
        if let Some(node) = &parts.admin {
            let admin: Option<Admin> = faults.read(node, "admin");
            let bind = admin.and_then(|admin| faults.take(BindSpec::read(&admin.bind), "admin.bind"));
            spec.admin = bind.map(|bind| AdminSpec { bind });
        }
        if let Some(node) = &parts.workers {
            spec.workers = faults.read(node, "workers");
        }
        if let Some(node) = &parts.shutdown {
            spec.shutdown = faults.read(node, "shutdown").unwrap_or_default();
        }
        for (key, node) in faults.named(parts.listeners.as_ref(), "listeners") {
            spec.listeners.extend(ListenerSpec::read(key, node, &mut faults));
        }
        for (key, node) in faults.named(parts.clusters.as_ref(), "clusters") {
            spec.clusters.extend(ClusterSpec::read(key, node, &mut faults));
        }
        for (key, node) in faults.named(parts.registrations.as_ref(), "registrations") {
            spec.registrations.extend(RegistrationSpec::read(key, node, &mut faults));
        }
        (spec, faults)
    }
}

/// The known parts of a root that has unknown ones too.
fn partly(root: &Node) -> Root {
    let part = |name: &str| root.get(name).cloned();
    Root {
        admin: part("admin"),
        workers: part("workers"),
        shutdown: part("shutdown"),
        listeners: part("listeners"),
        clusters: part("clusters"),
        registrations: part("registrations"),
    }
}

#[cfg(test)]
mod tests;
