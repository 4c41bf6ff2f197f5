use super::*;
use crate::Http;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use mesh_core::{BoxError, Context as Call, Protocol, http::CallBody, time};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::sync::mpsc;

/// What a client sends.
#[derive(Clone, Debug)]
enum Sent {
    Data(Vec<u8>),
    Trailers,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The client sends the next frame.
    Send,
    /// A further attempt begins.
    Again,
    /// An attempt reads a frame, if there is one.
    Read(usize),
    /// An attempt is given up.
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send),
        1 => Just(Step::Again),
        6 => (0..4_usize).prop_map(Step::Read),
        1 => (0..4_usize).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..60)
}

fn trailers() -> HeaderMap {
    [("t".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()
}

struct Attempt {
    body: CallBody<Body>,
    data: Vec<u8>,
    trailers: bool,
    ended: Option<Result<(), String>>,
}

impl Attempt {
    fn new(request: Request) -> Self {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/p"));
        assert_eq!(request.headers()["a"], "1");
        Self { body: request.into_body(), data: Vec::new(), trailers: false, ended: None }
    }

    fn read(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let hint = self.body.is_end_stream();
        match Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => assert!(!hint, "the end was announced"),
            Poll::Ready(None) => self.ended = Some(Ok(())),
            Poll::Ready(Some(Err(error))) => self.ended = Some(Err(error.to_string())),
            Poll::Ready(Some(Ok(frame))) => {
                assert!(!hint, "the end was announced");
                match frame.into_data() {
                    Ok(data) => self.data.extend_from_slice(&data),
                    Err(_) => self.trailers = true,
                }
            }
        }
    }
}

proptest! {
    /// Whatever the interleaving: each attempt reads a prefix of what was sent; one that reads to the end reads all of
    /// it, trailers included; there is another attempt exactly as long as what was read is within the limit.
    #[test]
    fn each_attempt_reads_the_same(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
        with_trailers: bool,
        limit in 0..120_usize,
        steps in steps(),
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        let body = Body::boxed(StreamBody::new(tokio_stream::StreamExt::map(stream, |sent| {
            Ok::<_, BoxError>(match sent {
                Sent::Data(data) => Frame::data(Bytes::from(data)),
                Sent::Trailers => Frame::trailers(trailers()),
            })
        })));
        let whole = frames.concat();
        let mut unsent: VecDeque<Sent> = frames.into_iter().map(Sent::Data).collect();
        unsent.extend(with_trailers.then_some(Sent::Trailers));
        let mut sender = Some(sender);
        let mut send = || match unsent.pop_front() {
            Some(frame) => sender.as_ref().unwrap().send(frame).is_ok(),
            None => { sender = None; false }
        };

        let context = Call::begin(time::now(), None);
        let mut request = http::Request::post("/p").header("a", "1").body(CallBody::new(context, body)).unwrap();
        let mut replay = Http::replay(&mut request, limit).unwrap();
        let mut attempts = vec![Some(Attempt::new(request))];
        let read = |attempts: &Vec<Option<Attempt>>, most: usize| {
            attempts.iter().flatten().map(|attempt| attempt.data.len()).max().unwrap_or(0).max(most)
        };
        let mut most = 0;
        for step in steps {
            match step {
                Step::Send => { send(); }
                Step::Again => match replay.again() {
                    Some(request) => {
                        prop_assert!(most <= limit);
                        attempts.push(Some(Attempt::new(request)));
                    }
                    None => prop_assert!(most > limit),
                },
                Step::Read(which) => if let Some(Some(attempt)) = attempts.get_mut(which) { attempt.read() },
                Step::Drop(which) => if let Some(attempt) = attempts.get_mut(which) { *attempt = None },
            }
            most = read(&attempts, most);
            for attempt in attempts.iter().flatten() {
                prop_assert!(whole.starts_with(&attempt.data));
            }
        }
        while send() {}
        send();
        attempts.extend(replay.again().map(|request| Some(Attempt::new(request))));
        for attempt in attempts.iter_mut().flatten() {
            while attempt.ended.is_none() {
                attempt.read();
            }
            match attempt.ended.as_ref().unwrap() {
                Ok(()) => {
                    prop_assert_eq!(&attempt.data, &whole);
                    prop_assert_eq!(attempt.trailers, with_trailers);
                }
                Err(error) => prop_assert!(error.contains("than is kept") && whole.len() > limit, "{}", error),
            }
        }
    }
}

#[test]
fn without_a_body_it_can_be_sent_for_ever() {
    let context = Call::begin(time::now(), None);
    let mut request = http::Request::get("/").header("a", "1").body(CallBody::new(context, Body::empty())).unwrap();
    let mut replay = Http::replay(&mut request, 0).unwrap();
    for _ in 0..3 {
        let again = replay.again().unwrap();
        assert_eq!(again.headers()["a"], "1");
        assert!(again.body().is_end_stream() && again.body().context().is_some());
    }
}

#[tokio::test]
async fn a_waiting_attempt_hears_what_another_reads() {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = tokio_stream::StreamExt::map(stream, |data| Ok::<_, BoxError>(Frame::data(data)));
    let body = Body::boxed(StreamBody::new(frames));
    let context = Call::begin(time::now(), None);
    let mut request = http::Request::post("/").body(CallBody::new(context.clone(), body)).unwrap();
    let mut replay = Http::replay(&mut request, 100).unwrap();
    let first = tokio::spawn(request.into_body().collect());
    let second = tokio::spawn(replay.again().unwrap().into_body().collect());
    tokio::task::yield_now().await;
    sender.send(Bytes::from_static(b"abc")).await.unwrap();
    tokio::task::yield_now().await;
    // the one that polled last goes: the other must not wait for its wake
    second.abort();
    let third = tokio::spawn(replay.again().unwrap().into_body().collect());
    sender.send(Bytes::from_static(b"def")).await.unwrap();
    drop(sender);
    for attempt in [first, third] {
        assert_eq!(attempt.await.unwrap().unwrap().to_bytes(), "abcdef");
    }
}

#[test]
fn a_further_attempt_reopens_the_request() {
    let context = Call::begin(time::now(), None);
    let body = CallBody::new(context.clone(), Body::full("abc"));
    let mut request = http::Request::post("/").body(body).unwrap();
    let mut replay = Http::replay(&mut request, 100).unwrap();
    assert_eq!(request.body().size_hint().exact(), Some(3));
    drop(request);
    assert!(context.request_ended().is_some());
    let again = replay.again().unwrap();
    assert!(context.request_ended().is_none());
    drop(again);
    assert!(context.request_ended().is_some());
}
