//! The pipelines of a cluster's endpoints.

use mesh_core::{
    Endpoint, EndpointId, EndpointSet, Nanos, Protocol,
    pipeline::{CheckedPipeline, Fate, LayerReport, Site, Stage, StageHandle, StageRef, States},
    time,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long the pipeline of an endpoint is kept after the endpoint left its set.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The pipelines of a cluster's endpoints. Their state belongs to cluster and endpoint: made when the endpoint enters,
/// kept for a while after it left, and taken over by the cluster of this name in the next configuration.
pub(super) struct EndpointStages<P: Protocol> {
    pipeline: CheckedPipeline<P>,
    site: Site<P>,
    /// What stands below.
    leaf: Arc<Leaf<P>>,
    members: Mutex<Members<P>>,
}

type Leaf<P> = dyn Fn(&Arc<Endpoint>) -> Stage<P> + Send + Sync;

struct Members<P: Protocol> {
    made: HashMap<EndpointId, Made<P>>,
    /// From the configuration before, of endpoints that have not come yet.
    inherited: HashMap<EndpointId, Inherited<P>>,
    /// What became of the layers, each once.
    report: Vec<LayerReport>,
}

struct Made<P: Protocol> {
    stage: StageHandle<P>,
    states: Arc<States<P>>,
    left: Option<Nanos>,
}

/// The states of an endpoint's layers.
pub(super) struct Inherited<P: Protocol> {
    pub(super) states: Arc<States<P>>,
    left: Option<Nanos>,
}

impl<P: Protocol> Clone for Inherited<P> {
    fn clone(&self) -> Self {
        Self { states: self.states.clone(), left: self.left }
    }
}

impl<P: Protocol> EndpointStages<P> {
    pub(super) fn new(
        pipeline: CheckedPipeline<P>,
        site: Site<P>,
        leaf: impl Fn(&Arc<Endpoint>) -> Stage<P> + Send + Sync + 'static,
        inherited: HashMap<EndpointId, Inherited<P>>,
    ) -> Self {
        let members = Members { made: HashMap::new(), inherited, report: Vec::new() };
        Self { pipeline, site, leaf: Arc::new(leaf), members: Mutex::new(members) }
    }

    /// Makes the pipelines of endpoints that are new, and forgets those that left long ago.
    pub(super) fn observe(&self, set: &EndpointSet) {
        let now = time::now();
        let mut members = self.members();
        let Members { made, inherited, .. } = &mut *members;
        let left = made.values_mut().map(|made| &mut made.left);
        left.chain(inherited.values_mut().map(|inherited| &mut inherited.left))
            .for_each(|left| _ = left.get_or_insert(now));
        for endpoint in set.endpoints() {
            self.enter(&mut members, endpoint).left = None;
        }
        let is_remembered = |left: &Option<Nanos>| left.is_none_or(|left| now.since(left) < REMEMBERED);
        members.made.retain(|_, made| is_remembered(&made.left));
        members.inherited.retain(|_, inherited| is_remembered(&inherited.left));
    }

    /// Where requests to an endpoint enter.
    pub(super) fn stage(&self, endpoint: &Arc<Endpoint>) -> StageRef<P> {
        self.enter(&mut self.members(), endpoint).stage.stage()
    }

    fn enter<'a>(&self, members: &'a mut Members<P>, endpoint: &Arc<Endpoint>) -> &'a mut Made<P> {
        let Members { made, inherited, report } = members;
        made.entry(endpoint.id()).or_insert_with(|| {
            let site = self.site.clone().with_endpoint(endpoint.clone());
            let (nothing, mut states) = (States::new(), States::new());
            let inherited = inherited.remove(&endpoint.id());
            let previous = inherited.as_ref().map_or(&nothing, |inherited| &*inherited.states);
            let pipeline = self.pipeline.make(&site, previous, &mut states);
            states.report_removed(previous);
            for layer in &states.report().0 {
                if !report.contains(layer) {
                    report.push(layer.clone());
                }
            }
            let (leaf, endpoint) = (self.leaf.clone(), endpoint.clone());
            let stage = StageHandle::new(move || pipeline.apply(leaf(&endpoint)));
            Made { stage, states: Arc::new(states), left: None }
        })
    }

    /// What the cluster of this name in the next configuration goes on with.
    pub(super) fn hand_over(&self) -> HashMap<EndpointId, Inherited<P>> {
        let members = self.members();
        let made = members.made.iter();
        let made = made.map(|(id, made)| (*id, Inherited { states: made.states.clone(), left: made.left }));
        made.chain(members.inherited.iter().map(|(id, inherited)| (*id, inherited.clone()))).collect()
    }

    /// What became of the layers so far, each kind once: an endpoint that is new has new ones.
    pub(super) fn report(&self) -> Vec<LayerReport> {
        self.members().report.clone()
    }

    /// What a report says of the layers where all have one fate.
    pub(super) fn layers(&self, fate: Fate) -> Vec<LayerReport> {
        self.pipeline.report(&self.site, fate).collect()
    }

    fn members(&self) -> MutexGuard<'_, Members<P>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Protocol> std::fmt::Debug for EndpointStages<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointStages").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}
