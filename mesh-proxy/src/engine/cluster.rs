//! A cluster: its pipeline, its balancer, and for each endpoint a pipeline and the connections.

use super::{config::AllStates, connections::ProcessLimit, endpoint_stages::EndpointStages, relay::RelayCluster};
use crate::{
    plan::{PlannedCluster, Use},
    spec::{ClusterSpec, UpstreamProtocol},
};
use mesh_codec_http::{
    Http,
    upstream::{self, Upstream, UpstreamOptions},
};
use mesh_core::{
    Endpoint, Endpoints, Name, Protocol, Subscription, Target,
    pipeline::{Fate, LayerReport, Spawn, Stage, StageFuture, StageHandle, StageRef, States},
};
use mesh_discovery::{CheckedSource, Discovery as _};
use mesh_lb::BalanceLayer;
use mesh_net::Connection;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
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
    endpoint_stages: Option<Arc<EndpointStages<Http>>>,
    _observes: Option<Subscription>,
    usage: Use,
    relay: Option<RelayCluster>,
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
    /// Begins to look, on the control thread. In place of another source it begins with the endpoints of that one.
    fn begin(checked: Option<CheckedSource>, before: Option<&Source>, spawn: &dyn Spawn) -> Self {
        let before = before.map(|before| &before.endpoints);
        let fixed = |targets: &[Target]| match before {
            Some(before) => Endpoints::fixed_after(targets.iter().cloned(), before),
            None => Endpoints::fixed(targets.iter().cloned()),
        };
        let (endpoints, search) = match &checked {
            None => (fixed(&[]), None),
            Some(source) => match source.fixed_targets() {
                Some(targets) => (fixed(targets), None),
                None => {
                    let updates = source.discovery().updates();
                    let (endpoints, driver) = match before {
                        Some(before) => Endpoints::new_after(updates, before),
                        None => Endpoints::new(updates),
                    };
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
    /// Makes a cluster of its spec. What the one of this name `before` had is taken over: its endpoints, those at the same
    /// addresses where they come from elsewhere now, with the state of their layers. The state of its own layers comes
    /// from `previous` and is noted in `next`.
    pub(super) fn make(
        spec: &ClusterSpec,
        planned: &PlannedCluster,
        before: Option<&Cluster>,
        previous: &AllStates,
        next: &mut AllStates,
        spawn: &dyn Spawn,
        process: &Arc<ProcessLimit>,
    ) -> Self {
        let name = Name::intern(&spec.name);
        let source = match before.map(|before| &before.source) {
            Some(source) if source.checked == planned.discovery => source.clone(),
            before => Arc::new(Source::begin(planned.discovery.clone(), before.map(|before| &**before), spawn)),
        };
        let endpoints = &source.endpoints;
        let relay_before = before.and_then(|before| before.relay.as_ref());
        let relay = planned
            .relay
            .as_ref()
            .map(|planned| RelayCluster::make(spec, planned, endpoints, relay_before, &previous.tcp, &mut next.tcp));
        if let (None, Some(gone)) = (&relay, relay_before) {
            next.tcp.add_to_report(gone.endpoint_layers(Fate::Removed));
        }
        let (previous, next) = (&previous.http, &mut next.http);
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let options = upstream_options(spec, name, process);
        let inherited = before.and_then(|before| before.endpoint_stages.as_ref());
        let endpoint_stages = (!planned.endpoint_pipeline.is_empty()).then(|| {
            let inherited = inherited.map(|stages| stages.hand_over()).unwrap_or_default();
            let (pipeline, site) = (planned.endpoint_pipeline.clone(), planned.endpoint_site.clone());
            let options = options.clone();
            let leaf = move |endpoint: &Arc<Endpoint>| Stage::new(Upstream::new(endpoint, options.clone()));
            Arc::new(EndpointStages::new(pipeline, site, leaf, inherited))
        });
        // made where the set is driven, before a worker sees the endpoint
        let observes = endpoint_stages.clone().map(|stages| endpoints.subscribe(move |set| stages.observe(set)));
        match (&endpoint_stages, inherited) {
            (Some(stages), _) => next.add_to_report(stages.report()),
            (None, Some(gone)) => next.add_to_report(gone.layers(Fate::Removed)),
            (None, None) => {}
        }
        let stage = {
            // one layer for all workers: the table of the endpoints is built once for each change
            let balance =
                BalanceLayer::new(endpoints.clone(), spec.load_balancer).panic_threshold(spec.panic_threshold);
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
        let usage = planned.usage;
        Self { name, stage, source, load_balancer, endpoint_stages, _observes: observes, usage, relay }
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

    /// Who comes to it: its layers are theirs.
    pub(super) fn usage(&self) -> Use {
        self.usage
    }

    /// What a report says of the layers of its endpoints where all have one fate.
    pub(super) fn endpoint_layers(&self, fate: Fate) -> Vec<LayerReport> {
        let mut layers = self.endpoint_stages.as_ref().map(|stages| stages.layers(fate)).unwrap_or_default();
        layers.extend(self.relay.iter().flat_map(|relay| relay.endpoint_layers(fate)));
        layers
    }

    /// The states of its endpoints' layers, to be dropped after all that uses them.
    pub(super) fn endpoint_states(&self) -> Vec<AllEndpointStates> {
        let http = self.endpoint_stages.iter().flat_map(|stages| stages.hand_over().into_values());
        let tcp = self.relay.iter().flat_map(RelayCluster::endpoint_states);
        http.map(|inherited| AllEndpointStates::Http(inherited.states)).chain(tcp.map(AllEndpointStates::Tcp)).collect()
    }

    /// Where requests enter it.
    pub(super) fn stage(&self) -> StageRef<Http> {
        self.stage.stage()
    }

    /// Where connections enter it, if there are listeners that relay to it.
    pub(super) fn relay(&self) -> Option<StageRef<Connection>> {
        self.relay.as_ref().map(RelayCluster::stage)
    }
}

/// The states of an endpoint's layers, of whatever protocol; held to be dropped.
pub(super) enum AllEndpointStates {
    Http(#[allow(dead_code)] Arc<States<Http>>),
    Tcp(#[allow(dead_code)] Arc<States<Connection>>),
}

fn upstream_options(spec: &ClusterSpec, cluster: Name, process: &Arc<ProcessLimit>) -> UpstreamOptions {
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
        connector: process.connector(),
    }
}

/// The service of one endpoint.
pub(super) enum EndpointCall<P: Protocol, S> {
    /// Its pipeline is empty.
    Direct(S),
    Stage(StageRef<P>),
}

impl<P: Protocol, S: Clone> Clone for EndpointCall<P, S> {
    fn clone(&self) -> Self {
        match self {
            Self::Direct(service) => Self::Direct(service.clone()),
            Self::Stage(stage) => Self::Stage(*stage),
        }
    }
}

impl<P, S> Service<P::Request> for EndpointCall<P, S>
where
    P: Protocol,
    S: Service<P::Request, Response = P::Response, Error = P::Error, Future: Unpin>,
{
    type Response = P::Response;
    type Error = P::Error;
    type Future = EndpointFuture<P, S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        // both are always ready
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: P::Request) -> Self::Future {
        match self {
            Self::Direct(upstream) => EndpointFuture::Direct(upstream.call(request)),
            Self::Stage(stage) => EndpointFuture::Stage(stage.call(request)),
        }
    }
}

pub(super) enum EndpointFuture<P: Protocol, F> {
    Direct(F),
    Stage(StageFuture<P>),
}

impl<P: Protocol, F> Future for EndpointFuture<P, F>
where
    F: Future<Output = Result<P::Response, P::Error>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Direct(inner) => Pin::new(inner).poll(cx),
            Self::Stage(inner) => Pin::new(inner).poll(cx),
        }
    }
}
