//! What stands below a listener's pipeline: the router, and what routes lead to.

use super::cluster::Cluster;
use crate::{router::Router, spec::RespondSpec};
use http::uri::{PathAndQuery, Uri};
use mesh_codec_http::{Body, Http, HttpError, Request, Response, forward};
use mesh_core::{
    Kind, Rejection, RequestView,
    http::{GovernedBody, host},
    pipeline::{StageFuture, StageHandle, StageRef},
};
use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};
use tower_service::Service;

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
    Cluster(Arc<Cluster>),
    Respond(Arc<RespondSpec>),
}

impl Leaf {
    fn call_now(&self, request: Request) -> Routed {
        match self {
            Leaf::Cluster(cluster) => {
                request.context().set_cluster(cluster.name());
                Routed::stage(cluster.stage(), request)
            }
            Leaf::Respond(respond) => {
                // the request's body is dropped unread
                let head_only = *request.method() == http::Method::HEAD;
                Routed::Now(Some(Ok(respond_to(respond, head_only))))
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
        self.call_now(request)
    }
}

/// A cluster that a layer calls by its name.
#[derive(Clone, Debug)]
pub(super) struct ToCluster(pub(super) Weak<Cluster>);

impl Service<Request> for ToCluster {
    type Response = Response;
    type Error = HttpError;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Routed {
        match self.0.upgrade() {
            Some(cluster) => Leaf::Cluster(cluster).call_now(request),
            // its configuration is gone, and the request that began with it has been held up since
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
pub(super) struct RouterService(pub(super) Arc<Router<Target>>);

impl Service<Request> for RouterService {
    type Response = Response;
    type Error = HttpError;
    type Future = Routed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Routed {
        if let Err(rejection) = normalise(&mut request) {
            return Routed::refused(rejection);
        }
        let Some(route) = self.0.route(host(&request), request.uri().path(), request.method()) else {
            return Routed::refused(Rejection::new(Kind::NoRoute));
        };
        // a tunnel leads wherever the endpoint likes: a route that takes it says so
        if *request.method() == http::Method::CONNECT && route.matches.methods.is_empty() {
            return Routed::refused(Rejection::new(Kind::NoRoute));
        }
        request.context().set_route(route.name);
        match &route.target {
            Target::Stage(handle) => Routed::stage(handle.stage(), request),
            Target::Leaf(leaf) => leaf.call_now(request),
        }
    }
}

/// The path as routes see it and the upstream gets it. Nearly always as it came.
fn normalise(request: &mut Request) -> Result<(), Rejection> {
    let Cow::Owned(mut path) = forward::normalise(request.uri().path())? else { return Ok(()) };
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let malformed = |error: http::Error| Rejection::new(Kind::Malformed).because(error);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|error| malformed(error.into()))?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| malformed(error.into()))?;
    Ok(())
}

/// The response future of everything here.
pub(super) enum Routed {
    Stage(StageFuture<Http>),
    Now(Option<Result<Response, HttpError>>),
}

impl Routed {
    fn stage(stage: StageRef<Http>, request: Request) -> Self {
        let mut stage = stage;
        Self::Stage(stage.call(request))
    }

    fn refused(rejection: Rejection) -> Self {
        Self::Now(Some(Err(rejection.into())))
    }
}

impl Future for Routed {
    type Output = Result<Response, HttpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Stage(stage) => Pin::new(stage).poll(cx),
            Self::Now(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => panic!("polled after completion"),
            },
        }
    }
}
