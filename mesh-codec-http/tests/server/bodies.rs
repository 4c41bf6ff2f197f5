use crate::harness::{connect_fn, connect_through, get, grpc, options, response};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{Body, HttpError, Request, Response, server::Protocol};
use mesh_core::{BoxError, Kind, Rejection, http::GovernedBody};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::io::AsyncReadExt;
use tower::service_fn;

/// Reads the request's body and gives it back, trailers too.
async fn echo(request: Request) -> Result<Response, HttpError> {
    let collected = request.into_body().collect().await;
    let collected = collected.map_err(|error| Rejection::new(Kind::Malformed).because(error))?;
    let trailers = collected.trailers().cloned();
    let data = collected.to_bytes();
    let mut frames = vec![Ok::<_, BoxError>(Frame::data(data))];
    frames.extend(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
    let mut response = response(Body::boxed(StreamBody::new(tokio_stream::iter(frames))));
    response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    Ok(response)
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways_on_http_1() {
    let request = |te: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{te}transfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n\
             3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-sum: 5\r\n\r\n"
        )
    };
    let answer = connect_fn(options(Protocol::Http), echo).talk(&request("te: trailers\r\n")).await;
    assert!(answer.contains("transfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5\r\nabcde\r\n0\r\nx-sum: 5\r\n\r\n"), "{answer}");
    let answer = connect_fn(options(Protocol::Http), echo).talk(&request("")).await;
    assert!(answer.ends_with("\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"), "a client that wants no trailers: {answer}");
}

#[tokio::test]
async fn a_stream_of_messages_and_trailers_passes_both_ways_on_http_2() {
    let mut client = connect_fn(options(Protocol::Http), |request: Request| async move {
        let mut response = http::Response::new(GovernedBody::new(Body::boxed(request.into_body())).grpc(true));
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        Ok::<_, HttpError>(response)
    })
    .http2()
    .await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let receiver = StreamBody::new(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    let answer = client.try_send(grpc("/s.S/bidi"), receiver.boxed()).await.unwrap();
    let mut body = answer.into_body();
    for message in ["one", "two"] {
        sender.send(Ok(Frame::data(Bytes::from_static(message.as_bytes())))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(sender);
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn continue_is_said_when_the_service_wants_the_body() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let mut connected = connect_fn(options(Protocol::Http), echo);
    connected.send(head).await;
    assert_eq!(connected.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    let answer = connected.talk("hi").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nhi\r\n"), "{answer}");

    let refusing = async |_| Err::<Response, HttpError>(Rejection::new(Kind::BodyTooLarge).into());
    let answer = connect_fn(options(Protocol::Http), refusing).talk(head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "a refusal comes before the body: {answer}");
}

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault() {
    let answer = connect_fn(options(Protocol::Http), echo)
        .talk("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// A body without an end that counts what was taken from it.
struct Endless(Arc<AtomicUsize>);
const CHUNK: usize = 16 * 1024;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(CHUNK, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; CHUNK])))))
    }
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_more_of_a_response_is_taken_than_the_client_reads() {
    let taken = Arc::new(AtomicUsize::new(0));
    let endless = || {
        let taken = taken.clone();
        service_fn(move |_| {
            let body = Body::boxed(Endless(taken.clone()));
            async move { Ok::<_, HttpError>(response(body)) }
        })
    };
    let mut connected = connect_through(options(Protocol::Http), 4096, endless());
    connected.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    settle().await;
    let at_first = taken.load(Relaxed);
    assert!(at_first > 0 && at_first <= 64 * 1024 + 2 * CHUNK, "{at_first}");
    let mut read = vec![0; 256 * 1024];
    connected.io.read_exact(&mut read).await.unwrap();
    settle().await;
    let later = taken.load(Relaxed);
    assert!(later >= read.len() && later <= at_first + read.len() + 2 * CHUNK, "{at_first} {later}");

    taken.store(0, Relaxed);
    let mut client = connect_through(options(Protocol::Http), 4096, endless()).http2().await;
    let answer = client.send(get("/"), "").await;
    settle().await;
    // the client's window (hyper's default: 2 MiB a stream), and what is held for when it opens
    let most = 2 * 1024 * 1024 + 64 * 1024 + 2 * CHUNK;
    assert!(taken.load(Relaxed) <= most, "{}", taken.load(Relaxed));
    drop(answer);
}

#[tokio::test]
async fn no_more_of_a_request_is_taken_than_the_service_reads() {
    // the service keeps the body and never reads it
    let keeping = || {
        service_fn(|request: Request| async move {
            std::future::pending::<()>().await;
            Ok::<_, HttpError>(response(Body::boxed(request.into_body())))
        })
    };
    let sent = Arc::new(AtomicUsize::new(0));
    let mut client = connect_through(options(Protocol::Http), 4096, keeping()).http2().await;
    let body = Endless(sent.clone()).boxed();
    let pending = tokio::spawn(async move { client.try_send(http::Request::post("http://a/"), body).await });
    settle().await;
    let sent = sent.load(Relaxed);
    assert!(sent > 0 && sent <= 256 * 1024 + 1024 * 1024, "window of the stream, buffer of the client: {sent}");
    pending.abort();
}

#[tokio::test]
async fn the_length_of_a_response_is_kept() {
    struct Sized(Option<Bytes>);
    impl http_body::Body for Sized {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
        }
    }
    assert_eq!(Sized(None).size_hint().exact(), Some(0));
    let sized = async |_| Ok::<_, HttpError>(response(Body::boxed(Sized(Some(Bytes::from_static(b"12345"))))));
    let answer =
        connect_fn(options(Protocol::Http), sized).talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\n12345"), "{answer}");
}
