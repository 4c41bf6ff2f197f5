//! Listeners that relay bytes: the way of a connection through the layers of its listener and its cluster to an
//! endpoint.

use super::{
    cluster::{Cluster, EndpointCall},
    config::ListenerConfig,
    endpoint_stages::EndpointStages,
};
use crate::{
    plan::{PlannedRelay, PlannedRelayCluster},
    spec::{ClusterSpec, RelaySpec},
};
use mesh_core::{
    Endpoint, Endpoints, Name, Peer, RequestView as _, Subscription,
    pipeline::{Fate, LayerReport, Stage, StageFuture, StageHandle, StageRef, States},
};
use mesh_lb::BalanceLayer;
use mesh_net::{Connection, ConnectionError, ConnectionRequest, Connector, Dial, RelayOptions, Stream, relay};
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer as _;
use tower_service::Service;

/// A cluster's part of the way: its layers, its balancer, the layers of its endpoints.
#[derive(Debug)]
pub(super) struct RelayCluster {
    stage: StageHandle<Connection>,
    endpoint_stages: Option<Arc<EndpointStages<Connection>>>,
    _observes: Option<Subscription>,
}

impl RelayCluster {
    pub(super) fn make(
        spec: &ClusterSpec,
        planned: &PlannedRelayCluster,
        endpoints: &Endpoints,
        before: Option<&RelayCluster>,
        previous: &States<Connection>,
        next: &mut States<Connection>,
    ) -> Self {
        let timeout = spec.connect.timeout;
        let dial = move |endpoint: &Endpoint| Dial::new(endpoint, Connector::default(), timeout);
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let before = before.and_then(|before| before.endpoint_stages.as_ref());
        let endpoint_stages = (!planned.endpoint_pipeline.is_empty()).then(|| {
            let inherited = before.map(|stages| stages.hand_over());
            let (pipeline, site) = (planned.endpoint_pipeline.clone(), planned.endpoint_site.clone());
            let leaf = move |endpoint: &Arc<Endpoint>| Stage::new(dial(endpoint));
            Arc::new(EndpointStages::new(pipeline, site, leaf, inherited.unwrap_or_default()))
        });
        let observes = endpoint_stages.clone().map(|stages| endpoints.subscribe(move |set| stages.observe(set)));
        match (&endpoint_stages, before) {
            (Some(stages), _) => next.add_to_report(stages.report()),
            (None, Some(gone)) => next.add_to_report(gone.layers(Fate::Removed)),
            (None, None) => {}
        }
        let balance = BalanceLayer::new(endpoints.clone(), spec.load_balancer);
        let stages = endpoint_stages.clone();
        let stage = StageHandle::new(move || {
            let stages = stages.clone();
            let make = move |endpoint: &Arc<Endpoint>| match &stages {
                None => EndpointCall::Direct(dial(endpoint)),
                Some(stages) => EndpointCall::Stage(stages.stage(endpoint)),
            };
            pipeline.apply(Stage::new(balance.layer(make)))
        });
        Self { stage, endpoint_stages, _observes: observes }
    }
}

/// A listener's part of the way.
#[derive(Debug)]
pub(super) struct RelayListener {
    stage: StageHandle<Connection>,
    options: RelayOptions,
    cluster: Name,
}

impl RelayListener {
    pub(super) fn make(
        spec: &RelaySpec,
        planned: &PlannedRelay,
        cluster: Arc<Cluster>,
        previous: &States<Connection>,
        next: &mut States<Connection>,
    ) -> Option<Self> {
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let options = RelayOptions::default().idle(spec.timeouts.idle);
        let name = cluster.name();
        // a plan has it for each cluster that is relayed to
        let leaf = ToCluster { stage: cluster.relay()?, cluster };
        Some(Self { stage: StageHandle::new(move || pipeline.apply(Stage::new(leaf.clone()))), options, cluster: name })
    }
}

/// What stands below a listener's layers.
#[derive(Clone, Debug)]
struct ToCluster {
    stage: StageRef<Connection>,
    /// What the stage is of lives as long.
    cluster: Arc<Cluster>,
}

impl Service<ConnectionRequest> for ToCluster {
    type Response = mesh_net::Connected;
    type Error = ConnectionError;
    type Future = StageFuture<Connection>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ConnectionRequest) -> StageFuture<Connection> {
        request.context().set_cluster(self.cluster.name());
        self.stage.call(request)
    }
}

impl RelayCluster {
    /// Where connections enter it.
    pub(super) fn stage(&self) -> StageRef<Connection> {
        self.stage.stage()
    }

    pub(super) fn endpoint_layers(&self, fate: Fate) -> Vec<LayerReport> {
        self.endpoint_stages.as_ref().map(|stages| stages.layers(fate)).unwrap_or_default()
    }

    pub(super) fn endpoint_states(&self) -> Vec<Arc<States<Connection>>> {
        let stages = self.endpoint_stages.as_ref();
        stages.map(|stages| stages.hand_over()).unwrap_or_default().into_values().map(|of| of.states).collect()
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, peer: Arc<Peer>, listener: Name, config: Arc<ListenerConfig>) {
    let Some(way) = config.relay() else { return };
    let (options, cluster) = (way.options, way.cluster);
    let connecting = way.stage.stage().call(ConnectionRequest::new(peer.clone(), listener));
    let connected = match connecting.await {
        Ok(connected) => connected,
        Err(error) => {
            return tracing::debug!(listener = listener.as_str(), ?peer, %error, "a connection is not relayed");
        }
    };
    // what began it may go: a long connection does not hold an old configuration
    drop(config);
    let _active = Active::new(cluster);
    let relayed = relay(stream, connected, options).await;
    tracing::debug!(
        listener = listener.as_str(),
        ?peer,
        sent = relayed.sent,
        received = relayed.received,
        end = %relayed.end,
        "a relayed connection has ended"
    );
}

/// A connection to an endpoint, in the metrics.
struct Active(metrics::Gauge);

impl Active {
    fn new(cluster: Name) -> Self {
        let gauge = metrics::gauge!("mesh_upstream_connections", "cluster" => cluster.as_str(), "state" => "active");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
