//! What runs at the moment: one immutable configuration, made of a plan and of the configuration before.

use super::{
    calls::CallsListener,
    cluster::Cluster,
    connections::{ConnectionLayers, ProcessLimit},
    edit::RequestEdit,
    redirect::Redirect,
    relay::RelayListener,
    report::{Changes, ReloadReport},
    route::{Leaf, Reachable, Route, RouterService, Target},
    split::Split,
};
use crate::{
    plan::{Plan, PlannedListener},
    router::Router,
    spec::{ActionSpec, ListenerSpec, MergeSlashes, RouteSpec},
};
use mesh_codec_dubbo::Dubbo;
use mesh_codec_http::{Http, forward::Slashes};
use mesh_core::{
    Name,
    pipeline::{Fate, Observers, Spawn, Stage, StageHandle, StageRef, States},
    spec::Node,
};
use mesh_net::Connection;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

type Clusters = BTreeMap<String, Arc<Cluster>>;

/// Everything that was made of a plan.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) plan: Plan,
    pub(super) clusters: Clusters,
    /// In the order of the plan.
    pub(super) listeners: Vec<Arc<ListenerConfig>>,
    pub(super) states: Arc<AllStates>,
    /// One for all configurations of an engine.
    reachable: Reachable,
}

/// The states of layers, by the protocol that they are of.
#[derive(Debug, Default)]
pub(super) struct AllStates {
    pub(super) http: States<Http>,
    pub(super) tcp: States<Connection>,
    pub(super) dubbo: States<Dubbo>,
}

/// What a listener does with a request at the moment.
#[derive(Debug)]
pub(super) struct ListenerConfig {
    stage: StageHandle<Http>,
    relay: Option<RelayListener>,
    calls: Option<CallsListener>,
    pub(super) connection: ConnectionLayers,
    /// Those of its layers that are told of what the codec refuses.
    pub(super) observers: Observers<Http>,
    /// The one in the stage.
    pub(super) router: Arc<Router<Route>>,
}

impl Config {
    /// Makes everything of a plan. Cannot fail. What is written as it was before goes on as it is; the states of
    /// layers that are made anew come from the configuration before.
    pub(super) fn make(
        mut plan: Plan,
        before: Option<&Config>,
        spawn: &Arc<dyn Spawn>,
        process: &Arc<ProcessLimit>,
    ) -> (Self, ReloadReport) {
        let nothing = AllStates::default();
        let previous = before.map_or(&nothing, |config| &*config.states);
        let mut states = AllStates::default();
        let reachable = before.map(|before| before.reachable.clone()).unwrap_or_default();
        plan.settle(spawn, |site| site.with_clusters(reachable.finder()));
        let mut report = ReloadReport::default();

        let written = Written::of(before, "clusters");
        let mut clusters = Clusters::new();
        for ((spec, planned), node) in plan.spec.clusters.iter().zip(&plan.clusters).zip(values(&plan.root, "clusters"))
        {
            let before = before.and_then(|before| before.clusters.get(&spec.name));
            let cluster = match before {
                Some(kept) if written.is(&spec.name, node) && kept.usage() == planned.usage => {
                    // takes the states along
                    if let Some(way) = &planned.http {
                        way.keep(&previous.http, &mut states.http);
                    }
                    if let Some(way) = &planned.dubbo {
                        way.keep(&previous.dubbo, &mut states.dubbo);
                    }
                    if let Some(way) = &planned.tcp {
                        way.keep(&previous.tcp, &mut states.tcp);
                    }
                    kept.clone()
                }
                _ => {
                    let before = before.map(|before| &**before);
                    Arc::new(Cluster::make(spec, planned, before, previous, &mut states, &**spawn, process))
                }
            };
            let same = before.map(|before| Arc::ptr_eq(before, &cluster));
            report.clusters.note(&spec.name, same);
            clusters.insert(spec.name.clone(), cluster);
        }
        for gone in before.iter().flat_map(|before| before.clusters.values()) {
            if !clusters.contains_key(gone.name().as_str()) {
                states.http.add_to_report(gone.endpoint_layers(Fate::Removed));
                report.clusters.removed.push(gone.name().as_str().to_owned());
            }
        }
        reachable.fill(&clusters);

        let written = Written::of(before, "listeners");
        let all = plan.spec.listeners.iter().zip(&plan.listeners).zip(values(&plan.root, "listeners"));
        let mut listeners = Vec::new();
        for ((spec, planned), node) in all {
            let same = before.and_then(|before| before.listener(&spec.name)).filter(|_| {
                let leads_on = |name| same_cluster(before, &clusters, name);
                let relay = spec.relay.iter().map(|relay| relay.cluster.as_str());
                let routes = spec.routes.iter().flat_map(|route| route.action.clusters()).map(|name| name.as_str());
                written.is(&spec.name, node) && routes.chain(relay).all(leads_on)
            });
            report.listeners.note(&spec.name, written.0.get(spec.name.as_str()).map(|before| *before == node));
            report_routes(&mut report.routes, &spec.name, routes_of(before, &spec.name), named_routes(spec, node));
            listeners.push(match same {
                Some(kept) => {
                    for route in &planned.routes {
                        route.pipeline.make(&route.site, &previous.http, &mut states.http);
                    }
                    planned.pipeline.make(&planned.site, &previous.http, &mut states.http);
                    if let Some(relay) = &planned.relay {
                        relay.pipeline.make(&relay.site, &previous.tcp, &mut states.tcp);
                    }
                    if let Some(calls) = &planned.calls {
                        for route in &calls.routes {
                            route.pipeline.make(&route.site, &previous.dubbo, &mut states.dubbo);
                        }
                        calls.pipeline.make(&calls.site, &previous.dubbo, &mut states.dubbo);
                    }
                    kept.clone()
                }
                None => {
                    let before = before.and_then(|before| before.listener(&spec.name)).map(|before| &**before);
                    Arc::new(ListenerConfig::make(spec, planned, &clusters, before, previous, &mut states))
                }
            });
        }
        for gone in before.iter().flat_map(|before| &before.plan.spec.listeners) {
            if plan.spec.listeners.iter().all(|listener| listener.name != gone.name) {
                report_routes(&mut report.routes, &gone.name, routes_of(before, &gone.name), Routes::new());
                report.listeners.removed.push(gone.name.clone());
            }
        }
        states.http.report_removed(&previous.http);
        states.tcp.report_removed(&previous.tcp);
        states.dubbo.report_removed(&previous.dubbo);
        report.layers = states.http.report().clone();
        report.layers.0.extend(states.dubbo.report().0.iter().cloned());
        report.layers.0.extend(states.tcp.report().0.iter().cloned());
        (Self { plan, clusters, listeners, states: Arc::new(states), reachable }, report)
    }

    fn listener(&self, name: &str) -> Option<&Arc<ListenerConfig>> {
        let place = self.plan.spec.listeners.iter().position(|listener| listener.name == name)?;
        self.listeners.get(place)
    }
}

/// Whether a name leads to the cluster that it led to.
fn same_cluster(before: Option<&Config>, clusters: &Clusters, name: &str) -> bool {
    let before = before.and_then(|before| before.clusters.get(name));
    before.zip(clusters.get(name)).is_some_and(|(before, now)| Arc::ptr_eq(before, now))
}

/// The objects of a section as they were written before, by name.
struct Written<'a>(HashMap<&'a str, &'a Node>);

impl<'a> Written<'a> {
    fn of(before: Option<&'a Config>, section: &str) -> Self {
        let nodes = before.and_then(|before| before.plan.root.get(section)).map_or(&[][..], Node::entries);
        Self(nodes.iter().map(|(key, node)| (key.name.as_str(), node)).collect())
    }

    fn is(&self, name: &str, node: &Node) -> bool {
        self.0.get(name).is_some_and(|before| *before == node)
    }
}

/// The objects of a section, of which a plan has one each.
pub(super) fn values<'a>(root: &'a Node, section: &str) -> impl Iterator<Item = &'a Node> {
    root.get(section).map_or(&[][..], Node::entries).iter().map(|(_, node)| node)
}

/// The routes of a listener by name, as they are written.
type Routes<'a> = Vec<(&'a str, &'a Node)>;

fn named_routes<'a>(spec: &'a ListenerSpec, node: &'a Node) -> Routes<'a> {
    let written = node.get("routes").map_or(&[][..], Node::items);
    spec.routes.iter().map(|route| route.name.as_str()).zip(written).collect()
}

/// Those that were there before.
fn routes_of<'a>(before: Option<&'a Config>, listener: &str) -> Routes<'a> {
    let all = before
        .into_iter()
        .flat_map(|before| before.plan.spec.listeners.iter().zip(values(&before.plan.root, "listeners")));
    let found = all.into_iter().find(|(spec, _)| spec.name == listener);
    found.map_or_else(Routes::new, |(spec, node)| named_routes(spec, node))
}

fn report_routes(report: &mut Changes, listener: &str, before: Routes<'_>, now: Routes<'_>) {
    let mut before: HashMap<&str, &Node> = before.into_iter().collect();
    for (name, node) in now {
        report.note(format!("{listener}/{name}"), before.remove(name).map(|before| before == node));
    }
    let mut gone: Vec<&str> = before.into_keys().collect();
    gone.sort_unstable();
    report.removed.extend(gone.into_iter().map(|name| format!("{listener}/{name}")));
}

impl ListenerConfig {
    fn make(
        spec: &ListenerSpec,
        planned: &PlannedListener,
        clusters: &Clusters,
        before: Option<&ListenerConfig>,
        previous: &AllStates,
        next: &mut AllStates,
    ) -> Self {
        let relay = spec.relay.as_ref().zip(planned.relay.as_ref()).and_then(|(spec, planned)| {
            // a plan names no cluster that is not there, and has a way for connections to it
            let cluster = clusters.get(&spec.cluster.value)?.tcp()?;
            Some(RelayListener::make(spec, planned, cluster, &previous.tcp, &mut next.tcp))
        });
        let calls = planned
            .calls
            .as_ref()
            .map(|planned| CallsListener::make(&spec.routes, planned, clusters, &previous.dubbo, &mut next.dubbo));
        let (previous, next) = (&previous.http, &mut next.http);
        // none where it speaks Dubbo
        let routes = spec.routes.iter().zip(&planned.routes).filter_map(|(route, planned)| {
            let leaf = leaf(route, clusters)?;
            let target = if planned.pipeline.is_empty() {
                Target::Leaf(leaf)
            } else {
                let pipeline = planned.pipeline.make(&planned.site, previous, next);
                Target::Stage(StageHandle::new(move || pipeline.apply(Stage::new(leaf.clone()))))
            };
            let running = Route {
                name: Name::intern(&route.name),
                template: route.template().map_or(Name::NONE, |template| Name::intern(template.as_str())),
                tunnels: !route.matches.methods.is_empty(),
                edit: RequestEdit::of(route).map(Box::new),
                response: (!route.headers.response.is_empty()).then(|| Arc::new(route.headers.response.clone())),
                target,
            };
            Some((route.matches.clone(), running))
        });
        let slashes = match spec.merge_slashes {
            MergeSlashes::Off => Slashes::Keep,
            MergeSlashes::On => Slashes::Merge,
        };
        let router = Arc::new(Router::new(routes));
        let service = RouterService { router: router.clone(), slashes };
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        Self {
            observers: pipeline.observers(),
            stage: StageHandle::new(move || pipeline.apply(Stage::new(service.clone()))),
            relay,
            calls,
            connection: ConnectionLayers::make(spec, before.map(|before| &before.connection)),
            router,
        }
    }

    /// Where its connections are relayed, if they are.
    pub(super) fn relay(&self) -> Option<&RelayListener> {
        self.relay.as_ref()
    }

    /// Where requests over HTTP enter.
    pub(super) fn stage(&self) -> StageRef<Http> {
        self.stage.stage()
    }

    /// Where calls of Dubbo enter, if it takes them.
    pub(super) fn calls(&self) -> Option<&CallsListener> {
        self.calls.as_ref()
    }
}

/// What a route does in the end. A plan names no cluster that is not there.
fn leaf(route: &RouteSpec, clusters: &Clusters) -> Option<Leaf> {
    Some(match &route.action {
        ActionSpec::Cluster(name) => Leaf::Cluster(clusters.get(&name.value)?.http()?),
        ActionSpec::Split(split) => {
            let parts = split.0.iter().filter_map(|(name, weight)| Some((clusters.get(&name.value)?.http()?, *weight)));
            Leaf::Split(Arc::new(Split::new(parts)?))
        }
        ActionSpec::Redirect(redirect) => {
            Leaf::Redirect(Arc::new(Redirect { spec: redirect.clone(), template: route.template().cloned() }))
        }
        ActionSpec::Respond(respond) => Leaf::Respond(Arc::new(respond.clone())),
    })
}
