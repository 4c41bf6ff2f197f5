//! The tap that keeps the limits of a call while its response's body goes on.

use crate::service::timed_out;
use mesh_core::{
    Context, Name, Nanos, Rejection, Tap,
    time::{self, Sleep},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context as Cx, Poll, ready},
    time::Duration,
};

/// Cuts a body off at a moment, or when nothing has moved for a while.
pub(crate) struct BodyLimits {
    /// [`Nanos::MAX`]: never.
    at: Nanos,
    /// [`Duration::MAX`]: whatever it does.
    idle: Duration,
    layer: Name,
    /// To see whether the request's body still moves; none if it has ended.
    context: Context,
    /// Set when the body is first found waiting, and left where it is by frames: when it goes off, it is set again to
    /// what is due then.
    sleep: Option<Sleep>,
    quiet: Option<Quiet>,
    /// How often it was asked for a frame since the body was last found waiting.
    asked: u32,
}

/// Since when nothing has moved.
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) since: Nanos,
    request_bytes: u64,
}

impl Quiet {
    pub(crate) fn from(since: Nanos, context: &Context) -> Self {
        Self { since, request_bytes: context.request_bytes() }
    }

    /// Looks whether the request's body has moved since it was looked at last. When, is not noted with each frame, so
    /// `now` stands for it.
    pub(crate) fn look(&mut self, context: &Context, now: Nanos) {
        if self.request_bytes != context.request_bytes() {
            *self = Self::from(now, context);
        }
    }
}

impl BodyLimits {
    pub(crate) fn new(at: Nanos, idle: Duration, layer: Name, context: Context) -> Self {
        Self { at, idle, layer, context, sleep: None, quiet: None, asked: 0 }
    }

    fn due(&self) -> Nanos {
        self.quiet.map_or(self.at, |quiet| self.at.min(quiet.since.plus(self.idle)))
    }
}

impl Tap for BodyLimits {
    /// A body that always has something to give is cut too.
    fn poll_frame(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
        self.asked = self.asked.saturating_add(1);
        let over = self.at != Nanos::MAX && self.at <= time::now();
        Poll::Ready(if over { Err(timed_out(self.layer)) } else { Ok(()) })
    }

    fn poll_idle(&mut self, cx: &mut Cx<'_>) -> Poll<Rejection> {
        // asked a second time before it was found waiting, the first time it gave a frame
        let moved = std::mem::take(&mut self.asked) > 1;
        if self.idle != Duration::MAX && (moved || self.quiet.is_none()) {
            self.quiet = Some(Quiet::from(time::now(), &self.context));
        }
        loop {
            let due = self.due();
            let sleep = self.sleep.get_or_insert_with(|| time::sleep_until(due));
            ready!(Pin::new(&mut *sleep).poll(cx));
            // a clock that is read seldom may lag behind the timer
            let now = time::now().max(sleep.deadline());
            if let Some(quiet) = &mut self.quiet {
                quiet.look(&self.context, now);
            }
            let due = self.due();
            if due <= now {
                return Poll::Ready(timed_out(self.layer));
            }
            if let Some(sleep) = &mut self.sleep {
                sleep.reset(due);
            }
        }
    }
}
