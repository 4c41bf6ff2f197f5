use super::{
    answer::grpc_status,
    view::{GRPC_STATUS, grpc_code},
};
use crate::{
    Answer, BoxError, Code, Context, Governed, Guards, Head, Outcome, Rejection, Side, Verdict,
    guards::ends_if_it_panics,
};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context as Cx, Poll, ready},
};

pin_project! {
    /// A request's body that carries the record of the call, and notes when the request has ended. So the message stays
    /// an `http::Request` for layers from outside, and its extensions stay empty (filling them takes four allocations).
    pub struct CallBody<B> {
        context: EndsRequest,
        #[pin]
        inner: B,
    }
}

/// The record of a call whose request ends when its body is dropped: nobody will read on.
struct EndsRequest(Context);

impl Drop for EndsRequest {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl<B> CallBody<B> {
    /// The body of the request that `context` is the record of.
    pub fn new(context: Context, inner: B) -> Self {
        Self { context: EndsRequest(context), inner }
    }

    /// The record of the call.
    pub fn context(&self) -> &Context {
        &self.context.0
    }

    /// The body itself.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// The body alone. The request counts as ended: whoever takes it does not say more.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The body itself, to change it.
    pub fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: Default> Default for CallBody<B> {
    fn default() -> Self {
        Self::new(Context::none(), B::default())
    }
}

impl<B> fmt::Debug for CallBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBody").field("context", self.context()).finish_non_exhaustive()
    }
}

impl<B: Body> Body for CallBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let me = self.project();
        let frame = ready!(me.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    me.context.0.add_request_bytes(data.remaining() as u64);
                }
            }
            Some(Err(_)) | None => me.context.0.end_request(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The one response body of a governed stack: the service's body, or an answer of our own, with what is open on it.
    pub struct GovernedBody<B>
    where
        B: Body,
    {
        #[pin]
        inner: Option<B>,
        own: Option<Bytes>,
        guards: Guards,
        // `None`: nobody has said
        grpc: Option<bool>,
        bodyless: bool,
        aborts: bool,
    }

    impl<B> PinnedDrop for GovernedBody<B>
    where
        B: Body,
    {
        /// hyper and axum do not poll a sized body to its end.
        fn drop(this: Pin<&mut Self>) {
            let mut me = this.project();
            if !me.guards.is_empty() && (*me.bodyless || me.inner.as_ref().as_pin_ref().is_none_or(|inner| inner.is_end_stream())) {
                // ends are told inside out, and the body inside may hold tickets too
                me.inner.set(None);
                me.guards.end_well();
            }
        }
    }
}

impl<B: Body> GovernedBody<B> {
    /// The body of a service's response.
    pub fn new(inner: B) -> Self {
        Self { inner: Some(inner), own: None, guards: Guards::new(), grpc: None, bodyless: false, aborts: false }
    }

    /// A body of our own.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self { inner: None, own: Some(bytes.into()), guards: Guards::new(), grpc: None, bodyless: false, aborts: false }
    }

    /// A body that fails at once, so that whoever writes the response gives the exchange up: hyper closes an HTTP/1
    /// connection before it wrote a byte, and resets an HTTP/2 stream.
    pub fn aborting() -> Self {
        let mut body = Self::own(Bytes::new());
        body.aborts = true;
        body
    }

    /// Whether the response is gRPC, as its content type says: it ends with its trailers, and a tap that cuts it off
    /// sends some. Said once, nobody looks for the content type again.
    pub fn grpc(mut self, grpc: bool) -> Self {
        self.grpc = Some(grpc);
        self
    }

    /// Whether it is known to be of another protocol than gRPC.
    #[inline]
    pub(crate) fn is_not_grpc(&self) -> bool {
        self.grpc == Some(false)
    }

    /// Nobody will read the body: it answers a HEAD, or its status has none.
    pub fn bodyless(mut self, bodyless: bool) -> Self {
        self.bodyless = bodyless;
        self
    }

    /// Whether nobody will read the body.
    pub fn is_bodyless(&self) -> bool {
        self.bodyless
    }

    /// Whether this is an answer of our own, not a service's.
    pub fn is_own(&self) -> bool {
        self.inner.is_none()
    }

    /// What is open on it.
    pub fn guards_mut(&mut self) -> &mut Guards {
        &mut self.guards
    }
}

impl<B: Body> Default for GovernedBody<B> {
    fn default() -> Self {
        Self::own(Bytes::new())
    }
}

impl<B: Body> fmt::Debug for GovernedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GovernedBody").field("guards", &self.guards).finish_non_exhaustive()
    }
}

impl<B> Body for GovernedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut me = self.project();
        let Some(inner) = me.inner.as_mut().as_pin_mut() else {
            if std::mem::take(me.aborts) {
                let reset = Rejection::fault(Answer::Reset);
                me.guards.end_cut(&reset);
                return Poll::Ready(Some(Err(reset.into())));
            }
            let own = me.own.take().filter(|bytes| !bytes.is_empty());
            if let Some(bytes) = &own {
                me.guards.add_bytes(bytes.len());
            }
            me.guards.end_well();
            return Poll::Ready(own.map(|bytes| Ok(Frame::data(bytes))));
        };
        if me.guards.is_empty() {
            return inner.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        }
        let cut = match ready!(me.guards.poll_frame(cx)) {
            Some(rejection) => rejection,
            None => match ends_if_it_panics(me.guards, || inner.poll_frame(cx)) {
                Poll::Ready(frame) => {
                    note(me.guards, &frame);
                    return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
                }
                Poll::Pending => match me.guards.poll_idle(cx) {
                    Some(rejection) => rejection,
                    None => return Poll::Pending,
                },
            },
        };
        // a gRPC call ends with the trailers that tell it so
        let code = if *me.grpc == Some(true) { Code::Grpc(grpc_status(&cut)) } else { me.guards.head_code() };
        let cut = cut.after(code);
        me.guards.end_cut(&cut);
        // its drop tells the upstream that nobody reads on
        me.inner.set(None);
        Poll::Ready(Some(if *me.grpc == Some(true) { Ok(Frame::trailers(trailers_of(&cut))) } else { Err(cut.into()) }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => !self.aborts && self.own.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None if self.aborts => SizeHint::default(),
            None => SizeHint::with_exact(self.own.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}

/// What a frame, or the lack of one, says of the end.
fn note<E>(guards: &mut Guards, frame: &Option<Result<Frame<Bytes>, E>>) {
    match frame {
        None => guards.end_well(),
        Some(Err(_)) => {
            guards.end(Verdict { outcome: Outcome::Failure, side: Side::Upstream, code: guards.head_code() });
        }
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                guards.add_bytes(data.len());
            } else if let Some(trailers) = frame.trailers_ref() {
                match trailers.get(&GRPC_STATUS) {
                    Some(status) => guards.end(Verdict::of_code(grpc_code(status))),
                    None => guards.end_well(),
                }
            }
        }
    }
}

fn trailers_of(rejection: &Rejection) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS.clone(), HeaderValue::from(grpc_status(rejection)));
    if let Ok(message) = HeaderValue::from_str(rejection.kind().as_str()) {
        trailers.insert("grpc-message", message);
    }
    trailers
}

impl<B: Body> Governed for http::Response<GovernedBody<B>> {
    fn head(&mut self) -> &mut dyn Head {
        self
    }

    fn guards(&mut self) -> &mut Guards {
        &mut self.body_mut().guards
    }
}
