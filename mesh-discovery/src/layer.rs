use crate::Discovery;
use mesh_core::{DriverHandle, Endpoints};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Gives a balancer, or whatever else works on [`Endpoints`], the endpoints of a source: a service by its name.
///
/// It is applied to a function that makes the service of the endpoints. The source runs as a task of the runtime where
/// the layer was made, and is shared by all services the layer makes; it stops when the layer, those services, all
/// their clones, and the calls that wait for the first result, are gone.
///
/// ```
/// use mesh_core::{BoxError, Endpoint, Endpoints, Target};
/// use mesh_discovery::{DiscoverLayer, Static};
/// use mesh_lb::{BalanceLayer, Policy};
/// use std::{net::SocketAddr, sync::Arc};
/// use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // any source: a file, DNS, etcd
/// let source = Static::new((9001..=9003).map(|port| Target::new(SocketAddr::from(([127, 0, 0, 1], port)))))?;
///
/// // what answers for one endpoint: a client of your own
/// let client = |endpoint: &Arc<Endpoint>| {
///     let address = endpoint.address().to_string();
///     service_fn(move |_order: u32| std::future::ready(Ok::<_, BoxError>(address.clone())))
/// };
/// let mut orders = ServiceBuilder::new()
///     // other layers
///     .layer(DiscoverLayer::new(source))
///     .service(move |endpoints| BalanceLayer::new(endpoints, Policy::RoundRobin).results_only().layer(client));
///
/// let mut answers = Vec::new();
/// for order in 0..3 {
///     answers.push(orders.ready().await?.call(order).await?);
/// }
/// answers.sort();
/// assert_eq!(answers, ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DiscoverLayer {
    endpoints: Endpoints,
    driver: Option<Arc<DriverHandle>>,
}

impl DiscoverLayer {
    /// Begins to look for the endpoints of `source`.
    ///
    /// # Panics
    /// Outside a tokio runtime, unless the source is [fixed](Discovery::fixed).
    pub fn new(source: impl Discovery) -> Self {
        match source.fixed() {
            Some(targets) => Self { endpoints: Endpoints::fixed(targets.iter().cloned()), driver: None },
            None => {
                let (endpoints, driver) = Endpoints::new(source.updates());
                Self { endpoints, driver: Some(Arc::new(driver.spawn())) }
            }
        }
    }

    /// The endpoints as they are known. They do not keep the source running.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }
}

impl fmt::Debug for DiscoverLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverLayer").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl<F, S> Layer<F> for DiscoverLayer
where
    F: FnOnce(Endpoints) -> S,
{
    type Service = Discovered<S>;

    fn layer(&self, make: F) -> Discovered<S> {
        let inner = make(self.endpoints.clone());
        Discovered { inner, endpoints: self.endpoints.clone(), driver: self.driver.clone(), resolved: false }
    }
}

/// The service of discovered endpoints. It keeps the source running; else it is the inner one. Made by a
/// [`DiscoverLayer`].
#[derive(Clone)]
pub struct Discovered<S> {
    inner: S,
    endpoints: Endpoints,
    driver: Option<Arc<DriverHandle>>,
    /// Whether the source is known to have said something.
    resolved: bool,
}

impl<S> Discovered<S> {
    /// The endpoints as they are known. They do not keep the source running.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: fmt::Debug> fmt::Debug for Discovered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R> Service<R> for Discovered<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DiscoveredFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        // a call may be all that is left of the service, and wait for what the source says first
        let mut waits = None;
        if !self.resolved {
            self.resolved = self.driver.is_none() || self.endpoints.source().load().is_resolved();
            waits = self.driver.clone().filter(|_| !self.resolved);
        }
        DiscoveredFuture { inner: self.inner.call(request), waits }
    }
}

pin_project! {
    /// The response of [`Discovered`].
    #[must_use = "futures do nothing unless polled"]
    pub struct DiscoveredFuture<F> {
        #[pin]
        inner: F,
        waits: Option<Arc<DriverHandle>>,
    }
}

impl<F: Future> Future for DiscoveredFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let me = self.project();
        let output = ready!(me.inner.poll(cx));
        *me.waits = None;
        Poll::Ready(output)
    }
}

impl<F> fmt::Debug for DiscoveredFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveredFuture").finish_non_exhaustive()
    }
}
