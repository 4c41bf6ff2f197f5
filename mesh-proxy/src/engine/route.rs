//! What stands below a listener's pipeline: the router, and what routes lead to.

use super::{
    cluster::Cluster,
    edit::{RequestEdit, set_path},
    redirect::Redirect,
    split::Split,
    way::Entrance,
};
use crate::{
    router::Router,
    spec::{HeaderOps, RespondSpec},
};
use arc_swap::ArcSwap;
use mesh_codec_http::{
    Body, Http, HttpError, Request, Response,
    forward::{self, Slashes},
};
use mesh_core::{
    Kind, Name, Rejection, RequestView,
    http::GovernedBody,
    pipeline::{Stage, StageFuture, StageHandle, StageRef},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};
use tower_service::Service;

/// A route that runs.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Name,
    /// The template of its path; [`Name::NONE`] where it has none.
    pub(super) template: Name,
    /// Whether it may take a CONNECT: it names the methods that it takes.
    pub(super) tunnels: bool,
    pub(super) edit: Option<Box<RequestEdit>>,
    /// What is changed of its responses.
    pub(super) response: Option<Arc<HeaderOps>>,
    pub(super) target: Target,
}

impl Route {
    fn prepare(&self, request: &mut Request) -> Result<Next, Rejection> {
        if let Some(edit) = &self.edit {
            edit.apply(request)?;
        }
        Ok(match &self.target {
            Target::Stage(handle) => Next::Stage(handle.stage()),
            Target::Leaf(leaf) => leaf.prepare(request),
        })
    }
}

/// Where a request goes on that has been looked at. What has been borrowed is copied when it is moved on, so all who look
/// at a request do so before it is called with.
#[allow(clippy::large_enum_variant, reason = "it lives for one statement; a box would be an allocation")]
enum Next {
    Stage(StageRef<Http>),
    /// Nowhere.
    Now(Result<Response, HttpError>),
}

impl Next {
    #[inline]
    fn call(self, request: Request) -> Routed {
        match self {
            Next::Stage(mut stage) => Routed::Stage(stage.call(request)),
            // the request's body is dropped unread
            Next::Now(result) => Routed::Now(Some(result)),
        }
    }
}

/// Where a route leads.
#[derive(Debug)]
pub(super) enum Target {
    /// Through a pipeline of its own.
    Stage(StageHandle<Http>),
    /// Straight on: the route has no layers.
    Leaf(Leaf),
}

/// What a route does in the end.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Cluster(Entrance<Http>),
    Split(Arc<Split<Entrance<Http>>>),
    Redirect(Arc<Redirect>),
    Respond(Arc<RespondSpec>),
}

impl Leaf {
    fn prepare(&self, request: &Request) -> Next {
        match self {
            Leaf::Cluster(cluster) => Next::Stage(cluster.prepare(request)),
            // each attempt of a request comes to the same one
            Leaf::Split(split) => Next::Stage(split.pick(request.context().draw()).prepare(request)),
            Leaf::Redirect(redirect) => Next::Now(redirect.answer(request).map_err(HttpError::from)),
            Leaf::Respond(respond) => {
                let head_only = *request.method() == http::Method::HEAD;
                Next::Now(Ok(respond_to(respond, head_only)))
            }
        }
    }
}

impl Service<Request> for Leaf {
    type Response = Response;
    type Error = HttpError;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Routed {
        self.prepare(&request).call(request)
    }
}

/// The clusters that layers may call by name, those of the newest configuration. Weak, since clusters may lead to each
/// other.
#[derive(Clone, Debug, Default)]
pub(super) struct Reachable(Arc<ArcSwap<HashMap<Name, Weak<Cluster>>>>);

impl Reachable {
    /// Takes the clusters of another configuration.
    pub(super) fn fill(&self, clusters: &BTreeMap<String, Arc<Cluster>>) {
        self.0.store(Arc::new(clusters.values().map(|cluster| (cluster.name(), Arc::downgrade(cluster))).collect()));
    }

    /// What finds one for a layer.
    pub(super) fn finder(&self) -> impl Fn(&str) -> Option<Stage<Http>> + Send + Sync + use<> {
        let reachable = self.clone();
        move |name| {
            let name = Name::intern(name);
            let own = reachable.0.load().get(&name)?.clone();
            Some(Stage::new(ToCluster { own, name, reachable: reachable.clone() }))
        }
    }
}

/// A cluster that a layer calls by its name.
#[derive(Clone, Debug)]
struct ToCluster {
    /// The one that was there when the layer was applied.
    own: Weak<Cluster>,
    name: Name,
    reachable: Reachable,
}

impl ToCluster {
    /// Its own for as long as that is there, then the newest of its name: a layer may have outlived a reload.
    fn find(&self) -> Option<Arc<Cluster>> {
        self.own.upgrade().or_else(|| self.reachable.0.load().get(&self.name)?.upgrade())
    }
}

impl Service<Request> for ToCluster {
    type Response = Response;
    type Error = HttpError;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Routed {
        match self.find().and_then(|cluster| cluster.http()) {
            // no route leads there that would keep it
            Some(mut cluster) => Routed::Held { stage: cluster.call(request), _cluster: cluster },
            None => Routed::refused(Rejection::new(Kind::NoEndpoint)),
        }
    }
}

fn respond_to(respond: &RespondSpec, head_only: bool) -> Response {
    let body: GovernedBody<Body> = GovernedBody::own(respond.body.clone()).bodyless(head_only);
    let mut response = http::Response::new(body);
    *response.status_mut() = respond.status;
    *response.headers_mut() = respond.headers.clone();
    response
}

/// The service below a listener's pipeline.
#[derive(Clone, Debug)]
pub(super) struct RouterService {
    pub(super) router: Arc<Router<Route>>,
    pub(super) slashes: Slashes,
}

impl Service<Request> for RouterService {
    type Response = Response;
    type Error = HttpError;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Routed {
        match self.prepare(&mut request) {
            Ok((next, None)) => next.call(request),
            Ok((next, Some(headers))) => next.call(request).edited(headers),
            Err(rejection) => Routed::refused(rejection),
        }
    }
}

impl RouterService {
    /// Where a request goes on, and what is to be changed of its response.
    fn prepare(&self, request: &mut Request) -> Result<(Next, Option<&Arc<HeaderOps>>), Rejection> {
        normalise(request, self.slashes)?;
        let route = self.router.route(request).ok_or_else(no_route)?;
        // a tunnel leads wherever the endpoint likes: a route that takes it says so
        if *request.method() == http::Method::CONNECT && !route.tunnels {
            return Err(no_route());
        }
        request.context().set_route(route.name);
        if !route.template.is_none() {
            request.context().set_template(route.template);
        }
        Ok((route.prepare(request)?, route.response.as_ref()))
    }
}

#[cold]
fn no_route() -> Rejection {
    Rejection::new(Kind::NoRoute)
}

/// The path as routes see it and the upstream gets it. Nearly always as it came.
fn normalise(request: &mut Request, slashes: Slashes) -> Result<(), Rejection> {
    match forward::normalise(request.uri().path(), slashes)? {
        Cow::Borrowed(_) => Ok(()),
        Cow::Owned(path) => set_path(request, path),
    }
}

/// The response future of everything here.
pub(super) enum Routed {
    Stage(StageFuture<Http>),
    /// With the cluster whose stage it is.
    Held {
        stage: StageFuture<Http>,
        _cluster: Entrance<Http>,
    },
    /// With what is changed of the response.
    Edited {
        stage: StageFuture<Http>,
        headers: Arc<HeaderOps>,
    },
    Now(Option<Result<Response, HttpError>>),
}

impl Routed {
    /// Responses are changed, refusals are not: those are ours.
    fn edited(self, headers: &Arc<HeaderOps>) -> Self {
        match self {
            Self::Stage(stage) => Self::Edited { stage, headers: headers.clone() },
            Self::Now(Some(Ok(mut response))) => {
                headers.apply(response.headers_mut());
                Self::Now(Some(Ok(response)))
            }
            // no route is in front of these
            other => other,
        }
    }

    fn refused(rejection: Rejection) -> Self {
        Self::Now(Some(Err(rejection.into())))
    }
}

impl Future for Routed {
    type Output = Result<Response, HttpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Stage(stage) | Self::Held { stage, .. } => Pin::new(stage).poll(cx),
            Self::Edited { stage, headers } => {
                let mut result = ready!(Pin::new(stage).poll(cx));
                if let Ok(response) = &mut result {
                    headers.apply(response.headers_mut());
                }
                Poll::Ready(result)
            }
            Self::Now(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => panic!("polled after completion"),
            },
        }
    }
}
