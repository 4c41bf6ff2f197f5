use crate::Messages;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mesh_core::{
    Attribute, AttributeError, Context as Call, Nanos, Protocol, Refusable, Whole,
    http::{CallBody, GovernedBody, KNOWN_ATTRIBUTES, http_attribute},
};
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// HTTP as a protocol of pipelines and as messages of the contract kit, over [`TestBody`].
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl Protocol for Http {
    const NAME: &'static str = "http";
    type Request = http::Request<CallBody<TestBody>>;
    type Response = http::Response<GovernedBody<TestBody>>;
    type Error = Refusable<TestError>;

    fn attribute(path: &str) -> Result<Attribute<Self::Request>, AttributeError> {
        http_attribute(path).ok_or_else(|| AttributeError { path: path.into(), known: &KNOWN_ATTRIBUTES })
    }
}

impl Messages for Http {
    type Request = <Self as Protocol>::Request;
    type Response = <Self as Protocol>::Response;
    type Error = <Self as Protocol>::Error;
    type Reach = Whole;

    const HAS_BODY: bool = true;

    fn request() -> Self::Request {
        let call = Call::begin(Nanos::from_nanos(1), None);
        let body = CallBody::new(call, TestBody::empty());
        let mut request = http::Request::new(body);
        *request.uri_mut() = http::Uri::from_static("http://orders/place");
        request
    }

    fn answer() -> Self::Response {
        http::Response::new(GovernedBody::new(TestBody::of([Step::data("an "), Step::Wait, Step::data("answer")])))
    }

    fn failed() -> Option<Self::Response> {
        let mut response = Self::answer();
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Some(response)
    }

    fn broken() -> Option<Self::Response> {
        Some(http::Response::new(GovernedBody::new(TestBody::of([Step::data("an "), Step::Wait, Step::Error]))))
    }

    fn error() -> Self::Error {
        Refusable::Inner(TestError)
    }

    fn poll_end(response: &mut Self::Response, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(response.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The error of test bodies and services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestError;

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error for a test")
    }
}

impl std::error::Error for TestError {}

/// A move of a [`TestBody`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is there yet at this poll; the reader is woken at once.
    Wait,
    /// Data.
    Data(Bytes),
    /// Trailers.
    Trailers(http::HeaderMap),
    /// The body breaks off.
    Error,
    /// Reading it panics.
    Panic,
}

impl Step {
    /// Data.
    pub fn data(data: &'static str) -> Self {
        Self::Data(Bytes::from_static(data.as_bytes()))
    }

    /// Trailers with this gRPC status.
    pub fn grpc_status(status: u16) -> Self {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from(status));
        Self::Trailers(trailers)
    }
}

/// A body that does as it is told: a script, or what a [`BodyHandle`] feeds it.
#[derive(Debug)]
pub struct TestBody {
    steps: Steps,
    sized: bool,
}

#[derive(Debug)]
enum Steps {
    Script(VecDeque<Step>),
    Fed(Arc<Mutex<Feed>>),
}

#[derive(Debug, Default)]
struct Feed {
    steps: VecDeque<Step>,
    ended: bool,
    dropped: bool,
    waker: Option<Waker>,
}

fn lock(feed: &Mutex<Feed>) -> MutexGuard<'_, Feed> {
    feed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestBody {
    /// No body.
    pub fn empty() -> Self {
        Self { steps: Steps::Script(VecDeque::new()), sized: true }
    }

    /// A body in one piece whose size is known: it says of itself when it is at its end.
    pub fn full(data: &'static str) -> Self {
        Self { steps: Steps::Script([Step::data(data)].into()), sized: true }
    }

    /// A stream of unknown size that does these steps and ends.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: Steps::Script(steps.into_iter().collect()), sized: false }
    }

    /// A stream that the test feeds.
    pub fn fed() -> (Self, BodyHandle) {
        let feed = Arc::<Mutex<Feed>>::default();
        (Self { steps: Steps::Fed(feed.clone()), sized: false }, BodyHandle(feed))
    }

    /// The next step; outer `None`: not there yet.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<Option<Step>> {
        let feed = match &mut self.steps {
            Steps::Script(steps) => return Some(steps.pop_front()),
            Steps::Fed(feed) => feed,
        };
        let mut feed = lock(feed);
        match feed.steps.pop_front() {
            Some(step) => Some(Some(step)),
            None if feed.ended => Some(None),
            None => {
                let before = feed.waker.replace(cx.waker().clone());
                drop(feed);
                drop(before);
                None
            }
        }
    }
}

impl Default for TestBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = TestError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TestError>>> {
        match self.next(cx) {
            None => Poll::Pending,
            Some(None) => Poll::Ready(None),
            Some(Some(Step::Wait)) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(Step::Data(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Some(Step::Trailers(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Some(Step::Error)) => Poll::Ready(Some(Err(TestError))),
            Some(Some(Step::Panic)) => panic!("the body panics, as it was told"),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.steps {
            Steps::Script(steps) => self.sized && steps.is_empty(),
            Steps::Fed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.steps {
            Steps::Script(steps) if self.sized => SizeHint::with_exact(steps.iter().map(size).sum()),
            _ => SizeHint::default(),
        }
    }
}

fn size(step: &Step) -> u64 {
    match step {
        Step::Data(data) => data.len() as u64,
        _ => 0,
    }
}

impl Drop for TestBody {
    fn drop(&mut self) {
        if let Steps::Fed(feed) = &self.steps {
            lock(feed).dropped = true;
        }
    }
}

/// Feeds a [`TestBody`]. Dropped without an end, the body waits for ever.
#[derive(Debug)]
pub struct BodyHandle(Arc<Mutex<Feed>>);

impl BodyHandle {
    /// Feeds a step.
    pub fn feed(&self, step: Step) {
        self.change(|feed| feed.steps.push_back(step));
    }

    /// There is no more to come.
    pub fn end(&self) {
        self.change(|feed| feed.ended = true);
    }

    /// Whether the reader has dropped the body.
    pub fn is_dropped(&self) -> bool {
        lock(&self.0).dropped
    }

    fn change(&self, change: impl FnOnce(&mut Feed)) {
        let waker = {
            let mut feed = lock(&self.0);
            change(&mut feed);
            feed.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
