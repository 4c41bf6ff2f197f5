//! How a request finds the newest configuration of its listener, and how long the one before lives.
//!
//! The configuration of a socket is swapped on the control thread. Each worker holds it once, in a [`Slot`] that all
//! its connections to that socket share; a connection knows it without holding it, and each request holds it. So a
//! connection that is idle keeps no old configuration alive, and workers do not share the cache line of its count.

use super::{calls::CallsListener, config::ListenerConfig, listener::Serving};
use arc_swap::ArcSwap;
use mesh_codec_dubbo::{self as dubbo, Dubbo, DubboError};
use mesh_codec_http::{Http, HttpError, Request, Response};
use mesh_core::{
    Kind, Protocol, Rejection,
    pipeline::{StageFuture, StageRef},
};
use pin_project_lite::pin_project;
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tower_service::Service;

/// What a socket does at the moment.
#[derive(Debug)]
pub(super) struct Current {
    /// Grows after each change of `config`.
    generation: AtomicU64,
    config: ArcSwap<ListenerConfig>,
    serving: ArcSwap<Serving>,
}

impl Current {
    pub(super) fn new(config: Arc<ListenerConfig>, serving: Serving) -> Self {
        Self { generation: AtomicU64::new(1), config: ArcSwap::new(config), serving: ArcSwap::from_pointee(serving) }
    }

    /// From now on requests take this one.
    pub(super) fn set_config(&self, config: Arc<ListenerConfig>) {
        self.config.store(config);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How new connections are served.
    pub(super) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// Tells the layers that only observe of a request that the codec has refused.
    pub(super) fn refused(&self, mut request: Request, rejection: &mut Rejection) {
        self.config.load().observers.tell_refused(&mut request, rejection);
    }

    /// From now on new connections are served so.
    pub(super) fn set_serving(&self, serving: Serving) {
        self.serving.store(Arc::new(serving));
    }
}

/// A configuration under a count of one worker's own.
struct Newest(Arc<ListenerConfig>);

/// What a worker's connections to one socket share.
pub(super) struct Slot {
    current: Arc<Current>,
    /// With the generation it is of.
    newest: Mutex<(u64, Arc<Newest>)>,
}

thread_local!(static SLOTS: RefCell<Vec<Weak<Slot>>> = const { RefCell::new(Vec::new()) });

impl Slot {
    /// The slot of this worker, made where it has none yet.
    pub(super) fn of(current: &Arc<Current>) -> Arc<Self> {
        let found = SLOTS.with_borrow(|slots| {
            slots.iter().filter_map(Weak::upgrade).find(|slot| Arc::ptr_eq(&slot.current, current))
        });
        found.unwrap_or_else(|| Self::new(current.clone()))
    }

    fn new(current: Arc<Current>) -> Arc<Self> {
        let generation = current.generation.load(Ordering::Acquire);
        let newest = Arc::new(Newest(current.config.load_full()));
        let slot = Arc::new(Self { current, newest: Mutex::new((generation, newest)) });
        SLOTS.with_borrow_mut(|slots| slots.push(Arc::downgrade(&slot)));
        slot
    }

    /// The newest configuration.
    pub(super) fn config(&self) -> Arc<ListenerConfig> {
        self.newest().1.0.clone()
    }

    fn newest(&self) -> (u64, Arc<Newest>) {
        // read first: a change in between is seen again
        let generation = self.current.generation.load(Ordering::Acquire);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.0 != generation {
            *newest = (generation, Arc::new(Newest(self.current.config.load_full())));
        }
        newest.clone()
    }
}

/// Lets go of configurations that are not the newest any more, on this worker.
pub(super) fn refresh() {
    SLOTS.with_borrow_mut(|slots| {
        slots.retain(|slot| match slot.upgrade() {
            Some(slot) => {
                slot.newest();
                true
            }
            None => false,
        });
    });
}

/// A protocol that listeners take requests of.
pub(super) trait Served: Protocol {
    /// Where they enter. `None`: the listener speaks another one now, which a connection may outlive.
    fn entry(config: &ListenerConfig) -> Option<StageRef<Self>>;
}

/// The service of a listener's connections. It takes the newest configuration for each request, so that a reload
/// reaches old connections; a request keeps the one it began with.
#[derive(Clone)]
pub(super) struct ListenerService {
    slot: Arc<Slot>,
    generation: u64,
    newest: Weak<Newest>,
}

impl ListenerService {
    pub(super) fn new(slot: Arc<Slot>) -> Self {
        Self { slot, generation: 0, newest: Weak::new() }
    }

    /// After a change, and for a connection's first request.
    #[cold]
    fn renew(&mut self) -> Arc<Newest> {
        let (generation, newest) = self.slot.newest();
        (self.generation, self.newest) = (generation, Arc::downgrade(&newest));
        newest
    }

    /// Calls the newest configuration.
    pub(super) fn enter<P: Served>(&mut self, request: P::Request) -> Pinned<P> {
        let is_newest = self.slot.current.generation.load(Ordering::Acquire) == self.generation;
        let config = match self.newest.upgrade() {
            Some(newest) if is_newest => newest,
            _ => self.renew(),
        };
        let inner = match P::entry(&config.0) {
            Some(mut stage) => stage.call(request),
            None => StageFuture::refused(Rejection::new(Kind::NoRoute)),
        };
        Pinned { inner, config }
    }
}

impl Served for Http {
    fn entry(config: &ListenerConfig) -> Option<StageRef<Self>> {
        Some(config.stage())
    }
}

impl Served for Dubbo {
    fn entry(config: &ListenerConfig) -> Option<StageRef<Self>> {
        config.calls().map(CallsListener::stage)
    }
}

impl Service<Request> for ListenerService {
    type Response = Response;
    type Error = HttpError;
    type Future = Pinned<Http>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Pinned<Http> {
        self.enter(request)
    }
}

impl Service<dubbo::Request> for ListenerService {
    type Response = dubbo::Response;
    type Error = DubboError;
    type Future = Pinned<Dubbo>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DubboError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: dubbo::Request) -> Pinned<Dubbo> {
        self.enter(request)
    }
}

pin_project! {
    /// A call that keeps the configuration it began with.
    pub(super) struct Pinned<P: Protocol> {
        #[pin]
        inner: StageFuture<P>,
        config: Arc<Newest>,
    }
}

impl<P: Protocol> Future for Pinned<P> {
    type Output = Result<P::Response, P::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}
