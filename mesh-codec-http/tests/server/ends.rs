use crate::harness::{Ends, HowEnded, connect, connect_through, full, get, ok, options, response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{Body, HttpError, Request, Response, server::Protocol};
use mesh_core::{Answer, BoxError, Code, Kind, Outcome, Rejection, Side, Tap, time};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tower::service_fn;

const WELL: HowEnded = (Outcome::Success, Side::Upstream, Code::Http(200), 2);
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn never(_: Request) -> Result<Response, HttpError> {
    std::future::pending().await
}

/// One message, and then nothing.
async fn stuck(_: Request) -> Result<Response, HttpError> {
    let frames = tokio_stream::once(Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"hi"))));
    let frames = tokio_stream::StreamExt::chain(frames, tokio_stream::pending());
    Ok(response(Body::boxed(StreamBody::new(frames))))
}

/// One message, and then an error.
async fn broken(_: Request) -> Result<Response, HttpError> {
    let frames = [Ok(Frame::data(Bytes::from_static(b"hi"))), Err(BoxError::from("gone"))];
    let frames = tokio_stream::StreamExt::throttle(tokio_stream::iter(frames), Duration::from_secs(1));
    Ok(response(Body::boxed(StreamBody::new(frames))))
}

#[tokio::test]
async fn when_the_response_was_written() {
    let ends = Ends::default();
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(ok)));
    connected.send(GET).await;
    connected.read_until("ok").await;
    assert_eq!(ends.take(), [WELL]);
    connected.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    connected.read_until("\r\n\r\n").await;
    assert_eq!(ends.take(), [(WELL.0, WELL.1, WELL.2, 0)]);
    connected.send("GET / HTTP/1.0\r\n\r\n").await;
    connected.read_until("ok").await;
    assert_eq!(ends.take(), [WELL]);

    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(ok))).http2().await;
    client.send(get("/"), "").await.into_body().collect().await.unwrap();
    assert_eq!(ends.next().await, WELL);
    client.send(http::Request::head("http://a/"), "").await.into_body().collect().await.unwrap();
    assert_eq!(ends.next().await, (WELL.0, WELL.1, WELL.2, 0));
}

#[tokio::test]
async fn when_the_client_goes_before_the_head() {
    let ends = Ends::default();
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(never)));
    connected.send(GET).await;
    tokio::task::yield_now().await;
    drop(connected.io);
    assert_eq!(ends.next().await, (Outcome::Cancelled, Side::Downstream, Code::None, 0));

    // over a wire that can be cut
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(never)));
    let (near, mut far) = tokio::io::duplex(4096);
    let mut io = std::mem::replace(&mut connected.io, near);
    let wire = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut io, &mut far).await });
    let mut client = connected.http2().await;
    // one stream is reset, then the connection is lost with another on it
    let mut calls: Vec<_> = (0..2)
        .map(|_| {
            let mut sender = client.sender.clone();
            tokio::spawn(async move { sender.send_request(get("/").body(full("")).unwrap()).await })
        })
        .collect();
    client.sender.ready().await.unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(ends.take().is_empty());
    calls.pop().unwrap().abort();
    assert_eq!(ends.next().await, (Outcome::Cancelled, Side::Downstream, Code::None, 0));
    wire.abort();
    assert_eq!(ends.next().await, (Outcome::Cancelled, Side::Downstream, Code::None, 0));
}

#[tokio::test]
async fn when_the_client_goes_in_the_middle_of_the_body() {
    let ends = Ends::default();
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(stuck)));
    connected.send(GET).await;
    connected.read_until("hi\r\n").await;
    drop(connected.io);
    assert_eq!(ends.next().await, (Outcome::Cancelled, Side::Downstream, Code::Http(200), 2));

    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(stuck))).http2().await;
    let mut body = client.send(get("/"), "").await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(ends.next().await, (Outcome::Cancelled, Side::Downstream, Code::Http(200), 2));
}

#[tokio::test(start_paused = true)]
async fn when_the_body_breaks() {
    let ends = Ends::default();
    let connected = connect(options(Protocol::Http), ends.watch(service_fn(broken)));
    let answer = connected.talk(GET).await;
    assert!(answer.ends_with("\r\n\r\n2\r\nhi\r\n"), "no last chunk: {answer}");
    assert_eq!(ends.take(), [(Outcome::Failure, Side::Upstream, Code::Http(200), 2)]);

    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(broken))).http2().await;
    let body = client.send(get("/"), "").await.into_body();
    assert!(body.collect().await.is_err());
    assert_eq!(ends.next().await, (Outcome::Failure, Side::Upstream, Code::Http(200), 2));
}

/// As a timeout does it for a body that takes too long.
struct After(time::Sleep);

impl Tap for After {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Rejection> {
        Pin::new(&mut self.0).poll(cx).map(|()| Rejection::new(Kind::Timeout))
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_tap_cuts_the_body_off() {
    const CUT: HowEnded = (Outcome::TimedOut, Side::Upstream, Code::Http(200), 2);
    let cut = |request| async {
        let mut response = stuck(request).await?;
        response.body_mut().guards_mut().tap(Box::new(After(time::sleep(Duration::from_secs(1)))));
        Ok(response)
    };
    let ends = Ends::default();
    let answer = connect(options(Protocol::Http), ends.watch(service_fn(cut))).talk(GET).await;
    assert!(answer.ends_with("\r\n\r\n2\r\nhi\r\n"), "no last chunk, and the end of the connection: {answer}");
    assert_eq!(ends.take(), [CUT]);

    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(cut))).http2().await;
    let mut body = client.send(get("/"), "").await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
    let error = body.frame().await.unwrap().unwrap_err();
    let reset = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>()).unwrap();
    assert!(reset.is_reset() && reset.is_remote(), "{reset}");
    assert_eq!(ends.next().await, CUT);
    let again = client.send(get("/"), "").await;
    assert_eq!(again.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn when_a_fault_or_the_task_ends_it() {
    let ends = Ends::default();
    let faulty = async |_| Err::<Response, HttpError>(Rejection::fault(Answer::Reset).into());
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(faulty)));
    connected.send(GET).await;
    connected.server.await.unwrap().unwrap();
    assert_eq!(ends.take().len(), 1);

    let mut connected = connect_through(options(Protocol::Http), 4096, ends.watch(service_fn(stuck)));
    connected.send(GET).await;
    connected.read_until("hi\r\n").await;
    connected.server.abort();
    assert_eq!(ends.next().await.0, Outcome::Cancelled);
}
