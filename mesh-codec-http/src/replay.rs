//! Requests that can be sent again: the body streams on as it is, and what has been read of it is kept for another.

use crate::{Body, Request};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use mesh_core::{BoxError, Replay, http::CallBody};
use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

/// See [`Protocol::replay`](mesh_core::Protocol::replay). Without a body it costs a clone of the head; with one also a
/// copy of what is kept.
pub(crate) fn replay(request: &mut Request, limit: usize) -> Option<Replay<Request>> {
    let context = request.body().context().clone();
    let mut head = http::Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    *head.extensions_mut() = request.extensions().clone();
    let with = move |body| head.clone().map(|()| CallBody::new(context.clone(), body));
    if request.body().is_end_stream() {
        return Some(Replay::new(move || Some(with(Body::empty()))));
    }
    let body = request.body_mut().inner_mut();
    let tape = Arc::new(Tape::new(mem::take(body), limit));
    *body = Body::boxed(Player::new(tape.clone()));
    Some(Replay::new(move || {
        if !tape.can_play_again() {
            return None;
        }
        let request = with(Body::boxed(Player::new(tape.clone())));
        // an attempt that was given up has ended the request, and there is more to send
        request.body().context().reopen_request();
        Some(request)
    }))
}

/// A body and what has been read of it, shared by all who read it: one after the other, or two hedged attempts at once.
struct Tape {
    state: Mutex<State>,
    waiting: Arc<Waiting>,
    limit: usize,
}

struct State {
    source: Source,
    /// Bytes that have come out of the source.
    read: usize,
    /// All of them, unless they are too many.
    kept: Option<Vec<u8>>,
}

enum Source {
    Open(Body),
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

impl Tape {
    fn new(body: Body, limit: usize) -> Self {
        let state = State { source: Source::Open(body), read: 0, kept: Some(Vec::new()) };
        Self { state: Mutex::new(state), waiting: Arc::default(), limit }
    }

    fn can_play_again(&self) -> bool {
        let state = lock(&self.state);
        state.kept.is_some() && !matches!(state.source, Source::Failed)
    }
}

impl State {
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

/// Reads a tape from its beginning, then the source, which it records.
struct Player {
    tape: Arc<Tape>,
    position: usize,
    /// The trailers, or an error, were given.
    is_over: bool,
}

impl Player {
    fn new(tape: Arc<Tape>) -> Self {
        Self { tape, position: 0, is_over: false }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // The others registered before this one did, and would wait for a wake that this one was to pass on.
        self.tape.waiting.wake_all();
    }
}

impl http_body::Body for Player {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
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
        let frame = match ready!(Pin::new(source).poll_frame(&mut Context::from_waker(&waker))) {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    state.keep(data, me.tape.limit);
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
                Some(Err(error))
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

#[cfg(test)]
mod tests;
