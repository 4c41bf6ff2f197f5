//! A cluster: its pipeline, its balancer, and for each endpoint a pipeline and the connections.

use crate::{
    plan::PlannedCluster,
    spec::{ClusterSpec, UpstreamProtocol},
};
use mesh_codec_http::{
    Http, HttpError, Request, Response,
    upstream::{self, Upstream, UpstreamOptions},
};
use mesh_core::{
    Endpoint, EndpointId, EndpointSet, Endpoints, Name, Nanos, Subscription,
    pipeline::{CheckedPipeline, Site, Spawn, Stage, StageFuture, StageHandle, StageRef, States},
    time,
};
use mesh_discovery::{CheckedSource, Discovery as _};
use mesh_lb::BalanceLayer;
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;
use tower_layer::Layer as _;
use tower_service::Service;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: Name,
    stage: StageHandle<Http>,
    source: Arc<Source>,
    /// As the spec says it.
    load_balancer: serde_json::Value,
    endpoint_stages: Option<Arc<EndpointStages>>,
    _observes: Option<Subscription>,
}

/// Where the endpoints of a cluster come from, and what is known of them. A reload that leaves it as it is shares it.
#[derive(Debug)]
struct Source {
    /// `None`: a spec that is no good is never made.
    checked: Option<CheckedSource>,
    endpoints: Endpoints,
    /// Dropped with the last cluster that has this source, it ends the search.
    _search: Option<oneshot::Sender<()>>,
}

impl Source {
    /// Begins to look, on the control thread.
    fn begin(checked: Option<CheckedSource>, spawn: &dyn Spawn) -> Self {
        let (endpoints, search) = match &checked {
            None => (Endpoints::fixed([]), None),
            Some(source) => match source.fixed_targets() {
                Some(targets) => (Endpoints::fixed(targets.iter().cloned()), None),
                None => {
                    let (endpoints, driver) = Endpoints::new(source.discovery().updates());
                    let (search, ended) = oneshot::channel::<()>();
                    spawn.spawn(Box::pin(async move {
                        tokio::select! {
                            () = driver => {}
                            _ = ended => {}
                        }
                    }));
                    (endpoints, Some(search))
                }
            },
        };
        Self { checked, endpoints, _search: search }
    }
}

impl Cluster {
    /// Makes a cluster of its spec. What the one of this name `before` had is taken over: its endpoints, if they come
    /// from the same place, with the state of their layers. The state of its own layers comes from `previous` and is
    /// noted in `next`.
    pub(super) fn make(
        spec: &ClusterSpec,
        planned: &PlannedCluster,
        before: Option<&Cluster>,
        previous: &States<Http>,
        next: &mut States<Http>,
        spawn: &dyn Spawn,
    ) -> Self {
        let name = Name::intern(&spec.name);
        let before = before.filter(|before| before.source.checked == planned.discovery);
        let source = match before {
            Some(before) => before.source.clone(),
            None => Arc::new(Source::begin(planned.discovery.clone(), spawn)),
        };
        let endpoints = &source.endpoints;
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let options = upstream_options(spec, name);
        let endpoint_stages = (!planned.endpoint_pipeline.is_empty()).then(|| {
            let inherited = before.and_then(|before| before.endpoint_stages.as_ref()).map(|stages| stages.states());
            Arc::new(EndpointStages::new(planned, options.clone(), inherited.unwrap_or_default()))
        });
        // made where the set is driven, before a worker sees the endpoint
        let observes = endpoint_stages.clone().map(|stages| endpoints.subscribe(move |set| stages.observe(set)));
        let stage = {
            // one layer for all workers: the table of the endpoints is built once for each change
            let balance = BalanceLayer::new(endpoints.clone(), spec.load_balancer);
            let stages = endpoint_stages.clone();
            StageHandle::new(move || {
                let (stages, options) = (stages.clone(), options.clone());
                let make = move |endpoint: &Arc<Endpoint>| match &stages {
                    None => EndpointCall::Direct(Upstream::new(endpoint, options.clone())),
                    Some(stages) => EndpointCall::Stage(stages.stage(endpoint)),
                };
                pipeline.apply(Stage::new(balance.layer(make)))
            })
        };
        let load_balancer = serde_json::to_value(spec.load_balancer).unwrap_or_default();
        Self { name, stage, source, load_balancer, endpoint_stages, _observes: observes }
    }

    /// Its name.
    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// Its endpoints.
    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.source.endpoints
    }

    /// How one of them is chosen, as the spec says it.
    pub(super) fn load_balancer(&self) -> &serde_json::Value {
        &self.load_balancer
    }

    /// Where requests enter it.
    pub(super) fn stage(&self) -> StageRef<Http> {
        self.stage.stage()
    }
}

fn upstream_options(spec: &ClusterSpec, cluster: Name) -> UpstreamOptions {
    UpstreamOptions {
        protocol: match spec.protocol {
            None => upstream::UpstreamProtocol::AsDownstream,
            Some(UpstreamProtocol::Http1) => upstream::UpstreamProtocol::Http1,
            Some(UpstreamProtocol::Http2) => upstream::UpstreamProtocol::Http2,
        },
        connect_timeout: spec.connect.timeout,
        idle: spec.connect.idle,
        max_age: spec.connect.max_age,
        max_connections: spec.connect.max_connections.get(),
        max_pending: spec.connect.max_pending,
        cluster,
        ..UpstreamOptions::default()
    }
}

/// How long the pipeline of an endpoint is kept after the endpoint left its set.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The pipelines of a cluster's endpoints. Their state belongs to cluster and endpoint: made when the endpoint enters,
/// kept for a while after it left, and taken over by the cluster of this name in the next configuration.
struct EndpointStages {
    pipeline: CheckedPipeline<Http>,
    site: Site<Http>,
    options: UpstreamOptions,
    inherited: HashMap<EndpointId, Arc<States<Http>>>,
    made: Mutex<HashMap<EndpointId, Made>>,
}

struct Made {
    stage: StageHandle<Http>,
    states: Arc<States<Http>>,
    left: Option<Nanos>,
}

impl EndpointStages {
    fn new(
        planned: &PlannedCluster,
        options: UpstreamOptions,
        inherited: HashMap<EndpointId, Arc<States<Http>>>,
    ) -> Self {
        let (pipeline, site) = (planned.endpoint_pipeline.clone(), planned.endpoint_site.clone());
        Self { pipeline, site, options, inherited, made: Mutex::default() }
    }

    fn observe(&self, set: &EndpointSet) {
        let now = time::now();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.values_mut().for_each(|made| _ = made.left.get_or_insert(now));
        for endpoint in set.endpoints() {
            made.entry(endpoint.id()).or_insert_with(|| self.make(endpoint)).left = None;
        }
        made.retain(|_, made| made.left.is_none_or(|left| now.since(left) < REMEMBERED));
    }

    fn stage(&self, endpoint: &Arc<Endpoint>) -> StageRef<Http> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(endpoint.id()).or_insert_with(|| self.make(endpoint)).stage.stage()
    }

    fn make(&self, endpoint: &Arc<Endpoint>) -> Made {
        let site = self.site.clone().with_endpoint(endpoint.clone());
        let (nothing, mut states) = (States::new(), States::new());
        let previous = self.inherited.get(&endpoint.id()).map_or(&nothing, |states| states);
        let pipeline = self.pipeline.make(&site, previous, &mut states);
        let upstream = Upstream::new(endpoint, self.options.clone());
        let stage = StageHandle::new(move || pipeline.apply(Stage::new(upstream.clone())));
        Made { stage, states: Arc::new(states), left: None }
    }

    fn states(&self) -> HashMap<EndpointId, Arc<States<Http>>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().map(|(id, made)| (*id, made.states.clone())).collect()
    }
}

impl std::fmt::Debug for EndpointStages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointStages").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

/// The service of one endpoint.
#[derive(Clone)]
enum EndpointCall {
    /// Its pipeline is empty.
    Direct(Upstream),
    Stage(StageRef<Http>),
}

impl Service<Request> for EndpointCall {
    type Response = Response;
    type Error = HttpError;
    type Future = EndpointFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> EndpointFuture {
        match self {
            Self::Direct(upstream) => EndpointFuture::Direct(upstream.call(request)),
            Self::Stage(stage) => EndpointFuture::Stage(stage.call(request)),
        }
    }
}

enum EndpointFuture {
    Direct(<Upstream as Service<Request>>::Future),
    Stage(StageFuture<Http>),
}

impl Future for EndpointFuture {
    type Output = Result<Response, HttpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Direct(inner) => Pin::new(inner).poll(cx),
            Self::Stage(inner) => Pin::new(inner).poll(cx),
        }
    }
}
