use super::{
    Shared,
    limit::{self, Grant, Limit},
    pool::{self, Acquired, Home, NotOpened, Opened},
    upload::{Upload, UploadError},
    wire::{Line, Wire},
};
use crate::{Body, HttpError, Request, UpstreamError, UpstreamErrorKind, websocket};
use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{Method, StatusCode, header::UPGRADE};
use http_body::{Body as _, Frame, SizeHint};
use mesh_core::{BoxError, Nanos};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{sync::oneshot, task::AbortHandle};

/// What the upstream may send of one response before it is read on.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all responses of a connection together: slow readers do not hold up the others until there are 64.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// After so long without a byte a connection is sent a PING, if a request has been sent on it since the last one.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the answer may take.
const PONG: Duration = Duration::from_secs(3);
/// Streams to open before the upstream has said how many it takes.
const INITIAL_STREAMS: usize = 100;

/// One connection of the pool. It has a task of its own, which ends when the last handle and stream are gone.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
    /// How many streams there had been, and when, at the sweep that first saw it idle.
    idle: Option<(u64, Nanos)>,
    /// When it has become too old for another request.
    pub(super) expires: Nanos,
    line: Line,
    ping: Option<PingPong>,
    silence: Silence,
}

/// What is known of a connection from which nothing has come.
#[derive(Default)]
struct Silence {
    /// The sweep that noticed.
    since: Option<Nanos>,
    asked: Option<Nanos>,
    /// How many streams there had been when it was asked last: a peer is asked no more often than it is sent requests,
    /// since some take more for an attack.
    streams: u64,
}

struct State {
    open: AtomicU32,
    opened: AtomicU64,
    over: AtomicBool,
    limit: Arc<Limit>,
}

impl Http2 {
    /// No further requests can be sent on it.
    pub(super) fn is_over(&mut self) -> bool {
        self.state.over.load(Relaxed)
            || matches!(self.sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Asks a connection for a sign of life that is silent while requests wait. One that gives none is over: it gets no
    /// new request, those on it go on. To be called by each sweep.
    pub(super) fn probe(&mut self, now: Nanos) {
        let Some(ping) = &mut self.ping else { return };
        if self.line.take_received() {
            if self.silence.asked.is_some() {
                let _ = ping.poll_pong(&mut Context::from_waker(Waker::noop()));
            }
            self.silence = Silence { streams: self.silence.streams, ..Silence::default() };
            return;
        }
        let since = *self.silence.since.get_or_insert(now);
        match self.silence.asked {
            Some(asked) if now.since(asked) >= PONG => {
                tracing::debug!("an upstream does not answer a PING, its connection gets no more requests");
                self.state.over.store(true, Relaxed);
            }
            Some(_) => {}
            None => {
                let opened = self.state.opened.load(Relaxed);
                let is_due = opened != self.silence.streams && now.since(since) >= SILENCE;
                if is_due && self.state.open.load(Relaxed) > 0 && ping.send_ping(Ping::opaque()).is_ok() {
                    self.silence.streams = opened;
                    self.silence.asked = Some(now);
                }
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.open.load(Relaxed) == 0
    }

    /// Since when it has been idle as far as the sweeps have seen.
    pub(super) fn idle_since(&mut self, now: Nanos) -> Option<Nanos> {
        let opened = self.state.opened.load(Relaxed);
        self.idle = match self.idle {
            _ if !self.is_idle() => None,
            Some((before, since)) if before == opened => Some((opened, since)),
            _ => Some((opened, now)),
        };
        self.idle.map(|(_, since)| since)
    }

    /// A stream, unless there are as many as the upstream takes. One is always opened: should it take none, `h2`
    /// waits until it does.
    pub(super) fn stream(&mut self) -> Option<Stream> {
        let limit = self.sender.current_max_send_streams().max(1);
        if self.state.open.load(Relaxed) as usize >= limit {
            return None;
        }
        let opened = self.state.opened.fetch_add(1, Relaxed);
        self.state.open.fetch_add(1, Relaxed);
        Some(Stream { sender: self.sender.clone(), slot: Slot(self.state.clone()), first: opened == 0 })
    }
}

/// A place for one request.
pub(super) struct Stream {
    sender: SendRequest<Bytes>,
    slot: Slot,
    /// Whether it is the first of its connection.
    pub(super) first: bool,
}

/// Counts an open stream until it is dropped.
struct Slot(Arc<State>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        if self.0.limit.has_pending() {
            pool::stream_freed(&self.0.limit);
        }
    }
}

/// A stream, on a new connection where no other takes more.
pub(super) async fn acquire(shared: &Arc<Shared>) -> Result<Stream, HttpError> {
    wait(pool::acquire(shared), shared).await
}

/// The same, when it has begun.
pub(super) async fn wait(mut acquired: Acquired, shared: &Arc<Shared>) -> Result<Stream, HttpError> {
    let mut deaths = 0;
    loop {
        let ending = || UpstreamError::new(UpstreamErrorKind::Connect, "the worker is ending");
        let (opened, empty, pending) = match acquired {
            Acquired::Stream(stream) => return Ok(stream),
            Acquired::Wait { opened, empty, _pending } => (opened, empty, _pending),
            Acquired::Full => return Err(limit::full()),
            Acquired::Ending => return Err(ending().into()),
        };
        if empty {
            deaths += 1;
        }
        if deaths > 2 {
            let what = "the upstream closes connections as soon as they are made";
            return Err(UpstreamError::new(UpstreamErrorKind::Reset, what).into());
        }
        match opened.await {
            Ok(Ok(())) => {}
            Ok(Err(NotOpened::Failed(kind, error))) => return Err(UpstreamError::new(kind, error).into()),
            Ok(Err(NotOpened::Full)) => return Err(limit::full()),
            Err(_) => return Err(ending().into()),
        }
        drop(pending);
        acquired = pool::acquire(shared);
    }
}

/// Makes a connection for all who wait, and then runs it.
pub(super) async fn open(shared: Arc<Shared>, number: u64) {
    /// Those who wait hear of it whatever happens to this task.
    struct Told(Option<(Arc<Shared>, u64)>);
    impl Told {
        fn tell(mut self, connection: Option<Http2>, opened: &Opened) {
            if let Some((shared, number)) = self.0.take() {
                pool::opened(&shared, number, connection).into_iter().for_each(|waiter| tell(waiter, opened));
            }
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            if let Some((shared, number)) = self.0.take() {
                pool::opened(&shared, number, None);
            }
        }
    }
    fn tell(waiter: oneshot::Sender<Opened>, opened: &Opened) {
        let _ = waiter.send(opened.clone());
    }

    let told = Told(Some((shared.clone(), number)));
    let timeout = shared.options.connect_timeout;
    let Ok(Grant::Permit(permit)) = shared.limit.admit(0, false, timeout).await else {
        return told.tell(None, &Err(NotOpened::Full));
    };
    if !pool::is_awaited(&shared, number) {
        return;
    }
    let (sender, mut connection, line) = match super::wire::within(timeout, handshake(&shared)).await {
        Ok(made) => made,
        Err(error) => {
            let text = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
            return told.tell(None, &Err(NotOpened::Failed(error.kind(), text)));
        }
    };
    let state = Arc::new(State {
        open: AtomicU32::new(0),
        opened: AtomicU64::new(0),
        over: AtomicBool::new(false),
        limit: shared.limit.clone(),
    });
    let _home = Home::enter(&shared, permit);
    let pooled = Http2 {
        sender,
        state: state.clone(),
        idle: None,
        expires: shared.expiry(),
        line,
        ping: connection.ping_pong(),
        silence: Silence::default(),
    };
    told.tell(Some(pooled), &Ok(()));
    drop(shared);
    // the streams have heard what is to hear
    let _ = connection.await;
    state.over.store(true, Relaxed);
}

/// Connects, and waits for the first bytes of the upstream: its settings, which say how many streams it takes. A
/// peer that takes connections and says nothing is found out here.
async fn handshake(shared: &Shared) -> Result<(SendRequest<Bytes>, Connection<Wire, Bytes>, Line), UpstreamError> {
    let connector = &shared.options.connector;
    let transport = connector.connect(&shared.address, shared.options.connect_timeout).await?;
    let line = Line::default();
    let wire = Wire::new(transport, line.clone());
    let (sender, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(INITIAL_STREAMS)
        .enable_push(false)
        .handshake(wire)
        .await
        .map_err(error_of)?;
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error_of(error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(UpstreamError::new(UpstreamErrorKind::Reset, "closed by the upstream"))),
        Poll::Pending if line.has_received() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok((sender, connection, line))
}

/// A request that brought no response.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    /// The request again, where it can be sent again.
    pub(super) request: Option<Request>,
}

/// A request that was sent, as the future of the head of its response. Dropping it cancels the stream.
pub(super) struct InFlight {
    response: ResponseFuture,
    upload: Upload,
    slot: Option<Slot>,
    kept: Option<http::Request<()>>,
    /// It is an extended CONNECT.
    extended: bool,
}

/// Brings an upgrade to WebSocket into its form in HTTP/2, an extended CONNECT (RFC 8441), where the upstream takes those;
/// else, and to another protocol, it goes on as a request without, which RFC 9110, section 7.8, leaves to us. Whether it is
/// one now.
#[cold]
fn upgrade(request: &mut Request, sender: &SendRequest<Bytes>) -> bool {
    if *request.method() == Method::CONNECT {
        // it has been tried before
        return request.extensions().get::<Protocol>().is_some();
    }
    let protocol = request.headers_mut().remove(UPGRADE);
    // an upgrade to another may be a mere offer, which an extended CONNECT is not
    let protocol = protocol.filter(websocket::is).filter(|_| sender.is_extended_connect_protocol_enabled());
    match protocol {
        Some(_) => {
            request.extensions_mut().insert(Protocol::from_static("websocket"));
            *request.method_mut() = Method::CONNECT;
            true
        }
        None => {
            *request.body_mut().inner_mut() = Body::empty();
            false
        }
    }
}

/// Sends a request. `keep`: be able to send it again where the upstream has not looked at it.
///
/// # Errors
/// The connection, or `h2`, does not take it.
pub(super) fn send(stream: Stream, mut request: Request, keep: bool) -> Result<InFlight, Box<Failed>> {
    let Stream { mut sender, slot, .. } = stream;
    let extended = request.body().inner().is_tunnel() && upgrade(&mut request, &sender);
    let (head, body) = request.into_parts();
    let head = http::Request::from_parts(head, ());
    let kept = keep.then(|| head.clone());
    let is_bodyless = body.is_end_stream();
    match sender.send_request(head, is_bodyless) {
        Ok((response, stream)) => {
            let upload = Upload::new(body, (!is_bodyless).then_some(stream), keep);
            Ok(InFlight { response, upload, slot: Some(slot), kept, extended })
        }
        Err(error) => {
            let request = kept.map(|head| head.map(|()| body));
            Err(Box::new(Failed { error: error_of(error), request }))
        }
    }
}

impl Future for InFlight {
    type Output = Result<http::Response<Http2Body>, Box<Failed>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        if !me.upload.is_over()
            && let Poll::Ready(Err(UploadError::Body(error))) = Pin::new(&mut me.upload).poll(cx)
        {
            let error = UpstreamError::new(UpstreamErrorKind::RequestBody, error);
            return Poll::Ready(Err(Box::new(Failed { error, request: None })));
        }
        // what stops the upload short of its end is told to the response, too
        match ready!(Pin::new(&mut me.response).poll(cx)) {
            Ok(mut response) => {
                if me.extended && response.status().is_success() {
                    // as it is in HTTP/1.1
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                }
                let upload = me.upload.take_rest().map(|rest| tokio::spawn(rest.into_task()).abort_handle());
                let length = response.headers().get(http::header::CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                let slot = me.slot.take();
                Poll::Ready(Ok(response.map(|recv| Http2Body::new(recv, length, slot, upload))))
            }
            Err(error) => {
                let again = me.kept.take().and_then(|head| me.upload.again().map(|body| head.map(|()| body)));
                Poll::Ready(Err(Box::new(Failed { error: error_of(error), request: again })))
            }
        }
    }
}

/// The body of a response. Lets the upstream send more as it is read; dropped before its end it cancels the stream.
pub(crate) struct Http2Body {
    recv: RecvStream,
    /// What is to come, where the head said so.
    remaining: Option<u64>,
    data_done: bool,
    slot: Option<Slot>,
    upload: Option<AbortHandle>,
}

impl Http2Body {
    fn new(recv: RecvStream, remaining: Option<u64>, slot: Option<Slot>, upload: Option<AbortHandle>) -> Self {
        let mut body = Self { recv, remaining, data_done: false, slot, upload };
        if body.recv.is_end_stream() {
            body.finish();
        }
        body
    }

    /// Nothing more will come. The rest of the request, if any, goes on.
    fn finish(&mut self) {
        self.slot = None;
        self.upload = None;
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_done {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // it fails only where the stream is gone, which the next poll says
                    let _ = self.recv.flow_control().release_capacity(bytes.len());
                    self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_done = true,
            }
        }
        self.recv.poll_trailers(cx).map(|trailers| trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

impl http_body::Body for Http2Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        Poll::Ready(match ready!(me.poll_recv(cx)) {
            Some(Ok(frame)) => {
                if frame.is_trailers() || me.recv.is_end_stream() {
                    me.finish();
                }
                Some(Ok(frame))
            }
            // RFC 9113, section 8.1: the response is whole, the upstream only wants no more of the request
            Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                me.finish();
                None
            }
            Some(Err(error)) => {
                me.slot = None;
                Some(Err(error.into()))
            }
            None => {
                me.finish();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What h2's error says of the upstream.
fn error_of(error: h2::Error) -> UpstreamError {
    let kind = if error.is_reset() && error.is_remote() {
        match error.reason() {
            Some(Reason::REFUSED_STREAM) => UpstreamErrorKind::RefusedStream,
            _ => UpstreamErrorKind::Reset,
        }
    } else if error.is_go_away() && error.is_remote() {
        // h2 says so to the streams above the last one that the upstream has looked at, and only to them
        UpstreamErrorKind::RefusedStream
    } else if error.is_io() {
        UpstreamErrorKind::Reset
    } else {
        UpstreamErrorKind::Protocol
    };
    UpstreamError::new(kind, error)
}
