//! The tower layer: settings, shared state, and the handle on it.

use crate::{
    BackoffSettings, BudgetSettings, Conditions, Judged, Results, Retry, RetrySettings, Spoken, Unchosen,
    budget::{Budget, Terms},
    service::Family,
};
use arc_swap::ArcSwap;
use mesh_core::{Name, Nanos, Protocol, time, units::Size};
use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};
use tower_layer::Layer;

/// The name in refusals, metrics and specs.
pub(crate) const NAME: &str = "retry";

/// Sends a failed call again, elsewhere if it can, as often as a budget allows.
///
/// How a request is kept and a result judged is chosen by name: [`results_only`](Self::results_only),
/// [`judge`](Self::judge), [`protocol`](Self::protocol), and with the feature `http` `bodies`. All clones
/// of a layer, all services it makes and all their clones share the settings and the budget; the
/// [`handle`](Self::handle) reads and changes them while they run.
pub struct RetryLayer<M = Unchosen> {
    shared: Arc<Shared>,
    name: Name,
    repeat: M,
}

/// What all that comes of one layer shares.
pub(crate) struct Shared {
    pub(crate) settings: ArcSwap<Current>,
    /// What every call asks for is here too: one load each.
    attempts: AtomicU32,
    max_body: AtomicUsize,
    pub(crate) budget: Budget,
    pub(crate) counters: OnceLock<Counters>,
    origin: Nanos,
}

/// The settings, and what the arithmetic makes of them.
pub(crate) struct Current {
    pub(crate) settings: RetrySettings,
    pub(crate) terms: Option<Terms>,
}

impl Shared {
    pub(crate) fn new(settings: RetrySettings) -> Arc<Self> {
        let origin = time::now();
        let current = Current::new(settings, origin);
        Arc::new(Self {
            attempts: current.settings.attempts.get().into(),
            max_body: current.settings.max_body.as_usize().into(),
            budget: Budget::new(current.terms.as_ref()),
            settings: ArcSwap::from_pointee(current),
            counters: OnceLock::new(),
            origin,
        })
    }

    pub(crate) fn set(&self, settings: RetrySettings) {
        let next = Current::new(settings, self.origin);
        let before = self.settings.load();
        if before.terms != next.terms {
            self.budget.retune(before.terms.as_ref(), next.terms.as_ref(), time::now());
        }
        self.attempts.store(next.settings.attempts.get(), Relaxed);
        self.max_body.store(next.settings.max_body.as_usize(), Relaxed);
        self.settings.store(Arc::new(next));
    }

    /// Whether a request is sent only once.
    pub(crate) fn is_off(&self) -> bool {
        self.attempts.load(Relaxed) == 1
    }

    pub(crate) fn max_body(&self) -> usize {
        self.max_body.load(Relaxed)
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.counters.get_or_init(|| Counters::new(|result| metrics::counter!(METRIC, "result" => result)))
    }
}

impl Current {
    fn new(settings: RetrySettings, origin: Nanos) -> Self {
        let terms = settings.budget.as_ref().map(|budget| Terms::new(budget, origin));
        Self { settings, terms }
    }
}

/// Counts retries.
pub(crate) const METRIC: &str = "mesh_retries_total";

/// `mesh_retries_total{result}`, registered once.
pub(crate) struct Counters {
    /// A retry came to something else than what is tried again.
    pub(crate) success: metrics::Counter,
    /// A retry failed too.
    pub(crate) failure: metrics::Counter,
    /// A retry was wanted, and the budget had none.
    pub(crate) no_budget: metrics::Counter,
    /// A retry was wanted, and more of the body had been read than is kept.
    pub(crate) no_replay: metrics::Counter,
    /// A retry was wanted, and the deadline, or the server, did not allow it.
    pub(crate) no_time: metrics::Counter,
}

impl Counters {
    pub(crate) fn new(counter: impl Fn(&'static str) -> metrics::Counter) -> Self {
        Self {
            success: counter("success"),
            failure: counter("failure"),
            no_budget: counter("no_budget"),
            no_replay: counter("no_replay"),
            no_time: counter("no_time"),
        }
    }
}

impl RetryLayer {
    /// Three attempts, and the other defaults of [`RetrySettings`].
    pub fn new() -> Self {
        Self::from(RetrySettings::default())
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<RetrySettings> for RetryLayer {
    fn from(settings: RetrySettings) -> Self {
        Self { shared: Shared::new(settings), name: Name::intern(NAME), repeat: Unchosen }
    }
}

impl<M> RetryLayer<M> {
    #[cfg(feature = "config")]
    pub(crate) fn over(shared: Arc<Shared>, repeat: M) -> Self {
        Self { shared, name: Name::intern(NAME), repeat }
    }

    fn change(mut self, change: impl FnOnce(&mut RetrySettings)) -> Self {
        let mut settings = self.handle().settings();
        change(&mut settings);
        // while nobody else knows of it, its budget begins anew under its own settings
        match Arc::get_mut(&mut self.shared) {
            Some(_) => self.shared = Shared::new(settings),
            None => self.shared.set(settings),
        }
        self
    }

    fn repeating<N>(self, repeat: N) -> RetryLayer<N> {
        RetryLayer { shared: self.shared, name: self.name, repeat }
    }

    /// How often a request is sent at the most, the first time included. Default: 3.
    #[must_use]
    pub fn attempts(self, attempts: NonZeroU32) -> Self {
        self.change(|settings| settings.attempts = attempts)
    }

    /// What is tried again. Default: [`Conditions::DEFAULT`]. [`results_only`](Self::results_only) and
    /// [`judge`](Self::judge) know no conditions.
    #[must_use]
    pub fn on(self, conditions: impl IntoIterator<Item = crate::Condition>) -> Self {
        let on: Conditions = conditions.into_iter().collect();
        self.change(|settings| settings.on = on)
    }

    /// The methods whose requests may be sent again after they may have been acted on. Default: HTTP's idempotent ones.
    /// [`results_only`](Self::results_only) and [`judge`](Self::judge) know no methods.
    #[must_use]
    pub fn methods<T: Into<String>>(self, methods: impl IntoIterator<Item = T>) -> Self {
        let methods = methods.into_iter().map(Into::into).collect();
        self.change(|settings| settings.methods = methods)
    }

    /// How many retries there may be for the requests there are; `None`: as many as the attempts allow. Default: 20 %,
    /// and ten a second.
    #[must_use]
    pub fn budget(self, budget: impl Into<Option<BudgetSettings>>) -> Self {
        let budget = budget.into();
        self.change(|settings| settings.budget = budget)
    }

    /// How long is waited before a retry. Default: at random up to 25 ms, then up to 50 ms, doubling up to 250 ms.
    #[must_use]
    pub fn backoff(self, backoff: BackoffSettings) -> Self {
        self.change(|settings| settings.backoff = backoff)
    }

    /// How much of a request's body is kept. Default: 64 KiB. [`results_only`](Self::results_only) and
    /// [`judge`](Self::judge) keep a clone of the request, whatever its size.
    #[must_use]
    pub fn max_body(self, max_body: Size) -> Self {
        self.change(|settings| settings.max_body = max_body)
    }

    /// Names the layer in refusals. Default: `retry`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Name::intern(name), ..self }
    }

    /// Any request that is `Clone`, any response. An error is tried again if it blames what is called; a response never
    /// is.
    #[must_use]
    pub fn results_only(self) -> RetryLayer<Results> {
        self.repeating(Results)
    }

    /// Any request that is `Clone`. A response is tried again if `judge` says that it is a failure (or timed out), an
    /// error if it blames what is called.
    #[must_use]
    pub fn judge<F>(self, judge: F) -> RetryLayer<Judged<F>> {
        self.repeating(Judged(judge))
    }

    /// The requests of a protocol, sent again by its [`replay`](Protocol::replay).
    #[must_use]
    pub fn protocol<P: Protocol>(self) -> RetryLayer<Spoken<P>> {
        self.repeating(Spoken::default())
    }

    /// HTTP and gRPC inside `mesh_core::http::governed(..)`. `wrap` makes a body of the request's own type of another:
    /// `axum::body::Body::new`, `tonic::body::Body::new`.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn bodies<F>(self, wrap: F) -> RetryLayer<crate::Bodies<F>> {
        self.repeating(crate::Bodies { wrap, causes: crate::Unknown })
    }

    /// Reads and changes the settings while they are in use, and the budget.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle(self.shared.clone())
    }
}

#[cfg(feature = "http")]
impl<F, C> RetryLayer<crate::Bodies<F, C>> {
    /// How a call failed, by the service's error: `|error| Cause::of(error)`, of [`Cause`](mesh_core::Cause), finds a
    /// connection that could not be made behind the errors of tonic and hyper. If it is not said, every error counts as
    /// [`Cause::Reset`](mesh_core::Cause::Reset).
    #[must_use]
    pub fn causes<E, D: Fn(&E) -> mesh_core::Cause + Clone>(self, causes: D) -> RetryLayer<crate::Bodies<F, D>> {
        let RetryLayer { shared, name, repeat } = self;
        RetryLayer { shared, name, repeat: crate::Bodies { wrap: repeat.wrap, causes } }
    }
}

impl<M: Clone> Clone for RetryLayer<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), name: self.name, repeat: self.repeat.clone() }
    }
}

impl<M> fmt::Debug for RetryLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("name", &self.name).field("handle", &self.handle()).finish()
    }
}

impl<S: Clone, M: Clone> Layer<S> for RetryLayer<M> {
    type Service = Retry<S, M>;

    fn layer(&self, inner: S) -> Retry<S, M> {
        let family = Family::new(&inner, self.shared.clone(), self.name);
        Retry::new(inner, family, self.repeat.clone())
    }
}

/// A handle on the settings and the budget of a [`RetryLayer`] and all that was made of it. Cheap to clone.
#[derive(Clone)]
pub struct RetryHandle(Arc<Shared>);

impl RetryHandle {
    /// The settings that are in use.
    pub fn settings(&self) -> RetrySettings {
        self.0.settings.load().settings.clone()
    }

    /// Other settings, for what is decided from now on. The budget keeps its balance, as far as the new one lets it be
    /// saved.
    pub fn set_settings(&self, settings: RetrySettings) {
        self.0.set(settings);
    }

    /// The retries that the budget has at this moment; `None` without a budget.
    pub fn balance(&self) -> Option<u64> {
        let current = self.0.settings.load();
        let terms = current.terms.as_ref()?;
        Some(u64::try_from(self.0.budget.balance(terms, time::now()) / 1_000_000).unwrap_or(0))
    }
}

impl fmt::Debug for RetryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryHandle").field("settings", &self.settings()).field("balance", &self.balance()).finish()
    }
}
