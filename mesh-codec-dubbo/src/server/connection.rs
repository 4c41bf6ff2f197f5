//! One connection of a consumer.

use super::{Options, ServeError, in_flight::InFlight};
use crate::{
    DubboError, Request, Response,
    call::failure,
    frame::{Codec, Event, Flags, Frame, Head, Incoming, Status},
    io::{self, Input, Output, ignored},
};
use mesh_core::{
    Context as Record, Kind, Name, Nanos, Outcome, Peer, Rejection, drop_as,
    time::{self, Sleep},
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::Decoder;
use tower_service::Service;

/// While so many bytes wait to be written nothing more is read.
const WRITE_FIRST: usize = 64 * 1024;

/// How long the socket's other end is listened to after ours has been closed.
const CLOSING: Duration = Duration::from_secs(1);

pub(super) struct Connection<I, S: Service<Request>> {
    io: I,
    peer: Arc<Peer>,
    service: S,
    options: Arc<Options>,
    codec: Codec,
    input: Input,
    output: Output,
    calls: InFlight<S::Future, Call>,
    timer: Sleep,
    last_read: Nanos,
    last_written: Nanos,
    last_beat: Nanos,
    last_call: Nanos,
    /// The id of the next event of ours.
    next_id: u64,
    is_ready: bool,
    is_draining: bool,
    has_ended: bool,
}

/// What is needed to answer a call.
struct Call {
    id: u64,
    flags: Flags,
    deadline: Option<Nanos>,
}

impl<I, S> Connection<I, S>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request, Response = Response, Error = DubboError>,
{
    pub(super) fn new(io: I, peer: Arc<Peer>, service: S, options: Arc<Options>) -> Self {
        let now = time::now();
        let first = options.heartbeat.map_or(Nanos::MAX, |beat| now.plus(beat));
        Self {
            io,
            peer,
            service,
            codec: Codec::new(options.max_body),
            options,
            input: Input::new(),
            output: Output::new(),
            calls: InFlight::new(),
            timer: time::sleep_until(first),
            last_read: now,
            last_written: now,
            last_beat: now,
            last_call: now,
            next_id: 1,
            is_ready: false,
            is_draining: false,
            has_ended: false,
        }
    }

    /// Ready when the connection is to be closed, all that was to be said having been said.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        started: Pin<&mut impl Future<Output = ()>>,
        expired: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), ServeError>> {
        if !self.is_draining && started.poll(cx).is_ready() {
            self.is_draining = true;
            self.last_call = time::now();
            let id = self.take_id();
            Frame::read_only(id).write(self.output.buffer());
            self.arm(self.last_call.plus(self.options.linger));
        }
        if self.is_draining && expired.poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while Pin::new(&mut self.timer).poll(cx).is_ready() {
            self.look_at_the_clock()?;
        }
        loop {
            while let Poll::Ready((call, result)) = self.calls.poll_done(cx) {
                self.answer(&call, result);
            }
            if self.output.len() > self.options.max_buffered {
                return Poll::Ready(Err(ServeError::Overflow));
            }
            if self.output.poll_write(&mut self.io, cx)? {
                self.last_written = time::now();
            }
            if self.has_ended {
                // nobody waits for anything but that one-way calls are made
                let is_done = self.calls.len() == 0;
                return if is_done { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            if self.is_drained() {
                return Poll::Ready(Ok(()));
            }
            if !self.poll_input(cx)? {
                return Poll::Pending;
            }
        }
    }

    /// Takes what has come, at the most what was read at once. False: nothing has, or it has to wait.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<bool, ServeError> {
        let mut has_taken = false;
        loop {
            if self.calls.len() >= self.options.max_in_flight.max(1) || self.output.len() >= WRITE_FIRST {
                return Ok(has_taken);
            }
            if !self.is_ready {
                match self.service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => self.is_ready = true,
                    Poll::Ready(Err(error)) => return Err(io::failed(error).into()),
                    Poll::Pending => return Ok(has_taken),
                }
            }
            match self.codec.decode(self.input.buffer())? {
                Some(Incoming::Frame(frame)) => self.take(frame),
                Some(Incoming::TooLong { head, length }) => self.refuse_long(head, length),
                None if has_taken => return Ok(true),
                None => match self.input.poll_read(&mut self.io, cx) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(Ok(0)) => {
                        self.leave();
                        return Ok(true);
                    }
                    Poll::Ready(Ok(_)) => {
                        self.last_read = time::now();
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Err(error.into()),
                },
            }
            has_taken = true;
        }
    }

    /// The consumer has left: what nobody waits for is given up.
    fn leave(&mut self) {
        self.has_ended = true;
        self.output.clear();
        while self.calls.give_up(|call| call.flags.is_two_way(), |drop| drop()).is_some() {}
    }

    fn take(&mut self, frame: Frame) {
        let flags = frame.head.flags;
        if let Some(event) = frame.event() {
            match event {
                Event::Heartbeat if flags.is_request() && flags.is_two_way() => {
                    frame.heartbeat_answer().write(self.output.buffer());
                }
                Event::Heartbeat => {}
                Event::ReadOnly | Event::Writable | Event::Other => ignored("event"),
            }
            return;
        }
        if !flags.is_request() {
            ignored("response");
            return;
        }
        self.last_call = self.last_read;
        let record = Record::begin(self.last_read, Some(self.peer.clone()));
        record.set_listener(self.options.listener);
        record.set_protocol(Name::DUBBO);
        record.add_request_bytes(frame.body.len() as u64);
        record.end_request_on_arrival();
        let mut call = Call { id: frame.head.id, flags, deadline: None };
        let request = match Request::from_frame(frame, record.clone()) {
            Ok(request) => request,
            Err(error) => {
                let refused = Rejection::new(Kind::Malformed).because(error);
                tracing::debug!(%refused, "a call that cannot be read");
                self.answer(&call, Err(refused.into()));
                return;
            }
        };
        if self.options.deadlines
            && flags.is_two_way()
            && let Some(timeout) = request.timeout()
        {
            let deadline = self.last_read.plus(timeout);
            record.limit_deadline(deadline);
            call.deadline = Some(deadline);
            self.arm(deadline);
        }
        self.is_ready = false;
        self.calls.push(self.service.call(request), call);
    }

    fn refuse_long(&mut self, head: Head, length: usize) {
        let call = Call { id: head.id, flags: head.flags, deadline: None };
        if head.flags.is_request() && !head.flags.is_event() {
            let text = format!("a body of {length} bytes, at the most {} are taken", self.options.max_body);
            self.say(&call, Status::BAD_REQUEST, &text);
        } else {
            ignored("too_long");
        }
    }

    fn answer(&mut self, call: &Call, result: Result<Response, DubboError>) {
        match result {
            Ok(mut response) => {
                if call.flags.is_two_way() && !response.is_one_way() {
                    let before = self.output.len();
                    response.write(call.id, self.output.buffer());
                    let written = self.output.len() - before;
                    response.guards_mut().add_bytes(written);
                }
                response.guards_mut().end_well();
            }
            Err(error) => {
                if let Some((status, text)) = error.answer() {
                    self.say(call, status, &text);
                }
            }
        }
    }

    /// Answers with a failure, if anybody waits.
    fn say(&mut self, call: &Call, status: Status, text: &str) {
        if call.flags.is_two_way() && !self.has_ended {
            failure(call.flags, status, call.id, text).write(self.output.buffer());
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Nothing is under way and nothing comes any more.
    fn is_drained(&self) -> bool {
        self.is_draining
            && self.calls.len() == 0
            && self.output.len() == 0
            && time::now() >= self.last_call.plus(self.options.linger)
    }

    /// The timer goes off then, if not earlier.
    fn arm(&mut self, moment: Nanos) {
        if moment < self.timer.deadline() {
            self.timer.reset(moment);
        }
    }

    /// Something may be due: deadlines, a heartbeat, the end of a connection that is silent.
    fn look_at_the_clock(&mut self) -> Result<(), ServeError> {
        let now = time::now();
        let is_late = |call: &Call| call.deadline.is_some_and(|deadline| deadline <= now);
        while let Some(call) = self.calls.give_up(is_late, |drop| drop_as(Outcome::TimedOut, drop)) {
            self.answer(&call, Err(Rejection::new(Kind::Timeout).into()));
        }
        let mut next = self.calls.known().filter_map(|call| call.deadline).min().unwrap_or(Nanos::MAX);
        if let Some(beat) = self.options.heartbeat.filter(|_| !self.has_ended) {
            let silent = self.last_read.plus(beat * 3);
            if now >= silent {
                return Err(ServeError::Silent);
            }
            if now >= io::beat_due(self.last_read, self.last_written, self.last_beat, beat) {
                self.last_beat = now;
                let id = self.take_id();
                Frame::heartbeat(id).write(self.output.buffer());
            }
            let due = io::beat_due(self.last_read, self.last_written, self.last_beat, beat);
            next = next.min(due).min(silent);
        }
        if self.is_draining {
            let over = self.last_call.plus(self.options.linger);
            next = if over > now { next.min(over) } else { next };
        }
        self.timer.reset(next);
        Ok(())
    }

    /// Closes our end, and waits for the other's a while: bytes that nobody has read would make the kernel throw away
    /// what the consumer has not read yet.
    pub(super) async fn close(mut self) {
        if self.has_ended {
            return;
        }
        let mut timer = time::sleep(CLOSING);
        let _ = std::future::poll_fn(|cx| {
            if Pin::new(&mut timer).poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            loop {
                self.input.buffer().clear();
                if ready!(self.input.poll_read(&mut self.io, cx))? == 0 {
                    return Poll::Ready(std::io::Result::Ok(()));
                }
            }
        })
        .await;
    }
}
