use crate::{
    At, Context, End, Gate, Governed, Hears, Name, Outcome, Refusal, Rejection, RequestView, Side, Ticket, Verdict,
    Watch,
    guards::{Seen, ends_if_it_panics, guarded, mark_shadows},
    run::GateControl,
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// How far a layer follows a call: [`Whole`], [`ResultsOnly`], or a function that judges a response.
#[diagnostic::on_unimplemented(
    message = "a call with request `{R}` and response `{Res}` cannot be followed to the end of its body",
    note = "HTTP: wrap the layers in `mesh_core::http::governed(..)`",
    note = "any other response: say `.results_only()` or `.judge(|response: &Response| ..)` on the layer"
)]
pub trait Reach<R, Res>: Clone {
    /// The record of a request; [`Context::none`] where it carries none.
    fn context<'a>(&self, request: &'a R) -> &'a Context;
    /// A response whose body can be watched; `None` for any other.
    fn governed<'a>(&self, response: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a;
    /// Tells a response: the head to those who hear it. A ticket that stays open is left with the response.
    fn respond<W: Watch>(&self, open: &mut Open<W>, response: &mut Res);
}

/// To the end of the body: needs a request with a context and a response that is [`Governed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole;

/// `Ok` is a success, the head is not looked at: any request, any response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultsOnly;

static NO_CONTEXT: Context = Context::none();

impl<R: RequestView, Res: Governed> Reach<R, Res> for Whole {
    fn context<'a>(&self, request: &'a R) -> &'a Context {
        request.context()
    }

    fn governed<'a>(&self, response: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        Some(response)
    }

    #[inline]
    fn respond<W: Watch>(&self, open: &mut Open<W>, response: &mut Res) {
        open.respond(response);
    }
}

impl<R, Res> Reach<R, Res> for ResultsOnly {
    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn governed<'a>(&self, _: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        None
    }

    #[inline]
    fn respond<W: Watch>(&self, open: &mut Open<W>, _: &mut Res) {
        open.end(Verdict::without_answer(Outcome::Success, Side::Upstream));
    }
}

impl<R, Res, F: Fn(&Res) -> Outcome + Clone> Reach<R, Res> for F {
    fn context<'a>(&self, _: &'a R) -> &'a Context {
        &NO_CONTEXT
    }

    fn governed<'a>(&self, _: &'a mut Res) -> Option<&'a mut dyn Governed>
    where
        Res: 'a,
    {
        None
    }

    #[inline]
    fn respond<W: Watch>(&self, open: &mut Open<W>, response: &mut Res) {
        open.end(Verdict::without_answer(self(response), Side::Upstream));
    }
}

/// An open ticket of a watcher that is known by type. It ends exactly once: told, left with a response, or dropped.
///
/// Layers made by [`GateLayer`] need none of this. It is for services that give out tickets of their own: a balancer
/// opens one per pick.
pub struct Open<W: Watch> {
    /// `None` once it has ended or been left with the response.
    watch: Option<Arc<W>>,
    ticket: Ticket,
    context: Context,
}

impl<W: Watch> Open<W> {
    /// Opens a ticket for the request that `context` belongs to.
    pub fn new(watch: Arc<W>, ticket: Ticket, context: Context) -> Self {
        Self { watch: Some(watch), ticket, context }
    }

    /// Who will hear of it.
    pub fn watch(&self) -> Option<&Arc<W>> {
        self.watch.as_ref()
    }

    /// At a response whose body can be watched: tells the head to those who hear it, and leaves the ticket with the
    /// response if it is to hear the end of the body. Of a ticket that is not open any more nothing is told.
    #[inline]
    pub fn respond<Res: Governed>(&mut self, response: &mut Res) {
        let Some(watch) = self.watch.take() else { return };
        let hears = watch.hears();
        if hears != Hears::End {
            guarded(|| Name::NONE, || watch.on_response(&mut self.ticket, response.head()));
        }
        if hears == Hears::Response {
            return self.tell(&watch, Seen::of(response.head()).verdict(Outcome::Success));
        }
        if !response.guards().has_seen() {
            let seen = Seen::of(response.head());
            response.guards().see(seen);
        }
        response.guards().open(watch, self.ticket, &self.context);
    }

    /// Ends it.
    #[inline]
    pub fn end(&mut self, verdict: Verdict) {
        if let Some(watch) = self.watch.take() {
            self.tell(&watch, verdict);
        }
    }

    /// Ends it with an error. A refusal is a head first.
    pub fn end_error<E: Refusal>(&mut self, error: &mut E) {
        let Some(watch) = self.watch.take() else { return };
        if let Some(rejection) = error.rejection_mut()
            && watch.hears() != Hears::End
        {
            guarded(|| Name::NONE, || watch.on_response(&mut self.ticket, rejection));
        }
        let at = At::unread();
        // a refusal may also be there behind sources that cannot be written to
        let end = match error.rejection() {
            Some(rejection) => End::refused(rejection, &at, &self.context),
            None => End::new(error.verdict(), &at, &self.context),
        };
        guarded(|| Name::NONE, || watch.on_end(self.ticket, &end));
    }

    #[inline]
    fn tell(&self, watch: &W, verdict: Verdict) {
        let at = At::unread();
        let end = End::new(verdict, &at, &self.context);
        guarded(|| Name::NONE, || watch.on_end(self.ticket, &end));
    }

    /// Dropped without a word.
    #[cold]
    fn abandon(&self, watch: &W) {
        self.tell(watch, Verdict::of_drop());
    }
}

impl<W: Watch> Drop for Open<W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.abandon(&watch);
        }
    }
}

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
    type Future = GatedFuture<S::Future, R, G, M>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let (ticket, shadowed) = match self.gate.admit(&mut request, &At::unread()) {
            Ok(ticket) => (ticket, None),
            Err(rejection) => match self.control.refuse(rejection) {
                Ok(()) => (None, Some(self.control.name())),
                Err(rejection) => return GatedFuture::refused(rejection),
            },
        };
        let follow = match ticket {
            Some(ticket) => {
                let open = Open::new(self.gate.clone(), ticket, self.reach.context(&request).clone());
                Some(Follow { open: Some(open), shadowed, reach: self.reach.clone() })
            }
            None if shadowed.is_none() => None,
            None => Some(Follow { open: None, shadowed, reach: self.reach.clone() }),
        };
        let inner = self.inner.call(request);
        GatedFuture { state: State::Running { inner, follow }, request: std::marker::PhantomData }
    }
}

struct Follow<G: Watch, M> {
    open: Option<Open<G>>,
    /// The name of the layer if it would have refused.
    shadowed: Option<Name>,
    reach: M,
}

pin_project! {
    /// The response future of [`Gated`]. Dropping it ends the ticket.
    pub struct GatedFuture<F, R, G: Watch, M> {
        #[pin]
        state: State<F, G, M>,
        request: std::marker::PhantomData<fn(R)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, G: Watch, M> {
        // dropped in this order: ends are told inside out
        Running { #[pin] inner: F, follow: Option<Follow<G, M>> },
        Refused { rejection: Option<Rejection> },
    }
}

impl<F, R, G: Watch, M> GatedFuture<F, R, G, M> {
    fn refused(rejection: Rejection) -> Self {
        Self { state: State::Refused { rejection: Some(rejection) }, request: std::marker::PhantomData }
    }
}

impl<F, R, Res, E, G, M> Future for GatedFuture<F, R, G, M>
where
    F: Future<Output = Result<Res, E>>,
    E: Refusal,
    G: Watch,
    M: Reach<R, Res>,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // nobody listens: the poll is forwarded as it is, since wrapping the result anew copies the response
            StateProj::Running { follow: None, inner } => inner.poll(cx),
            StateProj::Running { follow, inner } => {
                let mut result = ready!(ends_if_it_panics(follow, || inner.poll(cx)));
                if let Some(follow) = follow {
                    follow.told(&mut result);
                }
                Poll::Ready(result)
            }
            StateProj::Refused { rejection } => match rejection.take() {
                Some(rejection) => Poll::Ready(Err(rejection.into())),
                None => panic!("polled after completion"),
            },
        }
    }
}

impl<G: Watch, M> Follow<G, M> {
    #[inline]
    fn told<R, Res, E: Refusal>(&mut self, result: &mut Result<Res, E>)
    where
        M: Reach<R, Res>,
    {
        match (result, &mut self.open) {
            (Ok(response), Some(open)) => self.reach.respond(open, response),
            (Err(error), Some(open)) => open.end_error(error),
            (Ok(response), None) => {
                if let (Some(layer), Some(response)) = (self.shadowed, self.reach.governed(response)) {
                    mark_shadows(response.head(), &[layer]);
                }
            }
            (Err(error), None) => {
                if let (Some(layer), Some(rejection)) = (self.shadowed, error.rejection_mut()) {
                    mark_shadows(rejection, &[layer]);
                }
            }
        }
    }
}
