//! The engine: runs a plan, takes another in its place, and ends after the requests in flight.

mod calls;
mod cluster;
mod config;
mod connections;
mod edit;
mod endpoint_stages;
mod error;
mod listener;
mod newest;
mod redirect;
mod registrations;
mod relay;
mod report;
mod retire;
mod route;
mod split;
mod status;
mod way;
mod worker;

pub(crate) use listener::bind;

pub use error::{ReloadError, StartError};
pub use report::{Changes, ReloadReport};
pub use status::{ClusterStatus, EndpointStatus, ListenerStatus, Reason, RouteStatus};

use crate::{
    plan::{Fingerprint, Plan},
    spec::{BindSpec, DrainOrder, Spec},
};
use config::Config;
use connections::ProcessLimit;
use listener::{Binding, Bound};
use mesh_core::{Address, pipeline::Spawn};
use mesh_net::{BindError, Drain, descriptor_limit, raise_descriptor_limit};
use registrations::Registrations;
use std::{
    fmt, io,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout_at},
};
use worker::Workers;

/// How long the end of the program waits for a writer of access logs that stalls.
#[cfg(feature = "access-log")]
const FLUSH: Duration = Duration::from_secs(1);

/// How long the sockets of a listener that is gone may take to be closed.
const CLOSING: Duration = Duration::from_secs(1);

/// A running sidecar: its workers, its listeners, its configuration. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    running: Mutex<Running>,
    /// Held during a reload: one after the other.
    reloading: Mutex<()>,
    spawn: Arc<dyn Spawn>,
    control: Handle,
    registrations: Mutex<Registrations>,
    draining: AtomicBool,
    /// Somebody has asked for the end.
    end_asked: watch::Sender<bool>,
    workers: Arc<Workers>,
    process: Arc<ProcessLimit>,
}

struct Running {
    config: Arc<Config>,
    /// In the order of the plan.
    bindings: Vec<Binding>,
    /// Of sockets and connections that a reload has put out of use, in the order in which they end.
    ending: Vec<Drain>,
}

/// Runs what layers spawn.
struct Control(Handle);

impl Spawn for Control {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }
}

impl Engine {
    /// Opens the listeners of a plan and starts the workers. The soft limit of file descriptors is raised to the hard
    /// one; no more connections are admitted than there are descriptors for. All sockets are bound before the first worker starts: on
    /// an error nothing has been served.
    ///
    /// The present tokio runtime is the control thread: what layers spawn runs there.
    ///
    /// # Errors
    /// An address cannot be had, or a thread could not be started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        let count = workers_of(&plan.spec);
        let mut sockets = Vec::new();
        for spec in &plan.spec.listeners {
            let bound = listener::bind(&spec.bind, count);
            sockets.push(bound.map_err(|source| StartError::Bind { listener: spec.name.clone(), source })?);
        }
        let spawn: Arc<dyn Spawn> = Arc::new(Control(Handle::current()));
        let process = Arc::new(process_limit(&plan.spec, count));
        let config = Arc::new(Config::make(plan, None, &spawn, &process).0);
        let workers = Arc::new(Workers::start(count, &process).map_err(StartError::Worker)?);
        let nodes = config::values(&config.plan.root, "listeners");
        let bindings = config.plan.spec.listeners.iter().zip(nodes).zip(&config.listeners).zip(sockets);
        let bindings = bindings
            .map(|(((spec, node), made), sockets)| Binding::open(sockets, spec, node, made.clone(), &workers))
            .collect();
        let mut registrations = Registrations::default();
        registrations.follow(&config.plan);
        Ok(Self {
            shared: Arc::new(Shared {
                running: Mutex::new(Running { config, bindings, ending: Vec::new() }),
                reloading: Mutex::new(()),
                spawn,
                control: Handle::current(),
                registrations: Mutex::new(registrations),
                draining: AtomicBool::new(false),
                end_asked: watch::Sender::new(false),
                workers,
                process,
            }),
        })
    }

    /// The listeners with the addresses they really have.
    pub fn listeners(&self) -> impl Iterator<Item = (String, Address)> + use<> {
        let shown = |binding: &Binding| (binding.name.clone(), binding.address.clone());
        let all = self.running().bindings.iter().map(shown).collect();
        Vec::into_iter(all)
    }

    /// Takes another plan in place of the running one. What is written as before goes on as it is; layers keep their
    /// state as the report says; endpoints at the same addresses stay the same. Connections stay, and each of their
    /// requests takes the newest plan.
    ///
    /// A listener that is new is bound first. One that is gone stops accepting, and its connections end with their
    /// requests, within the `shutdown.timeout` of the new plan. So do, on sockets that stay, the connections of a
    /// listener whose name or settings have changed other than `pipeline`, `routes` and `drain`: those hold for a
    /// connection's life.
    ///
    /// It is work, and may be called on any thread; several calls take turns. What has been replaced is dropped on the
    /// control thread when no request uses it any more.
    ///
    /// # Errors
    /// The plan cannot be taken; the running one goes on untouched.
    pub fn reload(&self, plan: Plan) -> Result<ReloadReport, ReloadError> {
        // what layers do when they are made may need the runtime
        let _control = self.shared.control.enter();
        let _turn = self.shared.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        let before = self.config();
        self.check_what_is_fixed(&plan.spec, &before.plan.spec)?;
        // only this thread changes the bindings, so what is found now stays true
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut bound = Vec::new();
        {
            let running = self.running();
            for spec in &plan.spec.listeners {
                let fits = |place: &usize| running.bindings[*place].fits(spec) && !open.contains(&Some(*place));
                open.push((0..running.bindings.len()).find(fits));
            }
        }
        for (spec, _) in plan.spec.listeners.iter().zip(&open).filter(|(_, open)| open.is_none()) {
            let sockets = self.bind(&spec.bind);
            bound.push(sockets.map_err(|source| ReloadError::Bind { listener: spec.name.clone(), source })?);
        }
        if let Some(shortage) = self.shared.process.shortage(&plan.spec) {
            tracing::warn!("{shortage}");
        }
        let (next, report) = Config::make(plan, Some(&before), &self.shared.spawn, &self.shared.process);
        let next = Arc::new(next);
        self.put_in_force(&next, open, bound)?;
        self.shared.registrations.lock().unwrap_or_else(PoisonError::into_inner).follow(&next.plan);
        let goes_on = |kept: &Arc<_>| next.listeners.iter().any(|next| Arc::ptr_eq(next, kept));
        let replaced = before.listeners.iter().enumerate().filter(|(_, kept)| !goes_on(kept)).map(|(place, _)| place);
        self.shared.control.spawn(retire::retire(before.clone(), replaced.collect(), self.shared.workers.clone()));
        Ok(report)
    }

    /// Opens the sockets of a listener. Those of one that a reload has just put out of use may still be on the address:
    /// each worker closes its own, in a moment. So whoever has the address is given time.
    fn bind(&self, spec: &BindSpec) -> Result<Bound, BindError> {
        let waits_until = std::time::Instant::now() + CLOSING;
        loop {
            let bound = listener::bind(spec, self.shared.workers.count());
            let is_taken = bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
            if !is_taken || std::time::Instant::now() >= waits_until {
                return bound;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// From here on requests take the next configuration.
    fn put_in_force(&self, next: &Arc<Config>, open: Vec<Option<usize>>, bound: Vec<Bound>) -> Result<(), ReloadError> {
        let timeout = next.plan.spec.shutdown.timeout;
        let mut running = self.running();
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        let mut before: Vec<Option<Binding>> = std::mem::take(&mut running.bindings).into_iter().map(Some).collect();
        let mut bound = bound.into_iter();
        let nodes = config::values(&next.plan.root, "listeners");
        for (((spec, node), config), open) in next.plan.spec.listeners.iter().zip(nodes).zip(&next.listeners).zip(open)
        {
            let kept = open.and_then(|place| before.get_mut(place)?.take());
            let binding = match kept {
                Some(mut binding) => {
                    if let Some(others) = binding.follow(spec, node, config.clone()) {
                        others.start(timeout);
                        running.ending.push(others);
                    }
                    Some(binding)
                }
                // each that is not open has been bound
                None => {
                    let open = |sockets| Binding::open(sockets, spec, node, config.clone(), &self.shared.workers);
                    bound.next().map(open)
                }
            };
            running.bindings.extend(binding);
        }
        let closed = before.into_iter().flatten().flat_map(|binding| binding.close(timeout));
        running.ending.extend(closed);
        running.ending.retain(|drain| drain.live() > 0);
        running.config = next.clone();
        Ok(())
    }

    fn check_what_is_fixed(&self, next: &Spec, before: &Spec) -> Result<(), ReloadError> {
        let bind = |spec: &Spec| spec.admin.as_ref().map(|admin| admin.bind.value.clone());
        if workers_of(next) != self.shared.workers.count() {
            return Err(ReloadError::Fixed { key: "workers" });
        }
        if bind(next) != bind(before) {
            return Err(ReloadError::Fixed { key: "admin" });
        }
        Ok(())
    }

    /// The spec that runs, as it was written: environment variables by their names.
    pub fn spec(&self) -> serde_json::Value {
        self.config().plan.to_json()
    }

    /// Of the text that the running spec was read from.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.config().plan.fingerprint
    }

    /// The spec that runs with every default filled in: [`explain_json`](crate::explain_json).
    pub fn effective(&self) -> serde_json::Value {
        crate::explain_json(&self.config().plan)
    }

    /// The listeners, with the routes that they have at this moment.
    pub fn listener_status(&self) -> Vec<ListenerStatus> {
        let running = self.running();
        let specs = running.config.plan.spec.listeners.iter();
        specs.zip(&running.bindings).map(|(spec, binding)| ListenerStatus::of(spec, &binding.address)).collect()
    }

    /// The clusters with their endpoints as they are at this moment, by name.
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        self.config().clusters.iter().map(|(name, cluster)| ClusterStatus::of(name, cluster)).collect()
    }

    /// Whether the program has begun to end.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Asks whoever runs the engine to end it, as a signal would: [`Engine::end_asked`] is ready from now on.
    pub fn ask_end(&self) {
        self.shared.end_asked.send_replace(true);
    }

    /// Ready when somebody has called [`Engine::ask_end`].
    pub async fn end_asked(&self) {
        // the sender is in here too, so that it is not gone
        let _ = self.shared.end_asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Ends: from now on [`Engine::is_draining`]; what is registered is taken back; connections are accepted for
    /// `delay` more; then listeners close, idle connections close, others after their requests in flight (HTTP/1 says
    /// `connection: close`, HTTP/2 GOAWAY). Listeners with [`DrainOrder::Last`] follow when the connections of the others
    /// have ended. All ends `timeout` after the `delay`. Ready when the workers have ended.
    pub async fn shutdown(&self, delay: Duration, timeout: Duration) {
        {
            // after this no reload opens anything
            let _running = self.running();
            self.shared.draining.store(true, Ordering::Release);
        }
        let registrations =
            std::mem::take(&mut *self.shared.registrations.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::join!(registrations.withdraw(), tokio::time::sleep(delay));
        let now = Instant::now();
        // a timeout that no clock can hold is one that never comes
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(86_400 * 365));
        let mut left = 0;
        for order in [DrainOrder::Normal, DrainOrder::Last] {
            let drains = {
                let mut running = self.running();
                let mut drains = std::mem::take(&mut running.ending);
                let due = running.bindings.iter().filter(|binding| binding.order == order);
                let rest = deadline.saturating_duration_since(Instant::now());
                drains.extend(due.flat_map(|binding| binding.close(rest)));
                drains
            };
            left += finished(drains, deadline).await;
        }
        if left > 0 {
            tracing::warn!(left, "connections were cut off at the end of the shutdown's timeout");
        }
        self.shared.workers.end().await;
        // the lines of the last requests
        #[cfg(feature = "access-log")]
        let _ = tokio::task::spawn_blocking(|| mesh_access_log::flush(FLUSH)).await;
    }

    /// Ends as the running spec says in `shutdown`.
    pub async fn shutdown_as_configured(&self) {
        let shutdown = self.config().plan.spec.shutdown;
        self.shutdown(shutdown.delay, shutdown.timeout).await;
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Arc<Config> {
        self.running().config.clone()
    }
}

/// Waits for drains that have started, in their order: who accepts makes guards of what follows it. How many
/// connections were left at the deadline.
async fn finished(drains: Vec<Drain>, deadline: Instant) -> usize {
    let mut left = 0;
    for drain in drains {
        left += timeout_at(deadline, drain.finished()).await.unwrap_or_else(|_| drain.live());
    }
    left
}

/// How many connections there may be, after the limit of descriptors has been raised as far as it goes.
fn process_limit(spec: &Spec, workers: NonZeroUsize) -> ProcessLimit {
    let descriptors = raise_descriptor_limit().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of file descriptors cannot be raised");
        descriptor_limit()
    });
    let limit = ProcessLimit::new(descriptors, workers, spec.listeners.len());
    tracing::info!(descriptors, connections = limit.clients(), "the most connections of all listeners together");
    if let Some(shortage) = limit.shortage(spec) {
        tracing::warn!("{shortage}");
    }
    limit
}

fn workers_of(spec: &Spec) -> NonZeroUsize {
    spec.workers.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("listeners", &self.listeners().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
