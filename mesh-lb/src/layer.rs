//! What all services of a balancer share, and the layer that makes them.

use crate::{
    Balance, Policy,
    published::Published,
    table::{Table, TableBuilder},
};
use mesh_core::{Endpoint, Endpoints, Nanos, ResultsOnly, Subscription, Whole, time, units::Ratio};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tower_layer::Layer;

/// How long calls wait at the most for discovery to say something for the first time.
const FIRST_RESULT: Duration = Duration::from_secs(5);

/// Balances calls over a set of endpoints that changes.
///
/// What it is applied to is not a service but the function that gives the service of an endpoint; the result is a
/// [`Balance`]. All clones of a layer, and all that it makes, share one table of endpoints, which is built once for
/// each change of the set by whoever drives [`Endpoints`]. The clone that is kept is the handle:
/// [`set_policy`](Self::set_policy) retunes the balancers that run.
pub struct BalanceLayer<M = Whole> {
    shared: Arc<Shared>,
    first_result: Duration,
    reach: M,
}

impl BalanceLayer {
    /// Balances over `endpoints` by `policy`. Calls are followed to the end of the response's body: for HTTP that
    /// needs `mesh_core::http::governed` around the whole.
    pub fn new(endpoints: Endpoints, policy: Policy) -> Self {
        Self { shared: Arc::new(Shared::new(endpoints, policy)), first_result: FIRST_RESULT, reach: Whole }
    }
}

impl<M> BalanceLayer<M> {
    /// Before discovery has said anything, calls wait for it. This bounds the wait, counted from the first call that
    /// had to: after it, calls are refused at once until there is a first result. Default 5 s; zero never waits.
    #[must_use]
    pub fn first_result(self, wait: Duration) -> Self {
        Self { first_result: wait, ..self }
    }

    /// The part of the endpoints that must be healthy for health to count; 50% if it is not said, 0% for always. With
    /// fewer there is *panic*: all are eligible, whatever speaks against them, and the breakers of endpoints let calls
    /// through, until 5 % more than that are healthy. So they cannot take out all endpoints, nor all but a few that
    /// would break under the load of all. For all clones and all services made, also while they run.
    #[must_use]
    pub fn panic_threshold(self, threshold: Ratio) -> Self {
        locked(&self.shared.current.builder).panic().set_threshold(threshold);
        self
    }

    /// A call ends with its result: the endpoint is busy until the response is there, whatever its body does, and
    /// `Ok` is a success. Takes any request and any response; endpoints that were tried before are not known then.
    #[must_use]
    pub fn results_only(self) -> BalanceLayer<ResultsOnly> {
        self.judge_with(ResultsOnly)
    }

    /// As [`results_only`](Self::results_only), but `judge` says what a response counts as: a function of
    /// `&Response` that gives an [`Outcome`](mesh_core::Outcome).
    #[must_use]
    pub fn judge<F>(self, judge: F) -> BalanceLayer<F> {
        self.judge_with(judge)
    }

    fn judge_with<N>(self, reach: N) -> BalanceLayer<N> {
        BalanceLayer { shared: self.shared, first_result: self.first_result, reach }
    }

    /// The endpoints it balances over.
    pub fn endpoints(&self) -> &Endpoints {
        &self.shared.endpoints
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        locked(&self.shared.current.builder).policy()
    }

    /// Puts another policy in force, for all clones and all services made. Endpoints keep their state.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.current.rebuild(|builder| builder.set_policy(policy));
    }
}

impl<M: Clone> Clone for BalanceLayer<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), first_result: self.first_result, reach: self.reach.clone() }
    }
}

impl<M> fmt::Debug for BalanceLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceLayer")
            .field("policy", &self.policy())
            .field("endpoints", self.endpoints())
            .finish_non_exhaustive()
    }
}

impl<F, S, M> Layer<F> for BalanceLayer<M>
where
    F: Fn(&Arc<Endpoint>) -> S + Send + Sync + 'static,
    M: Clone,
{
    type Service = Balance<S, M>;

    fn layer(&self, make: F) -> Balance<S, M> {
        Balance::made_by(make, self.shared.clone(), self.first_result, self.reach.clone())
    }
}

/// What every service over one set of endpoints shares.
pub(crate) struct Shared {
    endpoints: Endpoints,
    pub(crate) current: Arc<Current>,
    /// When waiting for a first result is over, in nanoseconds; 0 until somebody waits.
    wait_until: AtomicU64,
    _subscription: Subscription,
}

impl Shared {
    fn new(endpoints: Endpoints, policy: Policy) -> Self {
        let current = Arc::new(Current::new(TableBuilder::new(policy, endpoints.source().clone())));
        let subscription = endpoints.subscribe({
            let current = current.clone();
            move |set| current.rebuild(|builder| builder.set_endpoints(set.clone()))
        });
        Self { endpoints, current, wait_until: AtomicU64::new(0), _subscription: subscription }
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Until when to wait for a first result; `None` when that time is over.
    pub(crate) fn wait_until(&self, first_result: Duration) -> Option<Nanos> {
        let now = time::now();
        let until = now.plus(first_result).as_nanos();
        let until = self.wait_until.compare_exchange(0, until, Relaxed, Relaxed).err().unwrap_or(until);
        (now.as_nanos() < until).then_some(Nanos::from_nanos(until))
    }
}

/// The table that is in force.
pub(crate) struct Current {
    pub(crate) table: Published<Table>,
    builder: Mutex<TableBuilder>,
    /// Wakes those who wait for a first result.
    pub(crate) changed: Arc<Notify>,
}

impl Current {
    fn new(mut builder: TableBuilder) -> Self {
        let table = Published::new(builder.build());
        Self { table, builder: Mutex::new(builder), changed: Arc::default() }
    }

    fn rebuild(&self, build: impl FnOnce(&mut TableBuilder) -> Table) {
        let mut builder = locked(&self.builder);
        let table = build(&mut builder);
        let before = self.table.publish(table);
        self.changed.notify_waiters();
        drop(builder);
        // frees a whole table if nobody holds it: not under a lock
        drop(before);
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
