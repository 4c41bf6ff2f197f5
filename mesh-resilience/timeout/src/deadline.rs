//! The tap that keeps a deadline while a response's body goes on.

use crate::service::timed_out;
use mesh_core::{
    Name, Nanos, Rejection, Tap,
    time::{self, Sleep},
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context as Cx, Poll},
};

/// Cuts a body off at a moment.
pub(crate) struct Deadline {
    at: Nanos,
    layer: Name,
    /// Set when the body is first found waiting.
    sleep: Option<Sleep>,
}

impl Deadline {
    pub(crate) fn new(at: Nanos, layer: Name) -> Self {
        Self { at, layer, sleep: None }
    }
}

impl Tap for Deadline {
    /// A body that always has something to give is cut too.
    fn poll_frame(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(if time::now() < self.at { Ok(()) } else { Err(timed_out(self.layer)) })
    }

    fn poll_idle(&mut self, cx: &mut Cx<'_>) -> Poll<Rejection> {
        let sleep = self.sleep.get_or_insert_with(|| time::sleep_until(self.at));
        Pin::new(sleep).poll(cx).map(|()| timed_out(self.layer))
    }
}
