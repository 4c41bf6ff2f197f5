//! A spec that has been found good as a whole: every layer checked, every reference resolved. Nothing has been made
//! of it yet.

mod warnings;

use crate::{
    layers::Layers,
    read::{Diagnostic, Document, Environment, read_file, sort},
    spec::{ClusterSpec, Faults, ListenerProtocol, ListenerSpec, RegistrationSpec, RouteSpec, Spec, UpstreamProtocol},
};
use mesh_codec_dubbo::Dubbo;
use mesh_codec_http::Http;
use mesh_core::{
    Address, Protocol, Registry,
    pipeline::{CheckedPipeline, Fate, Place, Site, Spawn, States},
    spec::{Invalid, LayerSpec, Node, Spanned, nearest},
};
use mesh_discovery::{CheckedRegistrar, CheckedSource};
use mesh_net::Connection;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

/// A good spec with its checked pipelines.
#[derive(Debug)]
pub struct Plan {
    pub(crate) spec: Spec,
    pub(crate) listeners: Vec<PlannedListener>,
    pub(crate) clusters: Vec<PlannedCluster>,
    pub(crate) registrations: Vec<CheckedRegistrar>,
    pub(crate) root: Node,
    /// Of the text that it was read from.
    pub(crate) fingerprint: Fingerprint,
    warnings: Vec<Diagnostic>,
}

/// Tells texts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[derive(Debug)]
pub(crate) struct PlannedListener {
    pub(crate) site: Site<Http>,
    pub(crate) pipeline: CheckedPipeline<Http>,
    pub(crate) routes: Vec<PlannedRoute<Http>>,
    pub(crate) relay: Option<PlannedRelay>,
    pub(crate) calls: Option<PlannedCalls>,
}

/// Of a listener that relays.
#[derive(Debug)]
pub(crate) struct PlannedRelay {
    pub(crate) site: Site<Connection>,
    pub(crate) pipeline: CheckedPipeline<Connection>,
}

/// Of a listener that speaks Dubbo.
#[derive(Debug)]
pub(crate) struct PlannedCalls {
    pub(crate) site: Site<Dubbo>,
    pub(crate) pipeline: CheckedPipeline<Dubbo>,
    pub(crate) routes: Vec<PlannedRoute<Dubbo>>,
}

/// The layers of a cluster and of its endpoints, for one protocol.
#[derive(Debug)]
pub(crate) struct PlannedWay<P: Protocol> {
    pub(crate) site: Site<P>,
    pub(crate) pipeline: CheckedPipeline<P>,
    pub(crate) endpoint_site: Site<P>,
    pub(crate) endpoint_pipeline: CheckedPipeline<P>,
}

impl<P: Protocol> PlannedWay<P> {
    fn settle(&mut self, settle: impl Fn(Site<P>) -> Site<P>) {
        self.site = settle(self.site.clone());
        self.endpoint_site = settle(self.endpoint_site.clone());
    }

    /// Takes the states along where what runs goes on.
    pub(crate) fn keep(&self, previous: &States<P>, next: &mut States<P>) {
        self.pipeline.make(&self.site, previous, next);
        next.add_to_report(self.endpoint_pipeline.report(&self.endpoint_site, Fate::Kept));
    }
}

#[derive(Debug)]
pub(crate) struct PlannedRoute<P: Protocol> {
    pub(crate) site: Site<P>,
    pub(crate) pipeline: CheckedPipeline<P>,
}

#[derive(Debug)]
pub(crate) struct PlannedCluster {
    /// `None` where the spec names no good one: then there are faults.
    pub(crate) discovery: Option<CheckedSource>,
    /// Where it speaks HTTP.
    pub(crate) http: Option<PlannedWay<Http>>,
    /// Where connections are relayed to it.
    pub(crate) tcp: Option<PlannedWay<Connection>>,
    /// Where it speaks Dubbo.
    pub(crate) dubbo: Option<PlannedWay<Dubbo>>,
    pub(crate) usage: Use,
}

impl Plan {
    /// Reads a file and checks it. Nothing is made, nothing that runs is touched.
    ///
    /// # Errors
    /// Every fault there is, those of the reading and those of the meaning in one go, in the order of the file.
    pub fn load(file: &Path, layers: &Layers, environment: Environment<'_>) -> Result<Self, Vec<Diagnostic>> {
        let (document, faults) = read_file(file, environment);
        Self::finish(document, faults, layers)
    }

    /// As [`Plan::load`], of what has been read already, with the faults of the reading.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn finish(
        document: Option<Document>,
        mut faults: Vec<Diagnostic>,
        layers: &Layers,
    ) -> Result<Self, Vec<Diagnostic>> {
        let plan = document.and_then(|document| {
            let (plan, found) = Self::check_partly(&document, layers);
            faults.extend(found);
            plan
        });
        sort(&mut faults);
        match plan {
            Some(plan) if faults.is_empty() => Ok(plan),
            _ => Err(faults),
        }
    }

    /// Checks a document. Nothing is made, nothing that runs is touched.
    ///
    /// # Errors
    /// Every fault there is, in the order of the file.
    pub fn check(document: &Document, layers: &Layers) -> Result<Self, Vec<Diagnostic>> {
        let (plan, faults) = Self::check_partly(document, layers);
        match plan {
            Some(plan) if faults.is_empty() => Ok(plan),
            _ => Err(faults),
        }
    }

    /// As [`Plan::check`], for a document that has faults of its own already.
    pub fn check_partly(document: &Document, layers: &Layers) -> (Option<Self>, Vec<Diagnostic>) {
        let (spec, mut faults) = Spec::read_all(&document.root);
        let orphans = std::mem::take(&mut faults.orphans);
        let clusters = document.root.get("clusters").map_or(&[][..], Node::entries);
        let clusters = clusters.iter().map(|(key, _)| key.name.as_str()).collect();
        let mut checker = Checker { layers, faults, ids: HashMap::new(), clusters };
        let listeners = spec.listeners.iter().map(|listener| checker.listener(listener)).collect();
        let uses = Use::of_all(&spec);
        let of = |cluster: &ClusterSpec| uses.get(cluster.name.as_str()).copied().unwrap_or_default();
        let clusters = spec.clusters.iter().map(|cluster| checker.cluster(cluster, of(cluster))).collect();
        let registrations =
            spec.registrations.iter().filter_map(|registration| checker.registrar(registration)).collect();
        for orphan in &orphans {
            checker.pipeline(&orphan.layers, &Site::new(orphan.place, &orphan.path), &orphan.path);
        }
        checker.references(&spec, &document.root);
        let mut faults: Vec<Diagnostic> =
            checker.faults.found.iter().map(|invalid| document.diagnose(invalid)).collect();
        sort(&mut faults);
        let warnings = warnings::warnings(&spec).iter().map(|invalid| document.diagnose(invalid)).collect();
        let (root, fingerprint) = (document.root.clone(), Fingerprint::of(&document.text));
        let plan = Self { spec, listeners, clusters, registrations, root, fingerprint, warnings };
        (faults.is_empty().then_some(plan), faults)
    }

    /// Gives every site what only the engine has.
    pub(crate) fn settle(&mut self, spawn: &Arc<dyn Spawn>, settle: impl Fn(Site<Http>) -> Site<Http>) {
        let http = |site: Site<Http>| settle(site.with_spawn(spawn.clone()));
        let tcp = |site: Site<Connection>| site.with_spawn(spawn.clone());
        let dubbo = |site: Site<Dubbo>| site.with_spawn(spawn.clone());
        for listener in &mut self.listeners {
            listener.site = http(listener.site.clone());
            listener.routes.iter_mut().for_each(|route| route.site = http(route.site.clone()));
            if let Some(relay) = &mut listener.relay {
                relay.site = tcp(relay.site.clone());
            }
            if let Some(calls) = &mut listener.calls {
                calls.site = dubbo(calls.site.clone());
                calls.routes.iter_mut().for_each(|route| route.site = dubbo(route.site.clone()));
            }
        }
        for cluster in &mut self.clusters {
            cluster.http.iter_mut().for_each(|way| way.settle(http));
            cluster.tcp.iter_mut().for_each(|way| way.settle(tcp));
            cluster.dubbo.iter_mut().for_each(|way| way.settle(dubbo));
        }
    }

    /// What is allowed and probably not meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The spec it was made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The spec as it was written: environment variables by their names.
    pub fn to_json(&self) -> serde_json::Value {
        self.root.to_json()
    }
}

/// Who comes to a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    by_routes: bool,
    by_relays: bool,
}

impl Use {
    /// Of each cluster to which anybody comes.
    fn of_all(spec: &Spec) -> HashMap<&str, Self> {
        let mut found = HashMap::<&str, Self>::new();
        for listener in &spec.listeners {
            if let Some(relay) = &listener.relay {
                found.entry(&relay.cluster).or_default().by_relays = true;
            }
            for cluster in listener.routes.iter().flat_map(|route| route.action.clusters()) {
                found.entry(cluster).or_default().by_routes = true;
            }
        }
        found
    }

    fn layers_are_of_relays(self) -> bool {
        self.by_relays && !self.by_routes
    }
}

struct Checker<'a> {
    layers: &'a Layers,
    faults: Faults,
    /// Where each `id` was seen first.
    ids: HashMap<String, String>,
    /// Those that are written down, also where they are not good.
    clusters: HashSet<&'a str>,
}

impl Checker<'_> {
    fn pipeline(&mut self, layers: &[LayerSpec], site: &Site<Http>, path: &str) -> CheckedPipeline<Http> {
        let registry = &self.layers.http;
        self.pipeline_of(registry, layers, site, path)
    }

    fn pipeline_of<P: Protocol>(
        &mut self,
        registry: &Registry<P>,
        layers: &[LayerSpec],
        site: &Site<P>,
        path: &str,
    ) -> CheckedPipeline<P> {
        for layer in layers {
            let Some(id) = &layer.id else { continue };
            let here = format!("{path}{}", layer.path);
            if let Some(there) = self.ids.insert(id.clone(), here) {
                let invalid = Invalid::new(format!("`id: {id}` is used at {there} already"));
                self.faults.found.push(invalid.at_position(layer.position).in_path(path));
            }
        }
        match registry.check(layers, site) {
            Ok(checked) => checked,
            Err(faults) => {
                self.faults.found.extend(faults.into_iter().map(|invalid| invalid.in_path(path)));
                CheckedPipeline::default()
            }
        }
    }

    fn listener(&mut self, listener: &ListenerSpec) -> PlannedListener {
        let path = format!("listeners.{}", listener.name);
        let label = ("listener", listener.name.clone());
        let site = Site::new(Place::Listener, &path).with_labels(vec![label.clone()]);
        if listener.protocol == ListenerProtocol::Tcp {
            let relay = Site::new(Place::Listener, &path).with_labels(vec![label]);
            let registry = &self.layers.tcp;
            let pipeline = self.pipeline_of(registry, &listener.pipeline, &relay, &format!("{path}.pipeline"));
            let relay = Some(PlannedRelay { site: relay, pipeline });
            let (pipeline, routes) = (CheckedPipeline::default(), Vec::new());
            return PlannedListener { site, pipeline, routes, relay, calls: None };
        }
        if listener.protocol == ListenerProtocol::Dubbo {
            let (site_of_calls, pipeline, routes) = self.routed(&self.layers.dubbo, listener, &path);
            let calls = Some(PlannedCalls { site: site_of_calls, pipeline, routes });
            let (pipeline, routes) = (CheckedPipeline::default(), Vec::new());
            return PlannedListener { site, pipeline, routes, relay: None, calls };
        }
        let (site, pipeline, routes) = self.routed(&self.layers.http, listener, &path);
        PlannedListener { site, pipeline, routes, relay: None, calls: None }
    }

    /// The pipelines of a listener that has routes, and theirs.
    fn routed<P: Protocol>(
        &mut self,
        registry: &Registry<P>,
        listener: &ListenerSpec,
        path: &str,
    ) -> (Site<P>, CheckedPipeline<P>, Vec<PlannedRoute<P>>) {
        let label = ("listener", listener.name.clone());
        let site = Site::new(Place::Listener, path).with_labels(vec![label.clone()]);
        let pipeline = self.pipeline_of(registry, &listener.pipeline, &site, &format!("{path}.pipeline"));
        let routes = listener.routes.iter().map(|route| {
            let labels = vec![label.clone(), ("route", route.name.clone())];
            let site = Site::new(Place::Route, &format!("{path}.routes.{}", route.name)).with_labels(labels);
            let pipeline = self.pipeline_of(registry, &route.pipeline, &site, &format!("{}.pipeline", route.path));
            PlannedRoute { site, pipeline }
        });
        let routes = routes.collect();
        (site, pipeline, routes)
    }

    fn cluster(&mut self, cluster: &ClusterSpec, usage: Use) -> PlannedCluster {
        let path = format!("clusters.{}", cluster.name);
        let discovery = self.discovery(&cluster.discovery, &format!("{path}.discovery"));
        let layers: [&[LayerSpec]; 2] = [&cluster.pipeline, &cluster.endpoint_pipeline];
        // the layers are of the protocol of those who come
        let (for_requests, for_relays) =
            if usage.layers_are_of_relays() { ([&[][..]; 2], layers) } else { (layers, [&[][..]; 2]) };
        let speaks_dubbo = cluster.protocol == Some(UpstreamProtocol::Dubbo);
        let http = (!speaks_dubbo).then(|| self.way(&self.layers.http, cluster, for_requests, &path));
        let dubbo = speaks_dubbo.then(|| self.way(&self.layers.dubbo, cluster, for_requests, &path));
        let tcp = usage.by_relays.then(|| self.way(&self.layers.tcp, cluster, for_relays, &path));
        PlannedCluster { discovery, http, tcp, dubbo, usage }
    }

    fn way<P: Protocol>(
        &mut self,
        registry: &Registry<P>,
        cluster: &ClusterSpec,
        [layers, endpoint_layers]: [&[LayerSpec]; 2],
        path: &str,
    ) -> PlannedWay<P> {
        let labels = vec![("cluster", cluster.name.clone())];
        let site = Site::new(Place::Cluster, path).with_labels(labels.clone());
        let pipeline = self.pipeline_of(registry, layers, &site, &format!("{path}.pipeline"));
        let endpoint_site = Site::new(Place::Endpoint, &format!("{path}.endpoints")).with_labels(labels);
        let endpoint_pipeline =
            self.pipeline_of(registry, endpoint_layers, &endpoint_site, &format!("{path}.endpoint_pipeline"));
        PlannedWay { site, pipeline, endpoint_site, endpoint_pipeline }
    }

    fn discovery(&mut self, node: &Node, path: &str) -> Option<CheckedSource> {
        let checked = self.layers.discovery.check(node);
        checked.map_err(|invalid| self.faults.found.push(invalid.in_path(path))).ok()
    }

    fn registrar(&mut self, registration: &RegistrationSpec) -> Option<CheckedRegistrar> {
        let checked = self.layers.discovery.check_registrar(&registration.registrar);
        let path = format!("registrations.{}.with", registration.name);
        checked.map_err(|invalid| self.faults.found.push(invalid.in_path(path))).ok()
    }

    fn references(&mut self, spec: &Spec, root: &Node) {
        self.binds(spec);
        for (name, path) in std::mem::take(&mut self.faults.references) {
            self.reference(&name, path, root);
        }
        let of_dubbo = |cluster: &ClusterSpec| cluster.protocol == Some(UpstreamProtocol::Dubbo);
        let speak_dubbo: HashMap<&str, bool> =
            spec.clusters.iter().map(|cluster| (cluster.name.as_str(), of_dubbo(cluster))).collect();
        for listener in &spec.listeners {
            if let Some(relay) = &listener.relay {
                self.reference(&relay.cluster, format!("listeners.{}.cluster", listener.name), root);
            }
            let mut names = BTreeMap::<&str, &RouteSpec>::new();
            for route in &listener.routes {
                if let Some(first) = names.insert(&route.name, route) {
                    let invalid = Invalid::new(format!(
                        "the route at line {} has the same name `{}`, or matches and does the same",
                        first.position.line, route.name
                    ));
                    self.faults.found.push(invalid.at_position(route.position).in_path(&route.path));
                }
                for name in route.action.clusters() {
                    let path = format!("{}.{}", route.path, route.action.key());
                    self.speaks(name, listener, &speak_dubbo, &path);
                    self.reference(name, path, root);
                }
            }
        }
    }

    /// That a cluster speaks what comes to it.
    fn speaks(
        &mut self,
        name: &Spanned<String>,
        listener: &ListenerSpec,
        speak_dubbo: &HashMap<&str, bool>,
        path: &str,
    ) {
        let Some(has) = speak_dubbo.get(name.as_str()).copied() else { return };
        let wants = listener.protocol == ListenerProtocol::Dubbo;
        if wants != has {
            let word = |dubbo: bool| if dubbo { "Dubbo" } else { "HTTP" };
            let why = format!("cluster `{}` speaks {}, and here comes {}", name.value, word(has), word(wants));
            let invalid = match wants {
                true => Invalid::new(why).with_suggestion("give the cluster `protocol: dubbo`"),
                false => Invalid::new(why),
            };
            self.faults.found.push(invalid.at_position(name.position).in_path(path));
        }
    }

    /// The name of a cluster.
    fn reference(&mut self, name: &Spanned<String>, path: String, root: &Node) {
        if !self.clusters.contains(name.as_str()) {
            self.faults.found.push(unknown_cluster(name, root).at_position(name.position).in_path(path));
        }
    }

    /// Two sockets on one address.
    fn binds(&mut self, spec: &Spec) {
        let mut taken = HashMap::<&Address, String>::new();
        let admin = spec.admin.iter().map(|admin| ("admin".to_owned(), &admin.bind));
        let listeners = spec.listeners.iter().map(|listener| (format!("listeners.{}", listener.name), &listener.bind));
        for (path, bind) in admin.chain(listeners) {
            if matches!(bind.address, Address::Tcp(address) if address.port() == 0) {
                continue;
            }
            if let Some(other) = taken.insert(&bind.address, path.clone()) {
                let invalid = Invalid::new(format!("{} is taken by {other} already", bind.address));
                self.faults.found.push(invalid.at_position(bind.position).in_path(format!("{path}.bind")));
            }
        }
    }
}

fn unknown_cluster(name: &str, root: &Node) -> Invalid {
    let names: Vec<&str> = root
        .get("clusters")
        .map(|clusters| clusters.entries().iter().map(|(key, _)| key.name.as_str()).collect())
        .unwrap_or_default();
    let invalid = Invalid::new(format!("there is no cluster `{name}`"));
    match nearest(name, names.iter().copied()) {
        Some(known) => invalid.with_suggestion(format!("did you mean `{known}`?")),
        None if names.is_empty() => invalid.with_suggestion("`clusters` is empty"),
        None => invalid.with_suggestion(format!("the clusters are {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests;
