use super::{
    answer::{Reset, answer_to},
    connection::{Connection, Open},
    deadline::{Deadline, passed},
    limited::limited,
    tunnel::{Asked, is_asked, is_unknown, unasked},
};
use crate::{Body, HttpError, Request, Response, forward::received};
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH},
};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use mesh_core::{
    BoxError, Kind, Name, Outcome, Rejection, drop_as,
    http::{CallBody, GovernedBody},
};
use pin_project_lite::pin_project;
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll, ready},
};
use tower_service::Service;

/// The service of a connection as hyper calls it.
pub(super) struct Calls<S> {
    connection: Arc<Connection>,
    /// hyper calls by `&self`, from one place and never within a call.
    service: RefCell<S>,
}

impl<S> Calls<S> {
    pub(super) fn new(connection: Arc<Connection>, service: S) -> Self {
        Self { connection, service: RefCell::new(service) }
    }
}

impl<S> hyper::service::Service<http::Request<Incoming>> for Calls<S>
where
    S: Service<Request, Response = Response, Error = HttpError>,
{
    type Response = http::Response<ServedBody>;
    type Error = Reset;
    type Future = Call<S::Future>;

    fn call(&self, mut request: http::Request<Incoming>) -> Call<S::Future> {
        let arrived = self.connection.arrival();
        let received = match self.check(&request) {
            Ok(()) => received(&mut request, self.connection.rules()),
            Err(rejection) => Err(rejection),
        };
        let is_http1 = request.version() < Version::HTTP_2;
        let mut call = Call {
            inner: None,
            refused: None,
            deadline: None,
            tunnel: None,
            closes: false,
            open: Some(Open::new(&self.connection)),
            grpc: self.connection.always_answers_grpc(),
            head: *request.method() == Method::HEAD,
        };
        let received = match received {
            Ok(received) => received,
            Err(rejection) => {
                // who sends such a head may mean something else by what comes behind it
                call.closes = is_http1;
                let context = self.connection.begin(arrived, call.grpc, None);
                call.refused = Some(self.connection.refuse(request, context, rejection));
                return call;
            }
        };
        call.grpc |= received.grpc;
        let context = self.connection.begin(arrived, received.grpc, received.client);
        if let Some(timeout) = received.grpc_timeout {
            let deadline = arrived.plus(timeout);
            if timeout.is_zero() {
                call.refused = Some(self.connection.refuse(request, context, passed()));
                return call;
            }
            context.limit_deadline(deadline);
            call.deadline = Some(Deadline::at(deadline));
        }
        if is_asked(request.method(), &received) {
            if is_unknown(&request) {
                let rejection = Rejection::new(Kind::Malformed).because("a CONNECT for an unknown protocol");
                call.refused = Some(self.connection.refuse(request, context, rejection));
                return call;
            }
            let (asked, body) = Asked::take(&mut request, &context);
            call.tunnel = Some((asked, self.connection.clone()));
            context.set_protocol(Name::TUNNEL);
            let request = request.map(|_| CallBody::new(context, body));
            call.inner = Some(self.service.borrow_mut().call(request));
            return call;
        }
        let request = request.map(|body| {
            let body = match self.connection.options().body {
                None => Body::from(body),
                Some(most) => limited(body, most),
            };
            if body.is_end_stream() {
                context.end_request_on_arrival();
            }
            CallBody::new(context, body)
        });
        call.inner = Some(self.service.borrow_mut().call(request));
        call
    }
}

impl<S> Calls<S> {
    /// What hyper lets pass and we do not.
    fn check(&self, request: &http::Request<Incoming>) -> Result<(), Rejection> {
        let options = self.connection.options();
        if request.headers().len() > options.headers {
            return Err(Rejection::new(Kind::HeadersTooLarge));
        }
        if options.body.is_some_and(|most| request.body().size_hint().lower() > most) {
            return Err(Rejection::new(Kind::BodyTooLarge));
        }
        Ok(())
    }
}

pin_project! {
    /// A call under way, until it has an answer.
    pub(super) struct Call<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<Rejection>,
        deadline: Option<Deadline>,
        tunnel: Option<(Box<Asked>, Arc<Connection>)>,
        open: Option<Open>,
        closes: bool,
        grpc: bool,
        head: bool,
    }
}

impl<F> Future for Call<F>
where
    F: Future<Output = Result<Response, HttpError>>,
{
    type Output = Result<http::Response<ServedBody>, Reset>;

    fn poll(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let result = match me.inner.as_mut().as_pin_mut() {
            Some(inner) => match (inner.poll(cx), me.deadline.as_mut()) {
                (Poll::Ready(result), _) => result,
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Pending, Some(deadline)) => {
                    let passed = ready!(deadline.poll(cx));
                    drop_as(Outcome::TimedOut, || me.inner.set(None));
                    Err(passed.into())
                }
            },
            None => match me.refused.take() {
                Some(rejection) => Err(rejection.into()),
                None => panic!("polled after completion"),
            },
        };
        let mut response = match result {
            Ok(response) => response,
            Err(error) => match answer_to(&error, *me.grpc) {
                Ok(answer) => {
                    let left = *me.closes || answer.status() == StatusCode::PAYLOAD_TOO_LARGE;
                    me.open.iter().filter(|_| left).for_each(Open::leave_unread);
                    answer
                }
                Err(reset) => return Poll::Ready(Err(reset)),
            },
        };
        if let Some((asked, connection)) = me.tunnel.take() {
            response = asked.answer(response, &connection, me.open);
        } else if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            match answer_to(&unasked(), *me.grpc) {
                Ok(answer) => response = answer,
                Err(reset) => return Poll::Ready(Err(reset)),
            }
        }
        if *me.closes {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // an answer to HTTP/1.0 is made one by hyper
        *response.version_mut() = Version::HTTP_11;
        if let Some(deadline) = me.deadline.take()
            && !response.body().is_end_stream()
        {
            response.body_mut().guards_mut().tap(Box::new(deadline));
        }
        if *me.head {
            response = without_body(response);
        }
        let (open, bodyless) = (me.open.take(), *me.head);
        if open.as_ref().is_some_and(Open::is_last) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|inner| ServedBody { inner, bodyless, broken: None, _open: open })))
    }
}

/// An answer to HEAD says how long its body would be and has none.
fn without_body(mut response: Response) -> Response {
    let exact = response.body().size_hint().exact();
    if let Some(length) = exact.filter(|length| *length > 0)
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|body| body.bodyless(true))
}

pin_project! {
    /// The body of a response as hyper writes it. The request is open as long as this is.
    pub(super) struct ServedBody {
        #[pin]
        inner: GovernedBody<Body>,
        bodyless: bool,
        broken: Option<BoxError>,
        _open: Option<Open>,
    }
}

impl http_body::Body for ServedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.project();
        if *me.bodyless {
            return Poll::Ready(None);
        }
        if let Some(error) = me.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut polled = me.inner.poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = polled
            && let Poll::Ready(Some(Err(error))) = std::mem::replace(&mut polled, Poll::Pending)
        {
            // hyper throws away at an error what it has not written: it is told one turn later
            *me.broken = Some(error);
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.bodyless || (self.broken.is_none() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.bodyless { SizeHint::with_exact(0) } else { self.inner.size_hint() }
    }
}
