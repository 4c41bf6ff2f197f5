//! What runs at the moment: one immutable configuration behind an atomic pointer per listener.

use super::{
    cluster::Cluster,
    listener,
    route::{Leaf, RouterService, Target, ToCluster},
};
use crate::{
    plan::{Plan, PlannedListener},
    router::{Route, Router},
    spec::{ActionSpec, ListenerSpec},
};
use arc_swap::ArcSwap;
use mesh_codec_http::{Http, HttpError, Request, Response, server::Server};
use mesh_core::{
    Name,
    pipeline::{Report, Spawn, Stage, StageFuture, StageHandle, States},
};
use pin_project_lite::pin_project;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
};
use tower_service::Service;

/// Everything that was made of a plan.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) plan: Plan,
    pub(super) clusters: BTreeMap<String, Arc<Cluster>>,
    pub(super) listeners: Vec<Arc<ListenerConfig>>,
    states: States<Http>,
}

/// What a listener does with a request at the moment.
#[derive(Debug)]
pub(super) struct ListenerConfig {
    /// Of connections that begin now.
    pub(super) server: Server,
    stage: StageHandle<Http>,
}

impl Config {
    /// Makes everything of a plan. Cannot fail; the layers' states come from the configuration before.
    pub(super) fn make(mut plan: Plan, previous: Option<&Config>, spawn: &Arc<dyn Spawn>) -> Self {
        let (nothing, before) = (States::new(), previous);
        let previous = before.map_or(&nothing, |config| &config.states);
        let mut states = States::new();
        let reachable = Reachable::default();
        plan.settle(|site| site.with_spawn(spawn.clone()).with_clusters(reachable.finder()));
        let mut clusters = BTreeMap::new();
        for (spec, planned) in plan.spec.clusters.iter().zip(&plan.clusters) {
            let before = before.and_then(|config| config.clusters.get(&spec.name));
            let cluster =
                Cluster::make(spec, planned, before.map(|cluster| &**cluster), previous, &mut states, &**spawn);
            clusters.insert(spec.name.clone(), Arc::new(cluster));
        }
        reachable.fill(&clusters);
        let listeners = plan
            .spec
            .listeners
            .iter()
            .zip(&plan.listeners)
            .map(|(spec, planned)| Arc::new(ListenerConfig::make(spec, planned, &clusters, previous, &mut states)))
            .collect();
        Self { plan, clusters, listeners, states }
    }

    /// What became of each layer.
    pub(super) fn report(&self) -> &Report {
        self.states.report()
    }
}

impl ListenerConfig {
    fn make(
        spec: &ListenerSpec,
        planned: &PlannedListener,
        clusters: &BTreeMap<String, Arc<Cluster>>,
        previous: &States<Http>,
        next: &mut States<Http>,
    ) -> Self {
        let routes = spec.routes.iter().zip(&planned.routes).filter_map(|(route, planned)| {
            let leaf = match &route.action {
                // a plan names no cluster that is not there
                ActionSpec::Cluster(name) => Leaf::Cluster(clusters.get(&name.value)?.clone()),
                ActionSpec::Respond(respond) => Leaf::Respond(Arc::new(respond.clone())),
            };
            let target = if planned.pipeline.is_empty() {
                Target::Leaf(leaf)
            } else {
                let pipeline = planned.pipeline.make(&planned.site, previous, next);
                Target::Stage(StageHandle::new(move || pipeline.apply(Stage::new(leaf.clone()))))
            };
            Some(Route { name: Name::intern(&route.name), matches: route.matches.clone(), target })
        });
        let router = RouterService(Arc::new(Router::new(routes.collect())));
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        Self {
            server: listener::server(spec),
            stage: StageHandle::new(move || pipeline.apply(Stage::new(router.clone()))),
        }
    }
}

/// The clusters that layers may call by name. Filled when all are made; weak, since clusters may lead to each other.
#[derive(Clone, Default)]
struct Reachable(Arc<OnceLock<BTreeMap<String, Weak<Cluster>>>>);

impl Reachable {
    fn fill(&self, clusters: &BTreeMap<String, Arc<Cluster>>) {
        let weak = clusters.iter().map(|(name, cluster)| (name.clone(), Arc::downgrade(cluster)));
        let _ = self.0.set(weak.collect());
    }

    fn finder(&self) -> impl Fn(&str) -> Option<Stage<Http>> + Send + Sync + use<> {
        let clusters = self.0.clone();
        move |name| Some(Stage::new(ToCluster(clusters.get()?.get(name)?.clone())))
    }
}

/// The service of a listener's connections. It takes the newest configuration for each request, so that a reload
/// reaches old connections; a request keeps the one it began with.
pub(super) struct ListenerService {
    newest: arc_swap::Cache<Arc<ArcSwap<ListenerConfig>>, Arc<ListenerConfig>>,
    /// The newest, under a count of this connection's own: workers do not share its cache line.
    pinned: Arc<Newest>,
}

/// A configuration that a connection and its requests hold.
struct Newest(Arc<ListenerConfig>);

impl ListenerService {
    pub(super) fn new(source: Arc<ArcSwap<ListenerConfig>>) -> Self {
        let pinned = Arc::new(Newest(source.load_full()));
        Self { newest: arc_swap::Cache::new(source), pinned }
    }
}

impl Clone for ListenerService {
    fn clone(&self) -> Self {
        Self { newest: self.newest.clone(), pinned: self.pinned.clone() }
    }
}

impl Service<Request> for ListenerService {
    type Response = Response;
    type Error = HttpError;
    type Future = Pinned;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Pinned {
        let newest = self.newest.load();
        if !Arc::ptr_eq(newest, &self.pinned.0) {
            self.pinned = Arc::new(Newest(newest.clone()));
        }
        Pinned { inner: self.pinned.0.stage.stage().call(request), config: self.pinned.clone() }
    }
}

pin_project! {
    /// A call that keeps the configuration it began with.
    pub(super) struct Pinned {
        #[pin]
        inner: StageFuture<Http>,
        config: Arc<Newest>,
    }
}

impl Future for Pinned {
    type Output = Result<Response, HttpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}
