use crate::{At, Gate, Name, Open, Reach, Record, Refusal, Rejection, ResultsOnly, Watch, Whole, run::GateControl};
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

/// Any gate as a tower layer. Its state is shared by every clone and every service it makes.
///
/// By default it follows a call to the end of the body; that needs `http::governed` around it, or another protocol
/// of this kind. [`GateLayer::results_only`] and [`GateLayer::judge`] take any service.
pub struct GateLayer<G, M = Whole> {
    gate: Arc<G>,
    control: Arc<GateControl>,
    reach: M,
}

impl<G> GateLayer<G> {
    /// A layer over this gate, without a name.
    pub fn new(gate: G) -> Self {
        Self::shared(Arc::new(gate))
    }

    /// A layer over a gate that others use too.
    pub fn shared(gate: Arc<G>) -> Self {
        Self { gate, control: GateControl::new(Name::NONE, false), reach: Whole }
    }
}

impl<G, M> GateLayer<G, M> {
    /// Names the layer: in refusals, metrics and logs.
    pub fn named(self, name: &str) -> Self {
        let control = GateControl::new(Name::intern(name), self.control.is_shadow());
        Self { control, ..self }
    }

    /// Refusals are counted and marked with `x-mesh-shadow` on the answer, and the request goes on. Also at run
    /// time: every clone sees it.
    pub fn set_shadow(&self, shadow: bool) {
        self.control.set_shadow(shadow);
    }

    /// Follows a call to its result only: `Ok` is a success, whatever the response says.
    pub fn results_only(self) -> GateLayer<G, ResultsOnly> {
        GateLayer { gate: self.gate, control: self.control, reach: ResultsOnly }
    }

    /// Follows a call to its result, and asks `judge` what a response counts as.
    pub fn judge<F>(self, judge: F) -> GateLayer<G, F> {
        GateLayer { gate: self.gate, control: self.control, reach: judge }
    }

    /// How far it follows a call.
    pub fn reach(&self) -> &M {
        &self.reach
    }

    /// The gate: to read and retune it while it runs.
    pub fn gate(&self) -> &Arc<G> {
        &self.gate
    }
}

impl<G, M: Clone> Clone for GateLayer<G, M> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone(), control: self.control.clone(), reach: self.reach.clone() }
    }
}

impl<G: fmt::Debug, M> fmt::Debug for GateLayer<G, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateLayer")
            .field("gate", &self.gate)
            .field("name", &self.control.name())
            .finish_non_exhaustive()
    }
}

impl<S, G, M: Clone> Layer<S> for GateLayer<G, M> {
    type Service = Gated<S, G, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { inner, gate: self.gate.clone(), control: self.control.clone(), reach: self.reach.clone() }
    }
}

/// A service behind a gate; see [`GateLayer`].
pub struct Gated<S, G, M = Whole> {
    inner: S,
    gate: Arc<G>,
    control: Arc<GateControl>,
    reach: M,
}

impl<S: Clone, G, M: Clone> Clone for Gated<S, G, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            gate: self.gate.clone(),
            control: self.control.clone(),
            reach: self.reach.clone(),
        }
    }
}

impl<S: fmt::Debug, G: fmt::Debug, M> fmt::Debug for Gated<S, G, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated").field("inner", &self.inner).field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl<R, S, G, M> Service<R> for Gated<S, G, M>
where
    S: Service<R>,
    S::Error: Refusal,
    G: Gate<R>,
    M: Reach<R, S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GatedFuture<S::Future, R, G, M, M::Record>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    // a stack of layers is one function to the compiler: what passes between them stays in registers
    #[inline(always)]
    fn call(&mut self, mut request: R) -> Self::Future {
        let open = match self.gate.admit(&mut request, &At::unread()) {
            Ok(None) => Open::none(),
            Ok(Some(ticket)) => Open::new(self.gate.clone(), ticket, self.reach.record(&request)),
            Err(rejection) => match self.control.refuse(rejection) {
                Ok(()) => Open::shadow(self.control.name()),
                Err(rejection) => return GatedFuture { state: State::Refused { rejection: Some(rejection) } },
            },
        };
        let reach = self.reach.clone();
        GatedFuture { state: State::Called { inner: self.inner.call(request), open, reach, request: PhantomData } }
    }
}

pin_project! {
    /// The response future of [`Gated`]. Dropping it ends the ticket.
    pub struct GatedFuture<F, R, G: Watch, M, C: Record> {
        #[pin]
        state: State<F, R, G, M, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R, G: Watch, M, C: Record> {
        // dropped in this order: ends are told inside out
        Called { #[pin] inner: F, open: Open<G, C>, reach: M, request: PhantomData<fn(R)> },
        Refused { rejection: Option<Rejection> },
    }
}

impl<F, R, Res, E, G, M> Future for GatedFuture<F, R, G, M, M::Record>
where
    F: Future<Output = Result<Res, E>>,
    E: Refusal,
    G: Watch,
    M: Reach<R, Res>,
{
    type Output = Result<Res, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { inner, open, reach, .. } => open.poll::<R, _, _, _, _>(inner, reach, cx),
            StateProj::Refused { rejection } => {
                Poll::Ready(Err(rejection.take().expect("not polled after completion").into()))
            }
        }
    }
}
