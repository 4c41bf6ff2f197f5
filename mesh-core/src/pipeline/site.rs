use crate::{Endpoint, Nanos, Protocol, Stage, time};
use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// Which pipeline a layer stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A listener's: before a route is chosen.
    Listener,
    /// A route's.
    Route,
    /// A cluster's: before an endpoint is chosen.
    Cluster,
    /// An endpoint's.
    Endpoint,
    /// A pipeline of a stack of one's own.
    Library,
}

impl Place {
    /// The name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Place::Listener => "listener",
            Place::Route => "route",
            Place::Cluster => "cluster",
            Place::Endpoint => "endpoint",
            Place::Library => "library",
        }
    }
}

/// Runs futures beside the requests.
pub trait Spawn: Send + Sync {
    /// Runs a future on the control thread until it ends.
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>);
}

type FindCluster<P> = dyn Fn(&str) -> Option<Stage<P>> + Send + Sync;

/// Where a layer is made: what its factory may ask of the surroundings.
pub struct Site<P: Protocol> {
    place: Place,
    path: Arc<str>,
    labels: Arc<[(&'static str, String)]>,
    cluster: Option<Arc<FindCluster<P>>>,
    spawn: Option<Arc<dyn Spawn>>,
    endpoint: Option<Arc<Endpoint>>,
}

impl<P: Protocol> Site<P> {
    /// A site with a path that stays the same over reloads: `listeners.web`, `clusters.orders`.
    pub fn new(place: Place, path: &str) -> Self {
        Self { place, path: path.into(), labels: Arc::new([]), cluster: None, spawn: None, endpoint: None }
    }

    /// A stack of one's own, without an engine around it.
    pub fn library() -> Self {
        Self::new(Place::Library, "pipeline")
    }

    /// With labels for the metrics of its layers.
    pub fn with_labels(self, labels: Vec<(&'static str, String)>) -> Self {
        Self { labels: labels.into(), ..self }
    }

    /// With one more label.
    pub fn with_label(self, name: &'static str, value: String) -> Self {
        let labels = self.labels.iter().cloned().chain([(name, value)]).collect();
        Self { labels, ..self }
    }

    /// With clusters that its layers may call.
    pub fn with_clusters(self, find: impl Fn(&str) -> Option<Stage<P>> + Send + Sync + 'static) -> Self {
        Self { cluster: Some(Arc::new(find)), ..self }
    }

    /// With a control thread that runs futures for its layers.
    pub fn with_spawn(self, spawn: Arc<dyn Spawn>) -> Self {
        Self { spawn: Some(spawn), ..self }
    }

    /// With the endpoint whose pipeline this is, and its address as a label.
    pub fn with_endpoint(self, endpoint: Arc<Endpoint>) -> Self {
        let labelled = self.with_label("endpoint", endpoint.address().to_string());
        Self { endpoint: Some(endpoint), ..labelled }
    }

    /// Which pipeline this is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The path of the stage: the key of its layers' state.
    pub fn path(&self) -> &str {
        &self.path
    }

    #[cfg(feature = "config")]
    pub(crate) fn shared_path(&self) -> Arc<str> {
        self.path.clone()
    }

    /// The labels of the stage, for metrics that are registered once: `listener`, `route`, `cluster`, `endpoint`.
    pub fn labels(&self) -> &[(&'static str, String)] {
        &self.labels
    }

    /// The endpoint whose pipeline this is: its health is to be written by what judges it. `None` elsewhere, and while
    /// settings are only looked at.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// The cluster of this name, to send a request to instead (a fallback). `None` where there is no such cluster.
    pub fn cluster(&self, name: &str) -> Option<Stage<P>> {
        self.cluster.as_ref()?(name)
    }

    /// Runs a future on the control thread, or on the present tokio runtime where there is no engine.
    ///
    /// # Panics
    /// Without an engine, outside a tokio runtime.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.spawn {
            Some(spawn) => spawn.spawn(Box::pin(future)),
            None => {
                tokio::spawn(future);
            }
        }
    }

    /// The present moment.
    pub fn now(&self) -> Nanos {
        time::now()
    }

    /// A counter with the labels of this site and those of the layer, to be registered once and kept.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, String)]) -> metrics::Counter {
        let labels: Vec<metrics::Label> = self.metric_labels(labels).collect();
        metrics::counter!(name, labels)
    }

    /// A gauge, likewise.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, String)]) -> metrics::Gauge {
        let labels: Vec<metrics::Label> = self.metric_labels(labels).collect();
        metrics::gauge!(name, labels)
    }

    fn metric_labels<'a>(&'a self, labels: &'a [(&'static str, String)]) -> impl Iterator<Item = metrics::Label> + 'a {
        self.labels.iter().chain(labels).map(|(name, value)| metrics::Label::new(*name, value.clone()))
    }
}

impl<P: Protocol> Clone for Site<P> {
    fn clone(&self) -> Self {
        Self {
            place: self.place,
            path: self.path.clone(),
            labels: self.labels.clone(),
            cluster: self.cluster.clone(),
            spawn: self.spawn.clone(),
            endpoint: self.endpoint.clone(),
        }
    }
}

impl<P: Protocol> fmt::Debug for Site<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("place", &self.place).field("path", &self.path).finish_non_exhaustive()
    }
}
