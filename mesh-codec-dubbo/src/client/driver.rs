//! The task of a connection: makes it, writes what calls have left, and hands answers to those who wait.

use super::{
    Shared,
    state::{Failure, Phase},
    wake,
};
use crate::{
    Response, UpstreamError, UpstreamErrorKind,
    call::failure,
    client::Transport,
    frame::{Codec, Event, Frame, Incoming, Status},
    io::{self, Input, Output, ignored},
};
use mesh_core::{
    Nanos,
    time::{self, Sleep},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::AsyncWrite;
use tokio_util::codec::Decoder;

/// How long the socket's other end is listened to after ours has been closed.
const CLOSING: Duration = Duration::from_secs(1);

/// The most bytes of answers of our own that may wait for an upstream that does not read.
const MOST_OF_OWN: usize = 64 * 1024;

/// What the calls are told if the task ends, whatever ends it.
struct Ends {
    shared: Arc<Shared>,
    /// Something came, so that the upstream is there.
    was_good: bool,
    why: Failure,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let options = &self.shared.options;
        let mut wakers = {
            let mut state = self.shared.lock();
            if matches!(state.phase, Phase::ReadOnly) {
                self.shared.set_read_only(false);
            }
            state.phase = if self.was_good {
                state.failures = 0;
                Phase::Idle
            } else {
                let doubled = options.backoff.saturating_mul(1 << state.failures.min(20)).min(options.max_backoff);
                state.failures += 1;
                let wait = doubled.mul_f64(0.8 + 0.4 * fastrand::f64());
                Phase::Failed { until: time::now().plus(wait), why: self.why.clone() }
            };
            state.out.clear();
            state.writing = 0;
            state.task = None;
            let waiting = state.waiting.call_all();
            let mut wakers = state.fail_all(&self.why);
            wakers.extend(waiting);
            wakers
        };
        wake(wakers.drain(..));
    }
}

/// Makes a connection and keeps it as long as it lasts.
pub(super) async fn drive(shared: Arc<Shared>) {
    let why = Failure { kind: UpstreamErrorKind::Reset, text: "the connection's task has ended".into() };
    let mut ends = Ends { shared: shared.clone(), was_good: false, why };
    let options = &shared.options;
    let address = shared.endpoint.address();
    let connecting = options.connector.connect(address, options.connect_timeout);
    let mut timer = time::sleep(options.connect_timeout);
    let mut connecting = std::pin::pin!(connecting);
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected),
        Poll::Pending => Pin::new(&mut timer).poll(cx).map(|()| {
            Err(UpstreamError::new(
                UpstreamErrorKind::ConnectTimeout,
                format!("no answer within {:?}", options.connect_timeout),
            ))
        }),
    })
    .await;
    let transport = match connected {
        Ok(transport) => transport,
        Err(error) => {
            let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            tracing::debug!(%address, error = %text, "no connection");
            ends.why = Failure { kind: error.kind(), text: text.into() };
            return;
        }
    };
    let waiting = {
        let mut state = shared.lock();
        state.phase = Phase::Open;
        state.waiting.call_all()
    };
    wake(waiting);
    let mut connection = Connection::new(transport, &shared);
    ends.why = poll_fn(|cx| connection.poll(cx)).await;
    ends.was_good = connection.has_read;
    tracing::debug!(%address, why = %ends.why.text, "a connection has ended");
    drop(ends);
    connection.close().await;
}

struct Connection<'a> {
    io: Transport,
    shared: &'a Shared,
    codec: Codec,
    input: Input,
    output: Output,
    /// Answers to heartbeats and the like, which calls do not see.
    own: bytes::BytesMut,
    timer: Sleep,
    last_read: Nanos,
    last_written: Nanos,
    last_beat: Nanos,
    has_read: bool,
}

impl<'a> Connection<'a> {
    fn new(io: Transport, shared: &'a Shared) -> Self {
        let now = time::now();
        Self {
            io,
            codec: Codec::new(shared.options.max_body),
            input: Input::new(),
            output: Output::new(),
            own: bytes::BytesMut::new(),
            timer: time::sleep(shared.options.heartbeat),
            last_read: now,
            last_written: now,
            last_beat: now,
            has_read: false,
            shared,
        }
    }

    /// Ready when the connection is of no more use, with the reason.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        while Pin::new(&mut self.timer).poll(cx).is_ready() {
            if let Err(why) = self.look_at_the_clock() {
                return Poll::Ready(why);
            }
        }
        loop {
            if let Err(error) = self.write(cx) {
                return Poll::Ready(reset(&error.to_string()));
            }
            match self.read(cx) {
                Ok(true) => {}
                Ok(false) if self.is_done() => return Poll::Ready(reset("closed, nobody needs it")),
                Ok(false) if self.own.is_empty() || self.output.len() > 0 => return Poll::Pending,
                // what came was ours to answer
                Ok(false) => {}
                Err(why) => return Poll::Ready(why),
            }
        }
    }

    /// Writes what there is, and makes room for calls that wait. Leaves the waker for more.
    fn write(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        loop {
            if self.output.len() == 0 {
                let mut state = self.shared.lock();
                state.out.extend_from_slice(&self.own);
                self.own.clear();
                let has_written = state.writing > 0;
                state.writing = state.out.len();
                if state.out.is_empty() {
                    match &mut state.task {
                        Some(task) => task.clone_from(cx.waker()),
                        task => *task = Some(cx.waker().clone()),
                    }
                } else {
                    self.output.swap(&mut state.out);
                }
                let next = if has_written && self.shared.has_room(&state) { state.waiting.call_one() } else { None };
                drop(state);
                wake(next);
                if self.output.len() == 0 {
                    // what was held back, if anything was
                    self.output.poll_write(&mut self.io, cx)?;
                    return Ok(());
                }
            }
            if self.output.poll_write(&mut self.io, cx)? {
                self.last_written = time::now();
            }
            if self.output.len() > 0 {
                // calls go on to leave theirs; the socket wakes when it takes more
                return Ok(());
            }
        }
    }

    /// Takes what has come. False: there is no more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        match self.input.poll_read(&mut self.io, cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(reset("closed by the upstream")),
            Poll::Ready(Ok(_)) => self.last_read = time::now(),
            Poll::Ready(Err(error)) => return Err(reset(&error.to_string())),
        }
        loop {
            let bad = |error: &dyn std::fmt::Display| Failure {
                kind: UpstreamErrorKind::Protocol,
                text: error.to_string().into(),
            };
            match self.codec.decode(self.input.buffer()).map_err(|error| bad(&error))? {
                None => return Ok(true),
                Some(Incoming::Frame(frame)) => self.take(frame),
                Some(Incoming::TooLong { head, length }) => {
                    let text = format!("an answer of {length} bytes").into();
                    let why = Failure { kind: UpstreamErrorKind::TooLong, text };
                    self.answer(head.id, Err(why));
                }
            }
            self.has_read = true;
        }
    }

    fn take(&mut self, frame: Frame) {
        let head = frame.head;
        if head.flags.is_request() && head.flags.is_two_way() && self.own.len() > MOST_OF_OWN {
            return ignored("flood");
        }
        match frame.event() {
            None if head.flags.is_request() => {
                ignored("callback");
                if head.flags.is_two_way() {
                    let text = "callbacks are not supported through this proxy";
                    failure(head.flags, Status::SERVICE_ERROR, head.id, text).write(&mut self.own);
                }
            }
            None => self.answer(head.id, Ok(Response::from_frame(frame))),
            Some(Event::Heartbeat) if head.flags.is_request() && head.flags.is_two_way() => {
                frame.heartbeat_answer().write(&mut self.own);
            }
            Some(Event::Heartbeat) => {}
            Some(Event::ReadOnly) => self.set_read_only(true),
            Some(Event::Writable) => self.set_read_only(false),
            Some(Event::Other) => ignored("event"),
        }
    }

    fn answer(&mut self, id: u64, answer: Result<Response, Failure>) {
        let answered = self.shared.lock().answer(id, answer);
        match answered {
            Ok(waker) => wake(waker),
            // late: its call was given up
            Err(()) => ignored("response"),
        }
    }

    fn set_read_only(&mut self, is_read_only: bool) {
        let waiting = {
            let mut state = self.shared.lock();
            state.phase = if is_read_only { Phase::ReadOnly } else { Phase::Open };
            state.waiting.call_all()
        };
        self.shared.set_read_only(is_read_only);
        wake(waiting);
    }

    /// Nobody can call any more, and nobody waits.
    fn is_done(&self) -> bool {
        let state = self.shared.lock();
        state.is_closing
            && state.in_flight() == 0
            && state.waiting.len() == 0
            && state.out.is_empty()
            && self.output.len() == 0
    }

    /// Something may be due: a heartbeat, or the end of a connection that is silent.
    fn look_at_the_clock(&mut self) -> Result<(), Failure> {
        let now = time::now();
        let beat = self.shared.options.heartbeat;
        let silent = self.last_read.plus(beat * 3);
        if now >= silent {
            return Err(reset("the upstream is silent"));
        }
        if now >= io::beat_due(self.last_read, self.last_written, self.last_beat, beat) {
            self.last_beat = now;
            let id = self.shared.lock().lone_id();
            Frame::heartbeat(id).write(&mut self.own);
        }
        let due = io::beat_due(self.last_read, self.last_written, self.last_beat, beat);
        self.timer.reset(due.min(silent));
        Ok(())
    }

    /// Closes our end, and the other's after a while.
    async fn close(mut self) {
        let mut timer = time::sleep(CLOSING);
        poll_fn(|cx| {
            if Pin::new(&mut timer).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            Pin::new(&mut self.io).poll_shutdown(cx).map(|_| ())
        })
        .await;
    }
}

fn reset(text: &str) -> Failure {
    Failure { kind: UpstreamErrorKind::Reset, text: text.into() }
}
