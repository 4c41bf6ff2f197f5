//! The engine: runs a plan, takes another in its place, and ends after the requests in flight.

mod cluster;
mod config;
mod listener;
mod registrations;
mod route;
mod status;
mod worker;

pub use status::{ClusterStatus, EndpointStatus, Reason};

use crate::{plan::Plan, spec::ListenerSpec};
use arc_swap::ArcSwap;
use config::{Config, ListenerConfig};
use mesh_core::{
    Name,
    pipeline::{Report, Spawn},
};
use mesh_net::{BindError, Drain, ListenOptions};
use registrations::Registrations;
use std::{
    fmt, io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::runtime::Handle;
use worker::WorkerListener;

/// A running sidecar: its workers, its listeners, its configuration. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    config: Mutex<Arc<Config>>,
    listeners: Vec<OpenListener>,
    spawn: Arc<dyn Spawn>,
    control: Handle,
    registrations: Mutex<Registrations>,
    drain: Drain,
    draining: AtomicBool,
    workers: Mutex<Vec<thread::JoinHandle<()>>>,
}

/// Runs what layers spawn.
struct Control(Handle);

impl Spawn for Control {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }
}

struct OpenListener {
    name: String,
    spec: ListenerSpec,
    address: SocketAddr,
    config: Arc<ArcSwap<ListenerConfig>>,
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be had.
    Bind {
        /// The listener.
        listener: String,
        /// Why.
        source: BindError,
    },
    /// A worker could not be started.
    Worker(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, source } => write!(f, "listener `{listener}`: {source}"),
            Self::Worker(error) => write!(f, "a worker could not be started: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::Worker(error) => Some(error),
        }
    }
}

/// Why a plan was not taken in place of the running one, which goes on as it was.
#[derive(Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// Listeners cannot come, go or change their socket while the program runs; routes and pipelines can.
    Listeners {
        /// The listener that is not the same.
        listener: String,
    },
    /// The program is ending.
    Draining,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listeners { listener } => {
                write!(f, "listener `{listener}` is new, gone or bound differently: that needs a restart")
            }
            Self::Draining => f.write_str("the program is ending"),
        }
    }
}

impl std::error::Error for ReloadError {}

impl Engine {
    /// Opens the listeners of a plan and starts the workers. All sockets are bound before the first worker starts: on
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
        let workers = plan.spec.workers.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let drain = Drain::new();
        let mut sockets: Vec<Vec<WorkerListener>> = (0..workers.get()).map(|_| Vec::new()).collect();
        let mut bound = Vec::new();
        for spec in &plan.spec.listeners {
            let bind = ListenOptions::default().bind(spec.bind.value, workers);
            bound.push(bind.map_err(|source| StartError::Bind { listener: spec.name.clone(), source })?);
        }
        let spawn: Arc<dyn Spawn> = Arc::new(Control(Handle::current()));
        let config = Arc::new(Config::make(plan, None, &spawn));
        let mut listeners = Vec::new();
        for ((spec, bound), made) in config.plan.spec.listeners.iter().zip(bound).zip(&config.listeners) {
            let current = Arc::new(ArcSwap::new(made.clone()));
            let name = Name::intern(&spec.name);
            listeners.push(OpenListener {
                name: spec.name.clone(),
                spec: spec.clone(),
                address: bound.local_addr(),
                config: current.clone(),
            });
            for (worker, socket) in sockets.iter_mut().zip(bound) {
                worker.push(WorkerListener { name, socket, config: current.clone() });
            }
        }
        let mut threads = Vec::new();
        for (index, sockets) in sockets.into_iter().enumerate() {
            threads.push(worker::spawn(index, sockets, drain.watch()).map_err(StartError::Worker)?);
        }
        let mut registrations = Registrations::default();
        registrations.follow(&config.plan);
        Ok(Self {
            shared: Arc::new(Shared {
                config: Mutex::new(config),
                listeners,
                spawn,
                control: Handle::current(),
                registrations: Mutex::new(registrations),
                drain,
                draining: AtomicBool::new(false),
                workers: Mutex::new(threads),
            }),
        })
    }

    /// The listeners with the addresses they really have.
    pub fn listeners(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.shared.listeners.iter().map(|listener| (listener.name.as_str(), listener.address))
    }

    /// Takes another plan in place of the running one. Connections stay, with the limits, timeouts and rules for
    /// forwarded fields that they began with; each request takes the newest plan; layers keep their state as the report
    /// says. Endpoints, pools and workers of the sockets stay.
    ///
    /// # Errors
    /// The plan cannot be taken; the running one goes on untouched.
    pub fn reload(&self, plan: Plan) -> Result<Report, ReloadError> {
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        self.same_sockets(&plan)?;
        let mut config = self.shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(Config::make(plan, Some(&config), &self.shared.spawn));
        for (spec, made) in next.plan.spec.listeners.iter().zip(&next.listeners) {
            let open = self.shared.listeners.iter().find(|open| open.name == spec.name);
            if let Some(open) = open {
                open.config.store(made.clone());
            }
        }
        let report = next.report().clone();
        let control = self.shared.control.enter();
        self.shared.registrations.lock().unwrap_or_else(PoisonError::into_inner).follow(&next.plan);
        drop(control);
        *config = next;
        Ok(report)
    }

    fn same_sockets(&self, plan: &Plan) -> Result<(), ReloadError> {
        let refuse = |name: &str| Err(ReloadError::Listeners { listener: name.to_owned() });
        for open in &self.shared.listeners {
            let same = plan.spec.listeners.iter().any(|spec| spec.name == open.name && same_socket(spec, &open.spec));
            if !same {
                return refuse(&open.name);
            }
        }
        match plan.spec.listeners.iter().find(|spec| self.shared.listeners.iter().all(|open| open.name != spec.name)) {
            Some(new) => refuse(&new.name),
            None => Ok(()),
        }
    }

    /// The spec that runs, as it was written: environment variables by their names.
    pub fn spec(&self) -> serde_json::Value {
        self.config().plan.to_json()
    }

    /// The clusters with their endpoints as they are at this moment, by name.
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        self.config().clusters.iter().map(|(name, cluster)| ClusterStatus::of(name, cluster)).collect()
    }

    /// Whether the program has begun to end.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Ends: from now on [`Engine::is_draining`]; what is registered is taken back; connections are accepted for `delay` more; then listeners close, idle
    /// connections close, others after their requests in flight, and all after `timeout`. Ready when the workers have
    /// ended.
    pub async fn shutdown(&self, delay: Duration, timeout: Duration) {
        self.shared.draining.store(true, Ordering::Release);
        let registrations =
            std::mem::take(&mut *self.shared.registrations.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::join!(registrations.withdraw(), tokio::time::sleep(delay));
        self.shared.drain.start(timeout);
        let workers = std::mem::take(&mut *self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = tokio::task::spawn_blocking(move || workers.into_iter().for_each(|worker| drop(worker.join())));
        let _ = ended.await;
    }

    /// Ends as the running spec says in `shutdown`.
    pub async fn shutdown_as_configured(&self) {
        let shutdown = self.config().plan.spec.shutdown;
        self.shutdown(shutdown.delay, shutdown.timeout).await;
    }

    fn config(&self) -> Arc<Config> {
        self.shared.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn same_socket(one: &ListenerSpec, other: &ListenerSpec) -> bool {
    one.bind == other.bind && one.protocol == other.protocol
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("listeners", &self.listeners().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
