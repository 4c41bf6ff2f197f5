use super::{
    Shared,
    limit::Permit,
    pool,
    upload::Before,
    wire::{Line, Wire},
};
use crate::{Body, Request, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, Connection, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use mesh_core::{BoxError, Nanos, http::CallBody};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};
use tokio::task::coop::unconstrained;

/// One connection. Who awaits a response or reads a body owns it and polls it, so no second task is woken for each
/// message; while it is idle its [`Line`] notes whether its socket was heard of. Dropping it closes it.
pub(crate) struct Http1 {
    sender: SendRequest<CallBody<Body>>,
    /// `None`: it is over.
    connection: Option<Connection<TokioIo<Wire>, CallBody<Body>>>,
    line: Arc<Line>,
    waker: Waker,
    /// When it has become too old for another request.
    pub(super) expires: Nanos,
    /// When a sweep first saw it idle.
    pub(super) idle_since: Option<Nanos>,
    pub(super) home: pool::Home,
}

/// What became of a request that was sent. The error has the request where nothing of it was written.
pub(super) type Sent = Result<http::Response<Incoming>, TrySendError<Request>>;

impl Http1 {
    /// Connects.
    pub(super) async fn open(shared: &Arc<Shared>, permit: Permit) -> Result<Box<Self>, UpstreamError> {
        let timeout = shared.options.connect_timeout;
        let connecting = shared.options.connector.connect(&shared.address, timeout);
        let transport = super::wire::within(timeout, connecting).await?;
        let line = Arc::new(Line::default());
        let waker = Waker::from(line.clone());
        let io = TokioIo::new(Wire::new(transport, line.clone()).known_when_quiet(&waker));
        let (sender, connection) = Builder::new().handshake(io).await.map_err(error_of)?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            waker,
            line,
            expires: shared.expiry(),
            idle_since: None,
            home: pool::Home::enter(shared, permit),
        }))
    }

    /// Whether a request can be sent on it. Costs two loads while nothing was heard of its socket.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.line.is_woken() {
            // most likely it was closed; to poll it is to see that
            self.line.hold();
            self.poll_connection();
            self.line.leave();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Polls the connection. To be called while its line is held, and by whom waits.
    fn poll_connection(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        // how it ended is told to whoever awaits a response or a body
        if Pin::new(connection).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.connection = None;
        }
    }

    /// Sends a request, when what it gives back is passed to [`Http1::poll_response`]. With `record` what is sent is
    /// kept for [`Http1::recorded`].
    pub(super) fn send(&mut self, request: Request, record: bool) -> impl Future<Output = Sent> + Send + use<> {
        self.line.begin(record);
        self.line.hold();
        self.sender.try_send_request(request)
    }

    /// The head of the response to what was sent. Whoever stops polling drops the connection, too: it is in the middle
    /// of a message.
    pub(super) fn poll_response(
        &mut self,
        sent: Pin<&mut impl Future<Output = Sent>>,
        cx: &mut Context<'_>,
    ) -> Poll<Sent> {
        self.line.hold();
        self.poll_connection();
        // What it resolves with comes from the connection alone, which was just polled: so it needs no waker, and must
        // not be stopped by tokio's budget, which counts on one.
        let polled = pin!(unconstrained(sent)).poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() {
            self.line.listen(cx.waker());
        }
        polled
    }

    /// The head that was sent, if it was recorded and no byte has come back.
    pub(super) fn recorded(&self) -> Option<http::Request<()>> {
        super::head::parse(&self.line.recorded()?)
    }

    /// What becomes of the connection when the head of a response has come, and its body.
    /// `uploading`: the request may not have been sent to its end.
    pub(super) fn respond(self: Box<Self>, body: Incoming, uploading: bool) -> Body {
        if self.sender.is_ready() {
            // the whole response is here: the usual case of a small one
            let body = whole(body);
            pool::park(self);
            return body;
        }
        if body.is_end_stream() {
            return Body::empty();
        }
        if uploading {
            // The reader of the response may wait for the request to go on, so both cannot wait for the reader: from
            // here on the connection has a task. It is not used again.
            let Self { connection, home, .. } = *self;
            if let Some(connection) = connection {
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(home);
                });
            }
            return Body::from(body);
        }
        Body::from(Http1Body { incoming: body, connection: Some(self) })
    }

    pub(super) fn leave(&mut self) {
        self.line.leave();
    }
}

/// A body that has come as a whole. Where its length is known it is taken out of the channel it came through: to do so
/// later would wake the connection, which is then idle or another request's.
fn whole(mut body: Incoming) -> Body {
    if body.is_end_stream() || body.size_hint().exact().is_none() {
        return Body::from(body);
    }
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) if body.is_end_stream() => Body::full(data),
            Ok(data) => Body::boxed(Before { first: Some(Ok(data)), rest: Body::from(body) }),
            Err(_) => Body::empty(),
        },
        Poll::Ready(Some(Err(error))) => Body::boxed(Before { first: Some(Err(error.into())), rest: Body::empty() }),
        Poll::Ready(None) => Body::empty(),
        Poll::Pending => Body::from(body),
    }
}

/// The body of a response that is still coming. Gives its connection back at its end.
pub(crate) struct Http1Body {
    incoming: Incoming,
    connection: Option<Box<Http1>>,
}

impl Http1Body {
    /// The connection is free, or broken.
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if !connection.sender.is_ready() {
            connection.line.hold();
            connection.poll_connection();
        }
        if connection.sender.is_ready() {
            pool::park(connection);
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        connection.line.hold();
        let incoming = Pin::new(&mut self.incoming);
        let here = incoming.poll_frame(&mut Context::from_waker(&connection.waker));
        if here.is_ready() {
            return here;
        }
        connection.poll_connection();
        let incoming = Pin::new(&mut self.incoming);
        let come = incoming.poll_frame(&mut Context::from_waker(&connection.waker));
        if come.is_pending() {
            connection.line.listen(cx.waker());
        }
        come
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        match ready!(me.poll_incoming(cx)) {
            Some(Ok(frame)) => {
                if frame.is_trailers() || me.incoming.is_end_stream() {
                    me.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                me.connection = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                me.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What hyper's error says of the upstream.
pub(super) fn error_of(error: hyper::Error) -> UpstreamError {
    let kind = if error.is_user() {
        UpstreamErrorKind::RequestBody
    } else if error.is_parse() {
        UpstreamErrorKind::Protocol
    } else {
        UpstreamErrorKind::Reset
    };
    UpstreamError::new(kind, error)
}
