use crate::Body;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame, SizeHint};
use mesh_core::{BoxError, Context as Call, http::CallBody};
use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// More than this is not kept of what was sent.
const MAX_KEPT: usize = 64 * 1024;

/// Sends the body of a request over HTTP/2. A frame is taken from it only when the one before has found room in the
/// window of the upstream: no more than one waits.
pub(super) struct Upload {
    /// `None`: all of it was taken.
    body: Option<CallBody<Body>>,
    stream: Option<SendStream<Bytes>>,
    /// A frame that waits for the window, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
    sent: Sent,
    call: Call,
}

/// What is kept of what was sent, in case the upstream has refused the stream without looking at it. One frame: that
/// is all there is of a unary gRPC call. It is shared, not copied.
enum Sent {
    Nothing,
    First(Bytes),
    TooMuch,
}

/// Why not all was sent.
pub(super) enum UploadError {
    /// The body failed.
    Body(BoxError),
    /// The upstream wants no more; its response says why.
    Stopped,
}

impl Upload {
    /// `stream`: none where there is nothing to send. `keep`: what was sent, for [`Upload::again`].
    pub(super) fn new(body: CallBody<Body>, stream: Option<SendStream<Bytes>>, keep: bool) -> Self {
        let (sent, call) = match keep {
            true => (Sent::Nothing, body.context().clone()),
            false => (Sent::TooMuch, Call::none()),
        };
        let body = stream.is_some().then_some(body);
        Self { body, stream, waiting: None, sent, call }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    /// What is left to do, if anything.
    pub(super) fn take_rest(&mut self) -> Option<Self> {
        let stream = Some(self.stream.take()?);
        let (body, waiting) = (self.body.take(), self.waiting.take());
        Some(Self { body, stream, waiting, sent: Sent::TooMuch, call: Call::none() })
    }

    /// The body once more, if what was sent of it was kept.
    pub(super) fn again(&mut self) -> Option<CallBody<Body>> {
        let call = mem::take(&mut self.call);
        let body = match (mem::replace(&mut self.sent, Sent::TooMuch), self.body.take()) {
            (Sent::TooMuch, _) => return None,
            (Sent::Nothing, Some(body)) => return Some(body),
            (Sent::Nothing, None) => return Some(CallBody::new(call, Body::empty())),
            (Sent::First(first), None) => Body::full(first),
            (Sent::First(first), Some(rest)) => Body::boxed(Before { first: Some(Ok(first)), rest: rest.into_inner() }),
        };
        call.reopen_request();
        Some(CallBody::new(call, body))
    }

    /// Goes on without anybody who waits for it.
    pub(super) async fn into_task(self) {
        let _ = self.await;
    }

    fn keep(&mut self, frame: &Bytes) {
        self.sent = match &self.sent {
            Sent::Nothing if frame.len() <= MAX_KEPT => Sent::First(frame.clone()),
            _ => Sent::TooMuch,
        };
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
            // also makes this task wake when the upstream resets the stream
            if stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(UploadError::Stopped));
            }
            if let Some((frame, last)) = self.waiting.take() {
                if stream.capacity() == 0 {
                    // an empty grant is a change of the window that leaves nothing for this stream
                    match stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(UploadError::Stopped)),
                        Poll::Pending => {
                            self.waiting = Some((frame, last));
                            return Poll::Pending;
                        }
                    }
                    if stream.capacity() == 0 {
                        self.waiting = Some((frame, last));
                        continue;
                    }
                }
                if stream.send_data(frame, last).is_err() {
                    return Poll::Ready(Err(UploadError::Stopped));
                }
                if last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let last = body.is_end_stream();
                        if last {
                            self.body = None;
                        }
                        if data.is_empty() && !last {
                            continue;
                        }
                        if !data.is_empty() {
                            // One byte: who has nothing at hand yet holds none of the connection's window, and
                            // `send_data` asks for the rest.
                            stream.reserve_capacity(1);
                            self.keep(&data);
                            self.waiting = Some((data, last));
                        } else if stream.send_data(data, true).is_err() {
                            return Poll::Ready(Err(UploadError::Stopped));
                        } else {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        self.body = None;
                        self.sent = Sent::TooMuch;
                        stream.reserve_capacity(0);
                        let sent = stream.send_trailers(trailers).map_err(|_| UploadError::Stopped);
                        return Poll::Ready(sent);
                    }
                },
                Some(Err(error)) => {
                    stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(UploadError::Body(error)));
                }
                None => {
                    self.body = None;
                    let sent = stream.send_data(Bytes::new(), true).map_err(|_| UploadError::Stopped);
                    return Poll::Ready(sent);
                }
            }
        }
    }
}

impl Future for Upload {
    type Output = Result<(), UploadError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        let result = ready!(me.poll_upload(cx));
        me.stream = None;
        Poll::Ready(result)
    }
}

/// A body with something before it.
pub(super) struct Before {
    pub(super) first: Option<Result<Bytes, BoxError>>,
    pub(super) rest: Body,
}

impl http_body::Body for Before {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        match me.first.take() {
            Some(first) => Poll::Ready(Some(first.map(Frame::data))),
            None => Pin::new(&mut me.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        match (&self.first, rest.exact()) {
            (None, _) => rest,
            (Some(Ok(first)), Some(exact)) => SizeHint::with_exact(exact + first.len() as u64),
            (Some(_), _) => SizeHint::default(),
        }
    }
}
