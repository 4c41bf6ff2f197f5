use crate::{
    BoxError, Gate, Name, PausingGate, Protocol, Refusal, Rejection, Stage,
    pipeline::SyncStage,
    run::{GateControl, Placed},
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a service over a stage: the erased form of a tower layer.
pub trait ApplyLayer<P: Protocol>: Send + Sync {
    /// On the worker that will call it: a layer may spawn when it is applied.
    fn apply(&self, name: Name, below: Stage<P>) -> Stage<P>;
}

/// What a factory made of a layer's settings, once for all workers.
pub enum Made<P: Protocol> {
    /// A gate.
    Gate(Arc<dyn Gate<P::Request>>),
    /// A gate that has some requests wait.
    PausingGate(Arc<dyn PausingGate<P::Request>>),
    /// A service layer.
    Layer(Arc<dyn ApplyLayer<P>>),
    /// The settings ask for nothing: the layer is off and costs nothing.
    Nothing,
}

impl<P: Protocol> Clone for Made<P> {
    fn clone(&self) -> Self {
        match self {
            Made::Gate(gate) => Made::Gate(gate.clone()),
            Made::PausingGate(gate) => Made::PausingGate(gate.clone()),
            Made::Layer(layer) => Made::Layer(layer.clone()),
            Made::Nothing => Made::Nothing,
        }
    }
}

/// A tower layer that gives the protocol's own error.
pub fn layer<P, L>(layer: L) -> Arc<dyn ApplyLayer<P>>
where
    P: Protocol,
    L: Layer<Stage<P>> + Send + Sync + 'static,
    L::Service: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
    <L::Service as Service<P::Request>>::Future: Send + 'static,
{
    struct Own<L>(L);
    impl<P, L> ApplyLayer<P> for Own<L>
    where
        P: Protocol,
        L: Layer<Stage<P>> + Send + Sync + 'static,
        L::Service: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
        <L::Service as Service<P::Request>>::Future: Send + 'static,
    {
        fn apply(&self, _: Name, below: Stage<P>) -> Stage<P> {
            Stage::new(self.0.layer(below))
        }
    }
    Arc::new(Own(layer))
}

/// Any tower layer whose service takes and gives the protocol's types. Where its error hides the protocol's own, that
/// comes out again; any other becomes a refusal of kind [`Foreign`](crate::Kind::Foreign).
pub fn foreign<P, L>(layer: L) -> Arc<dyn ApplyLayer<P>>
where
    P: Protocol,
    L: Layer<Stage<P>> + Send + Sync + 'static,
    L::Service: Service<P::Request, Response = P::Response> + Clone + Send + 'static,
    <L::Service as Service<P::Request>>::Error: Into<BoxError>,
    <L::Service as Service<P::Request>>::Future: Send + 'static,
{
    struct Foreign<L>(L);
    impl<P, L> ApplyLayer<P> for Foreign<L>
    where
        P: Protocol,
        L: Layer<Stage<P>> + Send + Sync + 'static,
        L::Service: Service<P::Request, Response = P::Response> + Clone + Send + 'static,
        <L::Service as Service<P::Request>>::Error: Into<BoxError>,
        <L::Service as Service<P::Request>>::Future: Send + 'static,
    {
        fn apply(&self, name: Name, below: Stage<P>) -> Stage<P> {
            Stage::new(Adapted { inner: self.0.layer(below), name, error: PhantomData })
        }
    }
    Arc::new(Foreign(layer))
}

/// A service from outside with the protocol's error.
struct Adapted<S, E> {
    inner: S,
    name: Name,
    error: PhantomData<fn() -> E>,
}

impl<S: Clone, E> Clone for Adapted<S, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), name: self.name, error: PhantomData }
    }
}

fn adapt<E: Refusal + std::error::Error + Send + Sync + 'static>(name: Name, error: BoxError) -> E {
    match error.downcast::<E>() {
        Ok(own) => *own,
        Err(error) => match error.downcast::<Rejection>() {
            Ok(rejection) => (*rejection).into(),
            Err(error) => Rejection::foreign(name, error).into(),
        },
    }
}

impl<S, R, E> Service<R> for Adapted<S, E>
where
    S: Service<R>,
    S::Error: Into<BoxError>,
    E: Refusal + std::error::Error + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = E;
    type Future = AdaptedFuture<S::Future, E>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(cx).map_err(|error| adapt(self.name, error.into()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        AdaptedFuture { inner: self.inner.call(request), name: self.name, error: PhantomData }
    }
}

pin_project! {
    struct AdaptedFuture<F, E> {
        #[pin]
        inner: F,
        name: Name,
        error: PhantomData<fn() -> E>,
    }
}

impl<F, T, E0, E> Future for AdaptedFuture<F, E>
where
    F: Future<Output = Result<T, E0>>,
    E0: Into<BoxError>,
    E: Refusal + std::error::Error + Send + Sync + 'static,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let me = self.project();
        me.inner.poll(cx).map_err(|error| adapt(*me.name, error.into()))
    }
}

/// A layer in its place in a pipeline.
pub(crate) struct Item<P: Protocol> {
    pub(crate) control: Arc<GateControl>,
    pub(crate) made: Made<P>,
}

impl<P: Protocol> Item<P> {
    pub(crate) fn new(name: Name, shadow: bool, made: Made<P>) -> Self {
        Self { control: GateControl::new(name, shadow), made }
    }
}

/// An ordered list of layers, outermost first, ready to be applied by every worker. Clones share the layers.
///
/// It is a tower layer too: a static stack with several gates passes them in one run this way.
///
/// ```
/// # use mesh_core::{Pipeline, Protocol};
/// fn gates<P: Protocol>(
///     limit: impl mesh_core::Gate<P::Request>,
///     metrics: impl mesh_core::Gate<P::Request>,
/// ) -> Pipeline<P> {
///     Pipeline::builder().gate("metrics", metrics).gate("rate_limit", limit).build()
/// }
/// ```
pub struct Pipeline<P: Protocol> {
    pub(super) items: Arc<[Item<P>]>,
}

impl<P: Protocol> Clone for Pipeline<P> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<P: Protocol> Default for Pipeline<P> {
    fn default() -> Self {
        Self::from_items(Vec::new())
    }
}

impl<P: Protocol> fmt::Debug for Pipeline<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter().map(|item| item.control.name())).finish()
    }
}

impl<P: Protocol> Pipeline<P> {
    /// A pipeline put together in code.
    pub fn builder() -> PipelineBuilder<P> {
        PipelineBuilder { items: Vec::new() }
    }

    pub(crate) fn from_items(items: Vec<Item<P>>) -> Self {
        Self { items: items.into() }
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The runs it consists of, outermost first: consecutive gates in one list, each service layer in one of its own.
    pub fn runs(&self) -> Vec<Vec<Name>> {
        let mut runs: Vec<Vec<Name>> = Vec::new();
        let mut in_run = false;
        for item in self.items.iter() {
            let name = item.control.name();
            let gate = match item.made {
                Made::Gate(_) | Made::PausingGate(_) => true,
                Made::Layer(_) => false,
                Made::Nothing => continue,
            };
            match runs.last_mut() {
                Some(run) if in_run && gate => run.push(name),
                _ => runs.push(vec![name]),
            }
            in_run = gate;
        }
        runs
    }

    /// On a worker: the whole pipeline over the stage below.
    pub fn apply(&self, leaf: Stage<P>) -> Stage<P> {
        let (mut stage, mut inside_out) = (leaf, Vec::new());
        let over = |stage: Stage<P>, inside_out: &mut Vec<Placed<P::Request>>| {
            stage.with_run(std::mem::take(inside_out).into_iter().rev().collect())
        };
        for item in self.items.iter().rev() {
            match &item.made {
                Made::Nothing => {}
                Made::Gate(gate) => inside_out.push(Placed::new(gate.clone(), item.control.clone())),
                Made::PausingGate(gate) => inside_out.push(Placed::pausing(gate.clone(), item.control.clone())),
                Made::Layer(layer) => stage = layer.apply(item.control.name(), over(stage, &mut inside_out)),
            }
        }
        over(stage, &mut inside_out)
    }
}

impl<P: Protocol, S> Layer<S> for Pipeline<P>
where
    S: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Service = SyncStage<P>;

    fn layer(&self, inner: S) -> SyncStage<P> {
        self.apply(Stage::new(inner)).into_sync()
    }
}

/// Puts a [`Pipeline`] together, outermost layer first.
pub struct PipelineBuilder<P: Protocol> {
    items: Vec<Item<P>>,
}

impl<P: Protocol> PipelineBuilder<P> {
    /// A gate.
    pub fn gate(self, name: &str, gate: impl Gate<P::Request>) -> Self {
        self.made(name, Made::Gate(Arc::new(gate)))
    }

    /// A service layer that gives the protocol's own error.
    pub fn layer<L>(self, name: &str, own: L) -> Self
    where
        L: Layer<Stage<P>> + Send + Sync + 'static,
        L::Service: Service<P::Request, Response = P::Response, Error = P::Error> + Clone + Send + 'static,
        <L::Service as Service<P::Request>>::Future: Send + 'static,
    {
        self.made(name, Made::Layer(layer(own)))
    }

    /// Anything a factory made.
    pub fn made(mut self, name: &str, made: Made<P>) -> Self {
        self.items.push(Item::new(Name::intern(name), false, made));
        self
    }

    /// The pipeline.
    pub fn build(self) -> Pipeline<P> {
        Pipeline::from_items(self.items)
    }
}

impl<P: Protocol> fmt::Debug for PipelineBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter().map(|item| item.control.name())).finish()
    }
}
