//! A relay of bytes between two connections, both ways, until both have ended.

mod direction;
mod pipe;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::{Guards, Nanos, Outcome, Rejection, Side, Verdict, time};

use crate::connection::Connected;
use crate::stream::Stream;
use direction::{Direction, Fault};

pub use pipe::PIPE_DESCRIPTORS;

/// How a relay treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    idle: Option<Duration>,
    splice: bool,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self { idle: Some(Duration::from_secs(3600)), splice: true }
    }
}

impl RelayOptions {
    /// How long no byte may move in either direction before both connections are closed. Default 1 h, `None` is for ever.
    #[must_use]
    pub fn idle(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle = timeout.into();
        self
    }

    /// Whether a direction in which much moves goes through a pipe in the kernel (`splice(2)`), where its bytes need not
    /// be copied into this process and out again. Default on.
    #[must_use]
    pub fn splice(mut self, on: bool) -> Self {
        self.splice = on;
        self
    }
}

/// What a relay came to.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes that were written to the upstream.
    pub sent: u64,
    /// Bytes that were written to the client.
    pub received: u64,
    /// Why it ended.
    pub end: RelayEnd,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both sides have closed their halves, and all that was read was written.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// A connection broke; the other one is reset, so that who is there does not take what came for the whole.
    Broken {
        /// Whose connection.
        side: Side,
        /// How.
        error: io::Error,
    },
    /// A layer cut it off.
    Cut(Rejection),
}

impl fmt::Display for RelayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayEnd::Closed => f.write_str("closed"),
            RelayEnd::Idle => f.write_str("idle for too long"),
            RelayEnd::Broken { side: Side::Upstream, error } => write!(f, "the upstream's connection broke: {error}"),
            RelayEnd::Broken { error, .. } => write!(f, "the client's connection broke: {error}"),
            RelayEnd::Cut(rejection) => rejection.fmt(f),
        }
    }
}

/// Relays bytes between a client and the upstream that was connected for it, until both have closed their halves, one
/// breaks, or nothing moves for too long.
///
/// - **Half-close**: an end that one side announces is announced to the other once all before it is written; the other
///   direction goes on.
/// - **Back-pressure**: a direction reads no more while what it has read is not written. It holds 64 KiB at the most,
///   and nothing while nothing is on its way; a pipe that `splice` uses holds no more.
/// - **A broken connection** is broken to the other side: it is reset.
/// - **The layers** that `connected` came through hear the end, with the bytes that went to the client; those that cut
///   off a body, such as a total timeout, cut off the relay.
///
/// # Cancellation
/// Dropping the future closes both connections; layers hear *cancelled*.
///
/// # Panics
/// Outside a tokio runtime that has I/O and time enabled.
pub fn relay(
    client: Stream,
    connected: Connected,
    options: RelayOptions,
) -> impl Future<Output = Relayed> + Send + 'static {
    let (upstream, guards) = connected.into_parts();
    let idle = options.idle.map(|timeout| Idle { timeout, last: time::now(), sleep: time::sleep(timeout) });
    Relay {
        client,
        upstream,
        guards,
        up: Direction::new(options.splice),
        down: Direction::new(options.splice),
        up_ended: None,
        down_ended: None,
        idle,
        counted: 0,
    }
}

struct Relay {
    client: Stream,
    upstream: Stream,
    guards: Guards,
    up: Direction,
    down: Direction,
    /// How each direction has ended.
    up_ended: Option<Result<(), Fault>>,
    down_ended: Option<Result<(), Fault>>,
    idle: Option<Idle>,
    /// Bytes that the layers have been told of.
    counted: u64,
}

struct Idle {
    timeout: Duration,
    last: Nanos,
    sleep: time::Sleep,
}

impl Future for Relay {
    type Output = Relayed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let me = self.get_mut();
        match me.guards.poll_frame(cx) {
            Poll::Ready(None) => {}
            Poll::Ready(Some(cut)) => return Poll::Ready(me.end(RelayEnd::Cut(cut))),
            Poll::Pending => return Poll::Pending,
        }
        let before = me.up.moved() + me.down.moved();
        if me.up_ended.is_none()
            && let Poll::Ready(ended) = me.up.poll(&mut me.client, &mut me.upstream, cx)
        {
            me.up_ended = Some(ended);
        }
        if me.down_ended.is_none()
            && let Poll::Ready(ended) = me.down.poll(&mut me.upstream, &mut me.client, cx)
        {
            me.down_ended = Some(ended);
        }
        let received = me.down.moved();
        if received > me.counted {
            me.guards.add_bytes(usize::try_from(received - me.counted).unwrap_or(usize::MAX));
            me.counted = received;
        }
        if let Some(end) = me.ended() {
            return Poll::Ready(me.end(end));
        }
        let moved = me.up.moved() + me.down.moved() > before;
        if let Some(idle) = &mut me.idle
            && idle.poll(moved, cx)
        {
            return Poll::Ready(me.end(RelayEnd::Idle));
        }
        match me.guards.poll_idle(cx) {
            Some(cut) => Poll::Ready(me.end(RelayEnd::Cut(cut))),
            None => Poll::Pending,
        }
    }
}

impl Idle {
    /// Whether nothing has moved for too long. The timer is set anew only when it goes off.
    fn poll(&mut self, moved: bool, cx: &mut Context<'_>) -> bool {
        if moved {
            self.last = time::now();
        }
        while Pin::new(&mut self.sleep).poll(cx).is_ready() {
            let quiet = time::now().since(self.last);
            if quiet >= self.timeout {
                return true;
            }
            self.sleep = time::sleep(self.timeout - quiet);
        }
        false
    }
}

impl Relay {
    /// Whether it is over. One that takes nothing any more may have said something before, which is still delivered: a
    /// server that answers and closes before it has read all of a request.
    fn ended(&mut self) -> Option<RelayEnd> {
        let broken = |side, error| Some(RelayEnd::Broken { side, error });
        match (self.up_ended.take(), self.down_ended.take()) {
            (Some(Err(Fault::Read(error))), _) => broken(Side::Downstream, error),
            (_, Some(Err(Fault::Read(error)))) => broken(Side::Upstream, error),
            (Some(_), Some(Ok(()))) => Some(RelayEnd::Closed),
            (Some(_), Some(Err(Fault::Write(error)))) => broken(Side::Downstream, error),
            (up, down) => {
                (self.up_ended, self.down_ended) = (up, down);
                None
            }
        }
    }

    fn end(&mut self, end: RelayEnd) -> Relayed {
        if matches!(end, RelayEnd::Broken { .. } | RelayEnd::Cut(_)) {
            // one that cannot be reset is closed
            let _ = self.client.set_zero_linger();
            let _ = self.upstream.set_zero_linger();
        }
        match &end {
            RelayEnd::Closed | RelayEnd::Idle => {
                self.guards.end(Verdict::without_answer(Outcome::Success, Side::Upstream));
            }
            RelayEnd::Broken { side: Side::Upstream, .. } => {
                self.guards.end(Verdict::without_answer(Outcome::Failure, Side::Upstream));
            }
            RelayEnd::Broken { side, .. } => self.guards.end(Verdict::without_answer(Outcome::Cancelled, *side)),
            RelayEnd::Cut(rejection) => self.guards.end_cut(rejection),
        }
        Relayed { sent: self.up.moved(), received: self.down.moved(), end }
    }
}
