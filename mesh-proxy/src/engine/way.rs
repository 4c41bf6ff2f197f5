//! A cluster's part of the way of a request, whatever its protocol: its layers, its balancer, the layers of its
//! endpoints.

use super::{cluster::Cluster, endpoint_stages::EndpointStages};
use crate::{plan::PlannedWay, spec::ClusterSpec};
use mesh_core::{
    Endpoint, Endpoints, Protocol, RequestView as _, Subscription,
    pipeline::{Fate, LayerReport, Stage, StageFuture, StageHandle, StageRef, State, States},
};
use mesh_lb::BalanceLayer;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer as _;
use tower_service::Service;

#[derive(Debug)]
pub(super) struct Way<P: Protocol> {
    stage: StageHandle<P>,
    endpoint_stages: Option<Arc<EndpointStages<P>>>,
    _observes: Option<Subscription>,
}

impl<P: Protocol> Way<P> {
    /// Makes it over `call`, which makes the service of one endpoint. The state of the endpoints' layers comes from the
    /// way `before`, that of its own layers from `previous`; both are noted in `next`.
    pub(super) fn make<S>(
        spec: &ClusterSpec,
        planned: &PlannedWay<P>,
        endpoints: &Endpoints,
        before: Option<&Self>,
        previous: &States<P>,
        next: &mut States<P>,
        call: impl Fn(&Arc<Endpoint>) -> S + Clone + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<P::Request, Response = P::Response, Error = P::Error, Future: Unpin + Send> + Clone + Send + 'static,
    {
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let before = before.and_then(|before| before.endpoint_stages.as_ref());
        let endpoint_stages = (!planned.endpoint_pipeline.is_empty()).then(|| {
            let inherited = before.map(|stages| stages.hand_over()).unwrap_or_default();
            let (pipeline, site) = (planned.endpoint_pipeline.clone(), planned.endpoint_site.clone());
            let call = call.clone();
            let leaf = move |endpoint: &Arc<Endpoint>| Stage::new(call(endpoint));
            Arc::new(EndpointStages::new(pipeline, site, leaf, inherited))
        });
        // made where the set is driven, before a worker sees the endpoint
        let observes = endpoint_stages.clone().map(|stages| endpoints.subscribe(move |set| stages.observe(set)));
        match (&endpoint_stages, before) {
            (Some(stages), _) => next.add_to_report(stages.report()),
            (None, Some(gone)) => next.add_to_report(gone.layers(Fate::Removed)),
            (None, None) => {}
        }
        // one layer for all workers: the table of the endpoints is built once for each change
        let balance = BalanceLayer::new(endpoints.clone(), spec.load_balancer).panic_threshold(spec.panic_threshold);
        let stages = endpoint_stages.clone();
        let stage = StageHandle::new(move || {
            let (stages, call) = (stages.clone(), call.clone());
            let make = move |endpoint: &Arc<Endpoint>| match &stages {
                None => EndpointCall::Direct(call(endpoint)),
                Some(stages) => EndpointCall::Stage(stages.stage(endpoint)),
            };
            pipeline.apply(Stage::new(balance.layer(make)))
        });
        Self { stage, endpoint_stages, _observes: observes }
    }

    /// Where it begins.
    pub(super) fn stage(&self) -> StageRef<P> {
        self.stage.stage()
    }

    /// What a report says of the layers of its endpoints where all have one fate.
    pub(super) fn endpoint_layers(&self, fate: Fate) -> Vec<LayerReport> {
        self.endpoint_stages.as_ref().map(|stages| stages.layers(fate)).unwrap_or_default()
    }

    /// The states of its endpoints' layers, to be dropped after all that uses them.
    pub(super) fn endpoint_states(&self) -> impl Iterator<Item = Arc<State>> {
        let stages = self.endpoint_stages.iter().flat_map(|stages| stages.hand_over().into_values());
        stages.map(|inherited| inherited.states as Arc<State>)
    }
}

/// Where requests of one protocol enter a cluster.
#[derive(Debug)]
pub(super) struct Entrance<P: Protocol> {
    stage: StageRef<P>,
    /// What the stage is of lives as long.
    cluster: Arc<Cluster>,
}

impl<P: Protocol> Entrance<P> {
    pub(super) fn new(stage: StageRef<P>, cluster: Arc<Cluster>) -> Self {
        Self { stage, cluster }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Notes in the request's record that it goes there. Where it is to be called.
    pub(super) fn prepare(&self, request: &P::Request) -> StageRef<P> {
        request.context().set_cluster(self.cluster.name());
        self.stage
    }
}

impl<P: Protocol> Clone for Entrance<P> {
    fn clone(&self) -> Self {
        Self { stage: self.stage, cluster: self.cluster.clone() }
    }
}

impl<P: Protocol> Service<P::Request> for Entrance<P> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = StageFuture<P>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: P::Request) -> StageFuture<P> {
        self.prepare(&request).call(request)
    }
}

/// The service of one endpoint.
enum EndpointCall<P: Protocol, S> {
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

enum EndpointFuture<P: Protocol, F> {
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
