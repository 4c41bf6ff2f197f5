use crate::{
    server::FromClient,
    upstream::{Http1Body, Http2Body},
};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use mesh_core::BoxError;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// The one body type of requests and responses: an enum and not a boxed trait object, so that the usual ones cost no
/// box. Unread bytes stay where they come from: a body is pulled, never pushed.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Http1(Http1Body),
    Http2(Http2Body),
    Tunnel(Box<FromClient>),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// A body that is at hand as a whole.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }

    /// Any other body. Costs a box.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        Self(Inner::Boxed(body.map_err(Into::into).boxed_unsync()))
    }

    /// Whether the request asks for a tunnel, an upgrade or a CONNECT: this is what the client sends through that.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.0, Inner::Tunnel(_))
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(body: hyper::body::Incoming) -> Self {
        if body.is_end_stream() { Self::empty() } else { Self(Inner::Incoming(body)) }
    }
}

impl From<FromClient> for Body {
    fn from(body: FromClient) -> Self {
        Self(Inner::Tunnel(Box::new(body)))
    }
}

impl From<Http1Body> for Body {
    fn from(body: Http1Body) -> Self {
        Self(Inner::Http1(body))
    }
}

impl From<Http2Body> for Body {
    fn from(body: Http2Body) -> Self {
        Self(Inner::Http2(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Inner::Empty => Poll::Ready(None),
            full @ Inner::Full(_) => {
                let Inner::Full(bytes) = std::mem::take(full) else { return Poll::Ready(None) };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Inner::Http1(body) => Pin::new(body).poll_frame(cx),
            Inner::Http2(body) => Pin::new(body).poll_frame(cx),
            Inner::Tunnel(body) => body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Http1(body) => body.is_end_stream(),
            Inner::Http2(body) => body.is_end_stream(),
            Inner::Tunnel(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Http1(body) => body.size_hint(),
            Inner::Http2(body) => body.size_hint(),
            Inner::Tunnel(_) => SizeHint::default(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Empty => "Body(empty)",
            Inner::Full(_) => "Body(full)",
            Inner::Incoming(_) => "Body(incoming)",
            Inner::Http1(_) => "Body(http1)",
            Inner::Http2(_) => "Body(http2)",
            Inner::Tunnel(_) => "Body(tunnel)",
            Inner::Boxed(_) => "Body(boxed)",
        })
    }
}
