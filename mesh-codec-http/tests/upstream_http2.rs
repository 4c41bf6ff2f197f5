//! The HTTP/2 upstream against servers of `h2`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod upstream_support;

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http_body_util::{BodyExt as _, StreamBody};
use mesh_codec_http::{
    Body, HttpError, Request, UpstreamErrorKind,
    upstream::{Transport, UpstreamOptions, UpstreamProtocol, sweep},
};
use mesh_core::{Context, Refusal as _, Side, http::CallBody, time};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    join,
    sync::mpsc,
};
use upstream_support::{Client, InMemory, Raw, read, text};

type Server = h2::server::Connection<DuplexStream, Bytes>;

struct Listener(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener {
    fn new() -> (Self, Client) {
        let (connector, others) = InMemory::new();
        let options = UpstreamOptions { protocol: UpstreamProtocol::Http2, connector, ..UpstreamOptions::default() };
        (Self(others), Client::with("127.0.0.1:1".parse().unwrap(), options))
    }

    async fn accept(&mut self, streams: Option<u32>) -> Server {
        let mut builder = h2::server::Builder::new();
        if let Some(streams) = streams {
            builder.max_concurrent_streams(streams);
        }
        builder.handshake(self.0.recv().await.unwrap()).await.unwrap()
    }
}

/// Answers each request with its path and body.
async fn echo<I: AsyncRead + AsyncWrite + Unpin>(mut server: h2::server::Connection<I, Bytes>) {
    while let Some(Ok((request, respond))) = server.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut text = format!("{} {} ", parts.method, parts.uri).into_bytes();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
    stream.send_data(text.into(), false).unwrap();
    stream.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
}

fn request(method: &str, body: Body) -> Request {
    let context = Context::begin(time::now(), None);
    let request = http::Request::builder().method(method).uri("http://shop/path").version(http::Version::HTTP_2);
    request.body(CallBody::new(context, body)).unwrap()
}

fn get() -> Request {
    request("GET", Body::empty())
}

fn kind(error: &HttpError) -> UpstreamErrorKind {
    match error {
        HttpError::Upstream(error) => error.kind(),
        HttpError::Refused(rejection) => panic!("{rejection}"),
    }
}

fn fed() -> (mpsc::Sender<&'static str>, Body) {
    let (sender, receiver) = mpsc::channel::<&'static str>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = tokio_stream::StreamExt::map(stream, |text| match text {
        "fail" => Err("the client is gone"),
        "trailers" => {
            Ok(http_body::Frame::trailers([("t".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()))
        }
        text => Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes()))),
    });
    (sender, Body::boxed(StreamBody::new(frames)))
}

#[tokio::test(start_paused = true)]
async fn requests_share_a_connection_and_wait_for_it() {
    let (mut listener, client) = Listener::new();
    let serve = tokio::spawn(async move {
        echo(listener.accept(None).await).await;
        listener
    });
    let calls: Vec<_> = (0..50).map(|_| client.call(get())).collect();
    for call in calls {
        let (body, trailers) = read(call.await.unwrap()).await;
        assert_eq!(body, "GET http://shop/path ");
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    }
    assert_eq!(client.connections(), (1, 1));
    let response = client.call(request("POST", Body::full("abc"))).await.unwrap();
    assert_eq!(text(response).await, "POST http://shop/path abc");
    client.endpoint_leaves();
    serve.await.unwrap();
    assert_eq!(client.connections(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_connection_gets_company() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move {
        loop {
            let server = listener.accept(Some(2)).await;
            tokio::spawn(echo(server));
        }
    });
    // open responses: each holds a stream
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(client.call(get()).await.unwrap());
    }
    assert_eq!(client.connections(), (3, 0));
    for response in open {
        assert_eq!(text(response).await, "GET http://shop/path ");
    }
    assert_eq!(client.connections(), (3, 3));
    // at once: they wait for one connection after the other
    let calls: Vec<_> = (0..9).map(|_| tokio::spawn(client.call(get()))).collect();
    for call in calls {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "GET http://shop/path ");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_before_the_request_is_complete() {
    let (mut listener, client) = Listener::new();
    let (sender, body) = fed();
    let server = tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            stream.send_data(data.unwrap(), false).unwrap();
        }
        let trailers = body.trailers().await.unwrap().unwrap();
        stream.send_trailers(trailers).unwrap();
    });
    let mut response = client.call(request("POST", body)).await.unwrap();
    for text in ["one", "two", "three"] {
        sender.send(text).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    sender.send("trailers").await.unwrap();
    assert_eq!(read(response).await.1.unwrap()["t"], "1");
    server.await.unwrap();
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_early_cancels_the_stream_and_the_upload() {
    let (mut listener, client) = Listener::new();
    let (sender, body) = fed();
    let server = tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        let (_request, mut respond) = server.accept().await.unwrap().unwrap();
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        let reset = std::future::poll_fn(|cx| stream.poll_reset(cx));
        tokio::select! {
            reset = reset => reset.unwrap(),
            _ = server.accept() => panic!("no more"),
        }
    });
    let response = client.call(request("POST", body)).await.unwrap();
    assert_eq!(client.connections(), (1, 0));
    drop(response);
    assert_eq!(client.connections(), (1, 1));
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
    sender.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_cancels_the_stream() {
    let (mut listener, client) = Listener::new();
    let server = tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        let (_request, mut respond) = server.accept().await.unwrap().unwrap();
        let reset = std::future::poll_fn(|cx| respond.poll_reset(cx));
        tokio::select! {
            reset = reset => reset.unwrap(),
            _ = server.accept() => panic!("no more"),
        }
    });
    let mut call = client.call(get());
    // until the request is out
    while client.connections() != (1, 0) {
        tokio::select! {
            biased;
            _ = &mut call => panic!("no response"),
            () = tokio::task::yield_now() => {}
        }
    }
    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = &mut call => panic!("no response"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(call);
    assert_eq!(client.connections(), (1, 1));
    assert_eq!(server.await.unwrap(), Reason::CANCEL);
}

/// Whoever began it may be gone: the others get their connection.
#[tokio::test(start_paused = true)]
async fn the_first_to_wait_may_leave() {
    let (mut listener, client) = Listener::new();
    let mut first = client.call(get());
    let mut second = client.call(get());
    tokio::select! {
        biased;
        _ = &mut first => panic!("no server yet"),
        _ = &mut second => panic!("no server yet"),
        () = std::future::ready(()) => {}
    }
    drop(first);
    tokio::spawn(async move { echo(listener.accept(None).await).await });
    assert_eq!(text(second.await.unwrap()).await, "GET http://shop/path ");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_sent_again() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        let mut count = 0;
        while let Some(Ok((request, mut respond))) = server.accept().await {
            count += 1;
            if count % 2 == 1 {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                tokio::spawn(answer(request, respond));
            }
        }
    });
    let once = get();
    let context = once.body().context().clone();
    assert_eq!(text(client.call(once).await.unwrap()).await, "GET http://shop/path ");
    assert_eq!(context.attempts(), 2);
    // a unary call: the one frame is kept
    let post = request("POST", Body::full("unary"));
    assert_eq!(text(client.call(post).await.unwrap()).await, "POST http://shop/path unary");
    // of a stream, what has not been taken follows
    let (sender, body) = fed();
    sender.send("first").await.unwrap();
    let (response, ()) = join!(client.call(request("POST", body)), async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sender.send("-second").await.unwrap();
    });
    assert_eq!(text(response.unwrap()).await, "POST http://shop/path first-second");
}

#[tokio::test(start_paused = true)]
async fn twice_refused_is_refused() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        while let Some(Ok((_, mut respond))) = server.accept().await {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    });
    let error = client.call(get()).await.unwrap_err();
    assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::RefusedStream, Side::Upstream));
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_reset_is_not_sent_again() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        while let Some(Ok((request, mut respond))) = server.accept().await {
            match request.uri().path() {
                "/path" => respond.send_reset(Reason::INTERNAL_ERROR),
                _ => drop(tokio::spawn(answer(request, respond))),
            }
        }
    });
    let error = client.call(get()).await.unwrap_err();
    assert_eq!(kind(&error), UpstreamErrorKind::Reset);
}

/// A server that goes away in the middle: it looked at the first request, not at the second.
#[tokio::test]
async fn what_a_goaway_left_out_is_sent_again() {
    let raw = Raw::bind().await;
    let client = Client::new(raw.address(), UpstreamProtocol::Http2);
    let mut first = client.call(get());
    let mut second = client.call(request("POST", Body::full("unary")));
    let mut peer = tokio::select! {
        biased;
        _ = &mut first => panic!("no response yet"),
        _ = &mut second => panic!("no response yet"),
        peer = raw.accept() => peer.stream,
    };
    // SETTINGS
    peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut preface = [0; 24];
    let both_are_out = async {
        peer.read_exact(&mut preface).await.unwrap();
        let mut seen = 0;
        while seen < 2 {
            let mut head = [0; 9];
            peer.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            peer.read_exact(&mut payload).await.unwrap();
            seen += u32::from(head[3] == 1);
        }
    };
    tokio::select! {
        biased;
        _ = &mut first => panic!("no response yet"),
        _ = &mut second => panic!("no response yet"),
        () = both_are_out => {}
    }
    // GOAWAY, last stream 1, NO_ERROR; then the response to stream 1: HEADERS with END_STREAM, `:status: 204`
    peer.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).await.unwrap();
    let next = async {
        let stream = raw.accept().await.stream;
        echo(h2::server::handshake(stream).await.unwrap()).await;
    };
    tokio::select! {
        biased;
        _ = &mut first => panic!("no response yet"),
        response = &mut second => assert_eq!(text(response.unwrap()).await, "POST http://shop/path unary"),
        () = next => panic!("it stays"),
    }
    peer.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x89]).await.unwrap();
    assert_eq!(first.await.unwrap().status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection() {
    let (mut listener, client) = Listener::new();
    let mut server = {
        let (response, server) = join!(client.call(get()), async {
            let mut server = listener.accept(None).await;
            let (_, mut respond) = server.accept().await.unwrap().unwrap();
            respond.send_response(http::Response::new(()), true).unwrap();
            tokio::select! {
                _ = server.accept() => panic!("no more"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            server
        });
        response.unwrap();
        server
    };
    // it had carried a request, and this one may be repeated
    let (response, ()) = join!(client.call(get()), async {
        drop(server.accept().await.unwrap().unwrap());
        drop(server);
        let mut server = listener.accept(None).await;
        let (_, mut respond) = server.accept().await.unwrap().unwrap();
        respond.send_response(http::Response::new(()), true).unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
    });
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_upload_is_the_clients_doing() {
    let (mut listener, client) = Listener::new();
    let server = tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        let (request, _respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let mut body = request.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "abc");
        body.data().await.unwrap().unwrap_err()
    });
    let (sender, body) = fed();
    let (response, ()) = join!(client.call(request("POST", body)), async {
        sender.send("abc").await.unwrap();
        sender.send("fail").await.unwrap();
    });
    let error = response.unwrap_err();
    assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::RequestBody, Side::Downstream));
    assert_eq!(server.await.unwrap().reason(), Some(Reason::CANCEL));
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn back_pressure_both_ways() {
    let (mut listener, client) = Listener::new();
    let chunk = Bytes::from(vec![b'x'; 16 * 1024]);
    let server = tokio::spawn({
        let chunk = chunk.clone();
        async move {
            let mut server = listener.accept(None).await;
            let (request, mut respond) = server.accept().await.unwrap().unwrap();
            tokio::spawn(async move { while server.accept().await.is_some() {} });
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            // nobody reads the request's body; the response's goes as far as the window
            let mut sent = 0;
            loop {
                stream.reserve_capacity(chunk.len());
                let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx));
                match tokio::time::timeout(Duration::from_millis(200), granted).await {
                    Ok(granted) => {
                        let granted = granted.unwrap().unwrap().min(chunk.len());
                        stream.send_data(chunk.slice(..granted), false).unwrap();
                        sent += granted;
                    }
                    Err(_) => return (sent, request, stream),
                }
            }
        }
    });
    let polled = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let body = {
        let (polled, chunk) = (polled.clone(), chunk.clone());
        let frames = std::iter::repeat_with(move || {
            polled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(http_body::Frame::data(chunk.clone()))
        });
        Body::boxed(StreamBody::new(tokio_stream::iter(frames)))
    };
    let mut response = client.call(request("POST", body)).await.unwrap();
    let (sent, _request, _stream) = server.await.unwrap();
    assert_eq!(sent, 64 * 1024, "the window of a stream");
    // the upstream's window is 64 KiB - 1: the frame that does not fit waits, no further one is taken
    let polled = polled.load(std::sync::atomic::Ordering::Relaxed);
    assert!(polled <= 5, "{polled} frames were taken");
    let mut read = 0;
    while read < sent {
        read += response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_grow_old() {
    let (mut listener, client) = Listener::new();
    let server = tokio::spawn(async move { echo(listener.accept(None).await).await });
    let start = time::now();
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    assert_eq!(text(client.call(get()).await.unwrap()).await, "GET http://shop/path ");
    sweep(at(1));
    sweep(at(40));
    // used between two sweeps: young again
    assert_eq!(text(client.call(get()).await.unwrap()).await, "GET http://shop/path ");
    sweep(at(61));
    assert_eq!(client.connections(), (1, 1));
    let open = client.call(get()).await.unwrap();
    sweep(at(200));
    assert_eq!(client.connections(), (1, 0), "in use");
    assert_eq!(text(open).await, "GET http://shop/path ");
    sweep(at(201));
    sweep(at(261));
    server.await.unwrap();
    while client.connections() != (0, 0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_peer_of_another_protocol() {
    let raw = Raw::bind().await;
    let client = Client::new(raw.address(), UpstreamProtocol::Http2);
    let (response, ()) = join!(client.call(get()), async {
        let mut peer = raw.accept().await;
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.closed().await;
    });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Protocol);
    assert_eq!(client.connections(), (0, 0));
}

/// It takes connections and says nothing.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_in_time() {
    struct Silent(std::sync::Mutex<Vec<tokio::io::DuplexStream>>);
    impl mesh_codec_http::upstream::Connect for Silent {
        fn connect<'a>(&'a self, _: &'a mesh_core::Address, _: Duration) -> mesh_codec_http::upstream::Connecting<'a> {
            let (ours, theirs) = tokio::io::duplex(1024);
            self.0.lock().unwrap().push(theirs);
            Box::pin(async { Ok(Transport::new(ours)) })
        }
    }
    let options = UpstreamOptions {
        protocol: UpstreamProtocol::AsDownstream,
        connector: Arc::new(Silent(std::sync::Mutex::default())),
        ..UpstreamOptions::default()
    };
    let client = Client::with("127.0.0.1:1".parse().unwrap(), options);
    let start = tokio::time::Instant::now();
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(client.call(get()))).collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(kind(&error), UpstreamErrorKind::ConnectTimeout, "{error}");
    }
    assert_eq!(start.elapsed().as_millis() / 10, 500, "5 s, and a tick of the timer");
    assert_eq!(client.connections(), (0, 0));
}

#[tokio::test]
async fn one_that_closes_at_once_is_given_up() {
    let raw = Raw::bind().await;
    let client = Client::new(raw.address(), UpstreamProtocol::Http2);
    let refusing = async {
        loop {
            let mut peer = raw.accept().await.stream;
            // SETTINGS, then GOAWAY
            peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            peer.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        }
    };
    tokio::select! {
        response = client.call(get()) => {
            let kind = kind(&response.unwrap_err());
            assert!(matches!(kind, UpstreamErrorKind::Reset | UpstreamErrorKind::RefusedStream), "{kind:?}");
        }
        () = refusing => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn informational_answers_are_passed_over_and_heads_have_no_body() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move {
        let mut server = listener.accept(None).await;
        while let Some(Ok((request, mut respond))) = server.accept().await {
            respond.send_informational(http::Response::builder().status(103).body(()).unwrap()).unwrap();
            let length = http::Response::builder().header("content-length", "7").body(()).unwrap();
            let is_head = request.method() == http::Method::HEAD;
            let mut stream = respond.send_response(length, is_head).unwrap();
            if !is_head {
                stream.send_data(Bytes::from_static(b"7 bytes"), true).unwrap();
            }
        }
    });
    let response = client.call(request("HEAD", Body::empty())).await.unwrap();
    assert!(response.body().is_bodyless());
    assert_eq!(response.headers()["content-length"], "7");
    assert_eq!(client.connections(), (1, 1), "its stream has ended");
    assert_eq!(text(response).await, "");
    let response = client.call(get()).await.unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(7));
    assert_eq!(text(response).await, "7 bytes");
}

/// Of two requests that came over different versions each goes on in its own.
#[tokio::test]
async fn as_the_downstream_speaks() {
    let raw = Raw::bind().await;
    let client = Client::new(raw.address(), UpstreamProtocol::AsDownstream);
    let (response, _peer) = join!(client.call(upstream_support::get()), async {
        let mut peer = raw.accept().await;
        peer.answer(upstream_support::OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    let mut call = client.call(get());
    let server = tokio::select! {
        _ = &mut call => panic!("no response yet"),
        peer = raw.accept() => peer.stream,
    };
    tokio::spawn(async move { echo(h2::server::handshake(server).await.unwrap()).await });
    assert_eq!(text(call.await.unwrap()).await, "GET http://shop/path ");
    assert_eq!(client.connections(), (2, 2));
}

/// From HTTP/1.1 to HTTP/2: the host becomes the authority.
#[tokio::test(start_paused = true)]
async fn a_request_of_http_1_1_over_http_2() {
    let (mut listener, client) = Listener::new();
    tokio::spawn(async move { echo(listener.accept(None).await).await });
    let response = client.call(upstream_support::request("POST", Body::full("abc"))).await.unwrap();
    assert_eq!(text(response).await, "POST http://shop/path?q=1 abc");
}
