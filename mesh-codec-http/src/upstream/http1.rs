use super::{
    Shared, pool,
    wire::{Line, Wire},
};
use crate::{Body, Request, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use mesh_core::{BoxError, Nanos, http::CallBody};
use std::{
    future::poll_fn,
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
    answered: bool,
    /// When a sweep first saw it idle.
    pub(super) idle_since: Option<Nanos>,
    pub(super) home: pool::Home,
}

/// A request that brought no response.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    /// The request, where nothing of it was sent.
    pub(super) unsent: Option<Request>,
}

impl Http1 {
    /// Connects.
    pub(super) async fn open(shared: &Arc<Shared>) -> Result<Box<Self>, UpstreamError> {
        let timeout = shared.options.connect_timeout;
        let connecting = shared.options.connector.connect(&shared.address, timeout);
        let transport = super::wire::within(timeout, connecting).await?;
        let line = Arc::new(Line::default());
        let io = TokioIo::new(Wire::new(transport, line.clone()));
        let (sender, connection) = Builder::new().handshake(io).await.map_err(error_of)?;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            waker: Waker::from(line.clone()),
            line,
            answered: false,
            idle_since: None,
            home: pool::Home::enter(shared),
        }))
    }

    /// Whether it has brought a response before.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether a request can be sent on it. Costs two loads while nothing was heard of its socket.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.line.is_woken() {
            // most likely it was closed; to poll it is to see that
            self.poll_connection(&mut Context::from_waker(Waker::noop()));
            self.line.leave();
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Before it is put aside: nobody waits for it any more.
    pub(super) fn leave(&mut self) {
        self.line.leave();
    }

    /// Polls the connection. Wakes from inside it stay in the line, see [`Line::hand_on`].
    fn poll_connection(&mut self, cx: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else { return };
        self.line.mute(cx.waker());
        // how it ended is told to whoever awaits a response or a body
        if Pin::new(connection).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.connection = None;
        }
        self.line.unmute();
    }

    /// Sends a request and awaits the head of its response. With `record` what is sent is kept for
    /// [`Http1::recorded`]. Dropping the future leaves the connection in the middle of a message: drop it, too.
    pub(super) async fn exchange(
        &mut self,
        request: Request,
        record: bool,
    ) -> Result<http::Response<Incoming>, Box<Failed>> {
        self.line.begin(record);
        self.line.mute(Waker::noop());
        // What it resolves with comes from the connection alone, which is polled right before it: so it needs no
        // waker, and must not be stopped by tokio's budget, which counts on one.
        let mut response = pin!(unconstrained(self.sender.try_send_request(request)));
        let result = poll_fn(|cx| {
            self.poll_connection(cx);
            let polled = response.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_pending() {
                self.line.hand_on(cx.waker());
            }
            polled
        })
        .await;
        result.map_err(|mut failed| {
            let unsent = failed.take_message();
            Box::new(Failed { error: error_of(failed.into_error()), unsent })
        })
    }

    /// The head that was sent, if it was recorded and no byte has come back.
    pub(super) fn recorded(&self) -> Option<http::Request<()>> {
        super::head::parse(&self.line.recorded()?)
    }

    /// What becomes of the connection when the head of a response has come, and its body.
    /// `uploading`: the request may not have been sent to its end.
    pub(super) fn respond(mut self: Box<Self>, body: Incoming, uploading: bool) -> Body {
        self.answered = true;
        if self.sender.is_ready() {
            // the whole response is here: the usual case of a small one
            pool::park(self);
            return Body::from(body);
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
            connection.poll_connection(&mut Context::from_waker(Waker::noop()));
        }
        if connection.sender.is_ready() {
            pool::park(connection);
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        connection.line.mute(cx.waker());
        let first = Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(&connection.waker));
        connection.line.unmute();
        if first.is_ready() {
            return first;
        }
        connection.poll_connection(cx);
        let second = Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(&connection.waker));
        if second.is_pending() {
            connection.line.hand_on(cx.waker());
        }
        second
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
fn error_of(error: hyper::Error) -> UpstreamError {
    let kind = if error.is_user() {
        UpstreamErrorKind::RequestBody
    } else if error.is_parse() {
        UpstreamErrorKind::Protocol
    } else {
        UpstreamErrorKind::Reset
    };
    UpstreamError::new(kind, error)
}
