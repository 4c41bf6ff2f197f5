//! Requests that can be sent again: the body streams on as it is, and what has been read of it is kept for another.

use super::CallBody;
use crate::{BoxError, Context};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as Cx, Poll, Wake, Waker, ready},
};

/// What is kept of a request, to send it again: its head, and what has been read of its body so far.
///
/// `wrap` makes a body of the request's own type of a [`ReplayBody`]: `axum::body::Body::new`,
/// `tonic::body::Body::new`.
pub struct Kept<B> {
    // one by one: a whole head is made, and dropped, with values of its own first
    method: http::Method,
    uri: http::Uri,
    version: http::Version,
    headers: HeaderMap,
    extensions: http::Extensions,
    context: Context,
    /// `None`: there is no body.
    tape: Option<Arc<Tape<B>>>,
}

impl<B> fmt::Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("method", &self.method).field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes> + Default> Kept<B> {
    /// Prepares a request to be sent more than once. Its body streams on as it is; up to `limit` bytes of what has been
    /// read are kept. Without a body it costs a clone of the head; with one also a copy of what is kept.
    pub fn keep(request: &mut http::Request<CallBody<B>>, limit: usize, wrap: impl FnOnce(ReplayBody<B>) -> B) -> Self {
        let tape = (!request.body().is_end_stream()).then(|| {
            let body = request.body_mut().inner_mut();
            let tape = Arc::new(Tape::new(mem::take(body), limit));
            *body = wrap(ReplayBody::new(tape.clone()));
            tape
        });
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            context: request.body().context().clone(),
            tape,
        }
    }

    /// The request once more. `None`, now and for good: more of its body has been read than is kept, or the body has
    /// failed. Two attempts may read at once; one that falls behind by more than what is kept fails.
    pub fn again(&self, wrap: impl FnOnce(ReplayBody<B>) -> B) -> Option<http::Request<CallBody<B>>> {
        let body = match &self.tape {
            None => B::default(),
            Some(tape) if !tape.can_play_again() => return None,
            Some(tape) => {
                // an attempt that was given up has ended the request, and there is more to send
                self.context.reopen_request();
                wrap(ReplayBody::new(tape.clone()))
            }
        };
        let mut request = http::Request::new(CallBody::new(self.context.clone(), body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        Some(request)
    }
}

/// A body and what has been read of it, shared by all who read it: one after the other, or two hedged attempts at once.
struct Tape<B> {
    state: Mutex<State<B>>,
    waiting: Arc<Waiting>,
    limit: usize,
}

struct State<B> {
    source: Source<B>,
    /// Bytes that have come out of the source.
    read: usize,
    /// All of them, unless they are too many.
    kept: Option<Vec<u8>>,
}

enum Source<B> {
    Open(B),
    Ended(Option<HeaderMap>),
    Failed,
}

/// All who wait for the source: it knows only one waker.
#[derive(Default)]
struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    fn add(&self, waker: &Waker) {
        let mut waiting = lock(&self.0);
        if !waiting.iter().any(|present| present.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        // outside the lock: a waker may poll at once
        let waiting = mem::take(&mut *lock(&self.0));
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Tape<B> {
    fn new(body: B, limit: usize) -> Self {
        let state = State { source: Source::Open(body), read: 0, kept: Some(Vec::new()) };
        Self { state: Mutex::new(state), waiting: Arc::default(), limit }
    }

    fn can_play_again(&self) -> bool {
        let state = lock(&self.state);
        state.kept.is_some() && !matches!(state.source, Source::Failed)
    }
}

impl<B> State<B> {
    /// Bytes came out of the source.
    fn keep(&mut self, data: &[u8], limit: usize) {
        self.read += data.len();
        if self.read > limit {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(data);
        }
    }
}

/// The body of one attempt: what has been read of the request by others, and then the source, which it records.
pub struct ReplayBody<B> {
    tape: Arc<Tape<B>>,
    position: usize,
    /// The trailers, or an error, were given.
    is_over: bool,
}

impl<B> ReplayBody<B> {
    fn new(tape: Arc<Tape<B>>) -> Self {
        Self { tape, position: 0, is_over: false }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        // The others registered before this one did, and would wait for a wake that this one was to pass on.
        self.tape.waiting.wake_all();
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        if me.is_over {
            return Poll::Ready(None);
        }
        let state = &mut *lock(&me.tape.state);
        if me.position < state.read {
            return Poll::Ready(Some(match &state.kept {
                Some(kept) => {
                    let data = Bytes::copy_from_slice(&kept[me.position..]);
                    me.position = state.read;
                    Ok(Frame::data(data))
                }
                None => {
                    me.is_over = true;
                    Err("another attempt has read more of the request's body than is kept".into())
                }
            }));
        }
        let source = match &mut state.source {
            Source::Open(source) => source,
            Source::Ended(trailers) => {
                me.is_over = true;
                return Poll::Ready(trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            Source::Failed => {
                me.is_over = true;
                return Poll::Ready(Some(Err("the request's body has failed".into())));
            }
        };
        me.tape.waiting.add(cx.waker());
        let waker = Waker::from(me.tape.waiting.clone());
        let frame = match ready!(Pin::new(source).poll_frame(&mut Cx::from_waker(&waker))) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    // nothing is kept any more when nobody can send the request again
                    let limit = if Arc::strong_count(&me.tape) > 1 { me.tape.limit } else { 0 };
                    state.keep(data, limit);
                    me.position = state.read;
                } else if let Some(trailers) = frame.trailers_ref() {
                    state.source = Source::Ended(Some(trailers.clone()));
                    me.is_over = true;
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                state.source = Source::Failed;
                me.is_over = true;
                Some(Err(error.into()))
            }
            None => {
                state.source = Source::Ended(None);
                me.is_over = true;
                None
            }
        };
        me.tape.waiting.wake_all();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.tape.state);
        self.is_over
            || self.position == state.read
                && match &state.source {
                    Source::Open(source) => source.is_end_stream(),
                    Source::Ended(trailers) => trailers.is_none(),
                    Source::Failed => false,
                }
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.tape.state);
        let behind = (state.read - self.position) as u64;
        let rest = match &state.source {
            Source::Open(source) => source.size_hint(),
            Source::Ended(_) => SizeHint::with_exact(0),
            Source::Failed => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + behind);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + behind);
        }
        hint
    }
}
