use mesh_core::{Kind, Nanos, Rejection, Tap, time};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// The deadline of a call: first for the head of the response, then, as a tap, for its body.
pub(super) struct Deadline(time::Sleep);

impl Deadline {
    pub(super) fn at(deadline: Nanos) -> Self {
        Self(time::sleep_until(deadline))
    }

    /// Ready when it has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        Pin::new(&mut self.0).poll(cx).map(|()| passed())
    }
}

/// What a call is refused with whose time is over.
pub(super) fn passed() -> Rejection {
    Rejection::new(Kind::Timeout)
}

impl Tap for Deadline {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        match self.poll(cx) {
            Poll::Ready(rejection) => Poll::Ready(Err(rejection)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Asked right after [`Tap::poll_frame`], which has left its waker.
    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<Rejection> {
        Poll::Pending
    }
}
