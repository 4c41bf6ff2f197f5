//! What follows an upgrade or a CONNECT: bytes both ways, as the bodies of request and response.
//!
//! So what is open on a response (tickets, taps) goes on until the tunnel's upstream half ends, bytes are pulled and
//! counted as ever, and the layers need not know.

use super::connection::{Connection, Open};
use crate::{Body, HttpError, Response, UpstreamError, UpstreamErrorKind, forward::ReceivedHead, websocket};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE},
};
use http_body::{Body as _, Frame};
use hyper::{body::Incoming, ext::Protocol, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use mesh_core::{Context as Call, http::GovernedBody, time};
use pin_project_lite::pin_project;
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::oneshot,
};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// Less room than this is not read into.
const SMALLEST_READ: usize = 4 * 1024;

/// The half of a tunnel that is read, and whoever is to hear when it is read no more.
struct Reader {
    io: Box<dyn AsyncRead + Send + Unpin>,
    _read: oneshot::Sender<()>,
}

/// What a client sends through a tunnel, as the body of its request: nothing until the tunnel is there. Without one it
/// ends.
pub(crate) struct FromClient {
    coming: Option<oneshot::Receiver<Reader>>,
    reader: Option<Reader>,
    chunks: Chunks,
}

impl FromClient {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(coming) = &mut self.coming {
            self.reader = ready!(Pin::new(coming).poll(cx)).ok();
            self.coming = None;
        }
        let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
        let read = ready!(self.chunks.poll_read(Pin::new(&mut reader.io), cx));
        if !matches!(read, Ok(Some(_))) {
            self.reader = None;
        }
        Poll::Ready(read.transpose().map(|read| read.map(Frame::data)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.coming.is_none() && self.reader.is_none()
    }
}

/// Reads a stream in pieces of no more than [`CHUNK`].
#[derive(Default)]
pub(crate) struct Chunks(BytesMut);

impl Chunks {
    /// `None` at the end.
    pub(crate) fn poll_read(
        &mut self,
        io: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Bytes>>> {
        if self.0.len() < SMALLEST_READ {
            self.0.resize(CHUNK, 0);
        }
        let mut buffer = ReadBuf::new(&mut self.0);
        ready!(io.poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        Poll::Ready(Ok((read > 0).then(|| self.0.split_to(read).freeze())))
    }
}

/// A request that asks for a tunnel, until it has an answer.
pub(super) struct Asked {
    reader: oneshot::Sender<Reader>,
    /// HTTP/2: where hyper gives the stream.
    stream: Option<OnUpgrade>,
    how: How,
    /// Which protocol it is asked for, and the key of a WebSocket's handshake.
    upgrade: Option<HeaderValue>,
    key: Option<HeaderValue>,
    call: Call,
}

/// How a client asks for a tunnel.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Upgrade,
    Connect,
    /// The upgrade of HTTP/2 (RFC 8441). Behind here it is one of HTTP/1.1, and so it is routed and answered.
    ExtendedConnect,
}

impl Asked {
    /// Takes over from hyper what `request` asks for, and gives the body it is to have.
    pub(super) fn take(request: &mut http::Request<Incoming>, call: &Call) -> (Box<Self>, Body) {
        // hyper's slot for the stream and the protocol, and nothing else
        let stream = hyper::upgrade::on(&mut *request);
        let protocol = std::mem::take(request.extensions_mut()).remove::<Protocol>();
        let (reader, coming) = oneshot::channel();
        let how = match protocol {
            Some(_) => {
                *request.method_mut() = Method::GET;
                request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                How::ExtendedConnect
            }
            None if *request.method() == Method::CONNECT => How::Connect,
            None => How::Upgrade,
        };
        let stream = (request.version() == http::Version::HTTP_2).then_some(stream);
        // what follows is not of the request
        call.end_request_on_arrival();
        let body = FromClient { coming: Some(coming), reader: None, chunks: Chunks::default() };
        let field = |name| request.headers().get(name).cloned();
        let (upgrade, key) = (field(UPGRADE), field(SEC_WEBSOCKET_KEY));
        (Box::new(Self { reader, stream, how, upgrade, key, call: call.clone() }), Body::from(body))
    }

    /// Whether `status` grants it.
    fn is_granted(&self, status: StatusCode) -> bool {
        match self.how {
            How::Connect => status.is_success(),
            How::Upgrade | How::ExtendedConnect => status == StatusCode::SWITCHING_PROTOCOLS,
        }
    }

    /// The answer as the client gets it. Where it grants the tunnel, that begins behind it.
    pub(super) fn answer(self, response: Response, connection: &Arc<Connection>, open: &mut Option<Open>) -> Response {
        if !self.is_granted(response.status()) {
            return match self.how {
                // to the client that would be a tunnel
                How::ExtendedConnect if response.status().is_success() => not_switched(),
                _ => response,
            };
        }
        self.call.reopen_request();
        let (mut head, body) = response.into_parts();
        match self.how {
            How::Upgrade => {
                head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                // over HTTP/2 an upstream says neither
                if let Some(upgrade) = self.upgrade.filter(|_| !head.headers.contains_key(UPGRADE)) {
                    if let Some(accept) = self.key.as_ref().and_then(websocket::accept) {
                        head.headers.entry(SEC_WEBSOCKET_ACCEPT).or_insert(accept);
                    }
                    head.headers.insert(UPGRADE, upgrade);
                }
            }
            How::Connect => {}
            How::ExtendedConnect => {
                head.status = StatusCode::OK;
                head.headers.remove(UPGRADE);
                // of the handshake of HTTP/1.1 (RFC 8441, section 5)
                head.headers.remove(SEC_WEBSOCKET_ACCEPT);
            }
        }
        if self.how != How::Upgrade {
            head.headers.remove(CONTENT_LENGTH);
            head.headers.remove(TRANSFER_ENCODING);
        }
        let tunnel = Tunnel { body, reader: self.reader, _open: open.take() };
        match self.stream {
            None => connection.set_tunnel(tunnel),
            Some(stream) => {
                let linger = connection.options().idle_timeout;
                tokio::spawn(async move {
                    if let Ok(stream) = stream.await {
                        tunnel.run(TokioIo::new(stream), linger).await;
                    }
                });
            }
        }
        http::Response::from_parts(head, GovernedBody::<Body>::default())
    }
}

/// What a client gets of HTTP/2 whose protocol the upstream does not speak.
#[cold]
fn not_switched() -> Response {
    let mut response = http::Response::new(GovernedBody::<Body>::default());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Whether a client asks by an extended CONNECT for another protocol than WebSocket: nobody here knows what that is in
/// HTTP/1.1.
pub(super) fn is_unknown<B>(request: &http::Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    protocol.is_some_and(|protocol| !protocol.as_str().eq_ignore_ascii_case("websocket"))
}

/// Whether a request that was received asks for a tunnel.
pub(super) fn is_asked(method: &Method, received: &ReceivedHead) -> bool {
    received.upgrade || *method == Method::CONNECT
}

/// An answer that switches protocols though nobody has asked for it.
#[cold]
pub(super) fn unasked() -> HttpError {
    UpstreamError::new(UpstreamErrorKind::Protocol, "it switched protocols unasked").into()
}

/// A tunnel that was granted: what comes from upstream, and where the client's half goes.
pub(super) struct Tunnel {
    body: GovernedBody<Body>,
    reader: oneshot::Sender<Reader>,
    _open: Option<Open>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

impl Tunnel {
    /// Passes bytes until the upstream has ended, and then waits for the client to do so for no longer than `linger`.
    /// Dropping it cuts the tunnel. No more is taken from upstream than the client has taken.
    pub(super) async fn run<I>(self, io: I, linger: Duration)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (read, mut write) = tokio::io::split(io);
        let (reading, read_no_more) = oneshot::channel();
        let _ = self.reader.send(Reader { io: Box::new(read), _read: reading });
        let mut body = pin!(self.body);
        loop {
            match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if write.write_all(&data).await.is_err() || write.flush().await.is_err() {
                        return;
                    }
                }
                // a layer has cut it off, or the upstream has broken off
                Some(Err(_)) => return,
                None => break,
            }
        }
        if write.shutdown().await.is_ok() {
            let mut late = pin!(time::sleep(linger));
            let mut read_no_more = pin!(read_no_more);
            poll_fn(|cx| match read_no_more.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => late.as_mut().poll(cx),
            })
            .await;
        }
    }
}

pin_project! {
    /// A stream with bytes before it that were read already.
    pub(crate) struct Prefixed<I> {
        prefix: Bytes,
        #[pin]
        inner: I,
    }
}

impl<I> Prefixed<I> {
    pub(crate) fn new(prefix: Bytes, inner: I) -> Self {
        Self { prefix, inner }
    }
}

impl<I: AsyncRead> AsyncRead for Prefixed<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.project();
        if me.prefix.is_empty() {
            return me.inner.poll_read(cx, buffer);
        }
        let given = me.prefix.split_to(me.prefix.len().min(buffer.remaining()));
        buffer.put_slice(&given);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite> AsyncWrite for Prefixed<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
