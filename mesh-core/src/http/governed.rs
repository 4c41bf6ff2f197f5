use super::{CallBody, GovernedBody, answer, deadline_from_grpc_timeout, is_grpc};
use crate::{Context, Name, Refusable, Rejection, time};
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    task::{Context as Cx, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Puts layers around a service over HTTP: a layer, a tuple of layers (the first is outermost), or a
/// [`Pipeline`](crate::Pipeline). One per request path: a second would start a new record of the call.
///
/// A request's `grpc-timeout` becomes its deadline. The service inside is given the request's body as it came, so the
/// request counts as ended when it is handed over.
pub fn governed<L>(layers: L) -> GovernedLayer<L> {
    GovernedLayer(layers)
}

/// See [`governed`].
#[derive(Clone, Copy, Debug)]
pub struct GovernedLayer<L>(L);

impl<S, L: Layer<Lifted<S>>> Layer<S> for GovernedLayer<L> {
    type Service = Answered<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        Answered { inner: self.0.layer(Lifted(inner)), refused: None }
    }
}

/// Innermost: any body and any error become governed.
#[derive(Clone, Debug)]
pub struct Lifted<S>(S);

/// A service whose body and error are governed, as the leaf of a [`Stage`](crate::Stage) or a stack of one's own.
/// [`governed`] has this inside.
pub fn lift<S>(service: S) -> Lifted<S> {
    Lifted(service)
}

impl<S, Q, B> Service<http::Request<CallBody<Q>>> for Lifted<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    B: Body,
{
    type Response = http::Response<GovernedBody<B>>;
    type Error = Refusable<S::Error>;
    type Future = LiftedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Refusable::Inner)
    }

    fn call(&mut self, request: http::Request<CallBody<Q>>) -> Self::Future {
        let head = *request.method() == http::Method::HEAD;
        // here it leaves what is governed
        request.body().context().begin_attempt();
        LiftedFuture { inner: self.0.call(request.map(CallBody::into_inner)), head }
    }
}

pin_project! {
    /// The response future of [`Lifted`].
    pub struct LiftedFuture<F> {
        #[pin]
        inner: F,
        head: bool,
    }
}

impl<F, B, E> Future for LiftedFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    B: Body,
{
    type Output = Result<http::Response<GovernedBody<B>>, Refusable<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let me = self.project();
        Poll::Ready(match ready!(me.inner.poll(cx)) {
            Ok(response) => {
                let bodyless = *me.head || matches!(response.status().as_u16(), 204 | 304);
                let grpc = is_grpc(response.headers());
                Ok(response.map(|body| GovernedBody::new(body).grpc(grpc).bodyless(bodyless)))
            }
            Err(error) => Err(Refusable::Inner(error)),
        })
    }
}

/// The outer half of [`governed`], for a stack that has leaves of its own: a balancer over [lifted](lift) services. One
/// per request path, as there.
pub fn answered<S>(service: S) -> Answered<S> {
    Answered { inner: service, refused: None }
}

/// Outermost: a record of the call begins, and refusals become answers. The error is the service's own again.
#[derive(Debug)]
pub struct Answered<S> {
    inner: S,
    /// A refusal of readiness has no request to answer yet: the next call gets it.
    refused: Option<Rejection>,
}

impl<S: Clone> Clone for Answered<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), refused: None }
    }
}

impl<S, Q, B, E> Service<http::Request<Q>> for Answered<S>
where
    S: Service<http::Request<CallBody<Q>>, Response = http::Response<GovernedBody<B>>, Error = Refusable<E>>,
    Q: Body,
    B: Body,
{
    type Response = S::Response;
    type Error = E;
    type Future = AnsweredFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), E>> {
        match ready!(self.inner.poll_ready(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Refusable::Inner(error)) => Poll::Ready(Err(error)),
            Err(Refusable::Refused(rejection)) => {
                self.refused = Some(rejection);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        if let Some(rejection) = self.refused.take() {
            return AnsweredFuture { inner: None, refused: Some(rejection), grpc };
        }
        let arrived = time::now();
        let context = Context::begin(arrived, None);
        context.set_protocol(if grpc { Name::GRPC } else { Name::HTTP });
        if grpc && let Some(deadline) = deadline_from_grpc_timeout(request.headers(), arrived) {
            context.limit_deadline(deadline);
        }
        if request.body().is_end_stream() {
            context.end_request_on_arrival();
        }
        let request = request.map(|body| CallBody::new(context, body));
        AnsweredFuture { inner: Some(self.inner.call(request)), refused: None, grpc }
    }
}

pin_project! {
    /// The response future of [`Answered`].
    pub struct AnsweredFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<Rejection>,
        grpc: bool,
    }
}

impl<F, B, E> Future for AnsweredFuture<F>
where
    F: Future<Output = Result<http::Response<GovernedBody<B>>, Refusable<E>>>,
    B: Body,
{
    type Output = Result<http::Response<GovernedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let rejection = match me.inner.as_pin_mut() {
            Some(inner) => match ready!(inner.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(Refusable::Inner(error)) => return Poll::Ready(Err(error)),
                Err(Refusable::Refused(rejection)) => rejection,
            },
            None => match me.refused.take() {
                Some(rejection) => rejection,
                None => panic!("polled after completion"),
            },
        };
        Poll::Ready(Ok(answer(&rejection, *me.grpc)))
    }
}
