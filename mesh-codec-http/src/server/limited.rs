use crate::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use mesh_core::{BoxError, Kind, Rejection};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The body of a request of which no more than `most` bytes are taken. One that says how long it is has been refused
/// with its head if that is too much.
pub(super) fn limited(body: Incoming, most: u64) -> Body {
    if body.size_hint().exact().is_some() { Body::from(body) } else { Body::boxed(Limited { inner: body, left: most }) }
}

struct Limited {
    inner: Incoming,
    left: u64,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let frame = ready!(Pin::new(&mut me.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match me.left.checked_sub(data.len() as u64) {
                Some(left) => me.left = left,
                None => return Poll::Ready(Some(Err(Rejection::new(Kind::BodyTooLarge).into()))),
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
