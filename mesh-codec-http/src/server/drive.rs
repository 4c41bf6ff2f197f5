use super::{Ended, answer::Reset, codec::Codec, connection::Connection, io::Watched, linger::linger};
use mesh_core::{Answer, BoxError, Kind, Nanos, Rejection, time};
use mesh_net::{Rewind, Watch};
use std::{
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// How long a connection that takes no more requests may go on with nothing open: for the client to read the end of
/// the last response and the GOAWAY.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a drain waits for another request on an HTTP/1 connection since the last one: it may be on its way, and a
/// client that is busy learns by the answer that the connection ends. After that the connection is idle and is closed.
pub(super) const LINGER: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Drives a connection's codec, and ends it in time: the drain, idling, age, slow heads,
/// clients that do not read.
///
/// Those have one timer and one waker of their own, so that while they are silent a poll of the connection costs them
/// one load.
pub(super) struct Drive<C> {
    codec: C,
    connection: Arc<Connection>,
    watch: Watch,
    /// The start of the drain, then its deadline.
    drain: Pin<Box<dyn Future<Output = ()> + Send>>,
    draining: bool,
    /// When the connection has become too old.
    too_old: Nanos,
    /// Since when no more requests are taken.
    retired: Option<Nanos>,
    sleep: time::Sleep,
    /// The head that the timer has been set for.
    watched_head: Option<Nanos>,
    alarm: Arc<Alarm>,
    alarm_waker: Waker,
    /// The task that the alarm wakes.
    task: Option<Waker>,
}

/// How driving came to an end.
enum Stop {
    Ended(Result<(), hyper::Error>),
    HeadTimedOut,
    Cut,
}

/// What the clock says of a connection.
enum Due {
    Retire,
    Stop(Stop),
    Later(Nanos),
}

impl<I, C> Drive<C>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Codec<Io = Rewind<I>>,
{
    pub(super) fn new(codec: C, connection: Arc<Connection>, watch: Watch) -> Self {
        let now = time::now();
        let options = connection.options();
        let too_old = options.max_age.map_or(Nanos::MAX, |age| now.plus(age.mul_f64(0.9 + 0.2 * fastrand::f64())));
        let alarm = Arc::new(Alarm::default());
        let started = watch.clone();
        Self {
            codec,
            sleep: time::sleep_until(too_old.min(now.plus(options.idle_timeout))),
            connection,
            watch,
            drain: Box::pin(async move { started.signaled().await }),
            draining: false,
            too_old,
            retired: None,
            watched_head: None,
            alarm_waker: Waker::from(alarm.clone()),
            alarm,
            task: None,
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) -> Result<Ended<I>, BoxError> {
        match poll_fn(|cx| self.poll(cx)).await {
            Stop::Ended(Ok(())) => {
                if let Some(tunnel) = self.connection.take_tunnel() {
                    if let Some(io) = self.codec.into_tunnel() {
                        let tunnel = tunnel.run(io, self.connection.options().idle_timeout);
                        // in a box as all that few connections come to: a connection's future stays small
                        Box::pin(until_cut(tunnel, &self.connection, &self.watch)).await;
                    }
                } else if self.connection.is_unread()
                    && let Some(io) = self.codec.into_watched()
                {
                    Box::pin(linger(io.into_inner())).await;
                }
                Ok(Ended::Closed)
            }
            Stop::Cut => Ok(Ended::Closed),
            // the peer did not wait for all of the farewell
            Stop::Ended(Err(_)) if self.retired.is_some() && self.connection.open() == 0 => Ok(Ended::Closed),
            Stop::Ended(Err(error)) if is_reset(&error) => {
                let io = self.codec.into_watched();
                Ok(io.map_or(Ended::Closed, |io| Ended::Reset(io.into_inner().into_inner())))
            }
            Stop::Ended(Err(error)) => {
                if error.is_parse()
                    && let Some(io) = self.codec.into_watched()
                {
                    self.connection.refuse_unread(refusal_of(&error, io.is_in_first_line()));
                    Box::pin(linger(io.into_inner())).await;
                }
                Err(error.into())
            }
            Stop::HeadTimedOut => {
                self.connection.refuse_unread(Rejection::new(Kind::HeaderTimeout));
                if let Some(mut io) = self.codec.into_watched().and_then(Watched::into_written_out) {
                    // it fits into any socket's buffer; a client that is gone does not want it
                    Box::pin(async move {
                        if let Ok(Ok(())) = tokio::time::timeout(FAREWELL, io.write_all(REQUEST_TIMEOUT)).await {
                            linger(io).await;
                        }
                    })
                    .await;
                }
                Ok(Ended::Closed)
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            self.alarm.set_task(cx.waker().clone());
        }
        loop {
            if self.alarm.has_rung()
                && let Some(stop) = self.attend()
            {
                return Poll::Ready(stop);
            }
            if let Poll::Ready(ended) = self.codec.poll(cx) {
                return Poll::Ready(Stop::Ended(ended));
            }
            // a head that did not come as a whole
            let head = self.connection.head_began();
            if head.is_none() || head == self.watched_head {
                return Poll::Pending;
            }
            self.watched_head = head;
            self.alarm.ring();
        }
    }

    /// Looks after all that ends a connection, and sets the timer anew.
    fn attend(&mut self) -> Option<Stop> {
        let mut cx = Context::from_waker(&self.alarm_waker);
        while self.drain.as_mut().poll(&mut cx).is_ready() {
            if self.draining {
                return Some(Stop::Cut);
            }
            self.draining = true;
            let watch = self.watch.clone();
            self.drain = Box::pin(async move { watch.expired().await });
            if self.retired.is_none() {
                if C::LOSES {
                    self.connection.end_with_next_answer();
                } else {
                    self.retired = Some(time::now());
                    self.codec.retire();
                }
            }
        }
        loop {
            let now = time::now();
            match self.due(now) {
                Due::Stop(stop) => return Some(stop),
                Due::Retire => {
                    self.retired = Some(now);
                    self.codec.retire();
                }
                Due::Later(at) => {
                    if self.sleep.deadline() != at {
                        self.sleep.reset(at);
                    }
                    if Pin::new(&mut self.sleep).poll(&mut cx).is_pending() {
                        return None;
                    }
                }
            }
        }
    }

    fn due(&self, now: Nanos) -> Due {
        let options = self.connection.options();
        let idle_timeout = if self.draining { options.idle_timeout.min(LINGER) } else { options.idle_timeout };
        let open = self.connection.open() > 0;
        let stalled = self.connection.stalled_since().map(|since| since.plus(options.idle_timeout));
        if stalled.is_some_and(|at| now >= at) {
            return Due::Stop(Stop::Cut);
        }
        if let Some(retired) = self.retired {
            let at = if open { now } else { retired.max(self.connection.idle_since()) }.plus(FAREWELL);
            return if now < at { Due::Later(at) } else { Due::Stop(Stop::Cut) };
        }
        if now >= self.too_old {
            return Due::Retire;
        }
        let at = match self.connection.head_began() {
            // what is open now cannot have been idle for long enough before then
            _ if open => now.plus(idle_timeout),
            Some(began) => {
                let at = began.plus(options.header_timeout);
                if now >= at {
                    return Due::Stop(Stop::HeadTimedOut);
                }
                at
            }
            None => {
                let at = self.connection.idle_since().plus(idle_timeout);
                if now >= at {
                    return Due::Retire;
                }
                at
            }
        };
        Due::Later(at.min(self.too_old).min(stalled.unwrap_or(Nanos::MAX)))
    }
}

/// Waits for the end of a tunnel, or for what cuts it: the deadline of the drain, a client that takes nothing.
async fn until_cut(tunnel: impl Future<Output = ()>, connection: &Connection, watch: &Watch) {
    let idle = connection.options().idle_timeout;
    let stalled = async {
        loop {
            let now = time::now();
            let due = connection.stalled_since().unwrap_or(now).plus(idle);
            if due <= now {
                return;
            }
            time::sleep_until(due).await;
        }
    };
    let (mut tunnel, mut stalled, mut expired) = (pin!(tunnel), pin!(stalled), pin!(watch.expired()));
    poll_fn(|cx| {
        let ends = tunnel.as_mut().poll(cx).is_ready()
            || stalled.as_mut().poll(cx).is_ready()
            || expired.as_mut().poll(cx).is_ready();
        if ends { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// What hyper has refused a head for.
fn refusal_of(error: &hyper::Error, in_first_line: bool) -> Rejection {
    let kind = match error.is_parse_too_large() {
        false => Kind::Malformed,
        true if in_first_line || error.to_string().contains("URI") => Kind::UriTooLong,
        true => Kind::HeadersTooLarge,
    };
    Rejection::new(kind).because(error.to_string())
}

/// Whether the service wanted the client to see a reset.
fn is_reset(error: &hyper::Error) -> bool {
    error.source().is_some_and(|source| {
        let answer = source.downcast_ref().and_then(Rejection::answer);
        source.is::<Reset>() || answer == Some(Answer::Reset)
    })
}

/// Wakes a task and says so: what it was for need not be asked at other polls.
#[derive(Debug)]
struct Alarm {
    rung: AtomicBool,
    task: Mutex<Waker>,
}

impl Default for Alarm {
    /// It has rung: the first poll attends to it.
    fn default() -> Self {
        Self { rung: AtomicBool::new(true), task: Mutex::new(Waker::noop().clone()) }
    }
}

impl Alarm {
    fn set_task(&self, task: Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }

    fn ring(&self) {
        self.rung.store(true, Release);
    }

    fn has_rung(&self) -> bool {
        self.rung.load(Acquire) && self.rung.swap(false, AcqRel)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.wake();
    }
}
