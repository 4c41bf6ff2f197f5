//! A discovery that the test is.

use futures_core::Stream;
use mesh_core::{Target, Update};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

#[derive(Clone, Default)]
pub(crate) struct Feed(Arc<Mutex<(VecDeque<Update>, Option<Waker>)>>);

impl Feed {
    pub(crate) fn set(&self, targets: impl IntoIterator<Item = Target>) {
        let waker = {
            let mut inner = self.0.lock().unwrap();
            inner.0.push_back(Update::Set(targets.into_iter().collect()));
            inner.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Stream for Feed {
    type Item = Update;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        let mut inner = self.0.lock().unwrap();
        match inner.0.pop_front() {
            Some(update) => Poll::Ready(Some(update)),
            None => {
                inner.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
