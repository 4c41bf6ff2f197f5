//! Both sides together: a client, the server, the upstream side, and an upstream over a socket.

use crate::harness::{
    Connected, Ends, connect, connect_through, full, get, grpc, in_memory, mirror, options, response,
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{
    Body, HttpError, Request, Response,
    forward::{Forwarded, RequestId},
    server::{Options, Protocol, Server},
    upstream::{Upstream, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{BoxError, Code, Endpoint, Outcome, Peer, Side, Target, http::GovernedBody, http::parse_grpc_timeout};
use mesh_net::Drain;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::service_fn;

fn plain() -> Options {
    Options { forwarded: Forwarded::Off, request_id: RequestId::Off, ..options(Protocol::Http) }
}

fn upstream(address: SocketAddr, protocol: UpstreamProtocol) -> Upstream {
    Upstream::new(&Endpoint::new(Target::new(address)), UpstreamOptions { protocol, ..UpstreamOptions::default() })
}

/// A client connected to a proxy in front of this upstream.
fn proxy(address: SocketAddr, protocol: UpstreamProtocol) -> Connected {
    connect(plain(), upstream(address, protocol))
}

/// An upstream that speaks either protocol.
async fn serve<F, T>(function: F) -> SocketAddr
where
    F: Fn(Request) -> T + Clone + Send + 'static,
    T: Future<Output = Result<Response, HttpError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let server = Server::new(plain());
        loop {
            let (io, _) = listener.accept().await.unwrap();
            tokio::spawn(server.serve(io, Arc::new(Peer::UNKNOWN), service_fn(function.clone()), Drain::new().watch()));
        }
    });
    address
}

/// An upstream whose every byte is in the test's hands.
async fn raw() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn read_until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        read.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn http_1_to_http_1_byte_for_byte() {
    let (listener, address) = raw().await;
    let mut client = proxy(address, UpstreamProtocol::AsDownstream);
    client
        .send(concat!(
            "POST /p?q HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n",
            "Transfer-Encoding: chunked\r\nX-End: 2\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ))
        .await;
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_until(&mut server, "\r\n\r\n").await;
    assert_eq!(head, "POST /p?q HTTP/1.1\r\nhost: shop\r\nx-end: 2\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(read_until(&mut server, "0\r\n\r\n").await, "3\r\nabc\r\n0\r\n\r\n");
    let answer = concat!(
        "HTTP/1.1 203 Odd\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\n",
        "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-Mesh-Rejected-By: me\r\nX-End: 2\r\n\r\nto the end"
    );
    server.write_all(answer.as_bytes()).await.unwrap();
    drop(server);
    let answer = client.read_until("\r\n0\r\n\r\n").await;
    assert_eq!(
        answer,
        concat!(
            "HTTP/1.1 203 Odd\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\nx-end: 2\r\n",
            "transfer-encoding: chunked\r\n\r\nA\r\nto the end\r\n0\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn requests_are_translated() {
    let address = serve(mirror).await;
    let mut client = proxy(address, UpstreamProtocol::Http2);
    client.send("GET /p?q HTTP/1.1\r\nhost: shop:80\r\ncookie: a=1\r\n\r\n").await;
    let answer = client.read_until("\n.\n").await;
    assert!(answer.ends_with("\r\n\r\nGET http://shop:80/p?q HTTP/2.0\ncookie: a=1\n.\n"), "{answer}");
    // an HTTP/1.0 client without a host
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let mut rest = String::new();
    client.io.read_to_string(&mut rest).await.unwrap();
    let expected = format!("\r\n\r\nGET http://{address}/ HTTP/2.0\n.\n");
    assert!(rest.starts_with("HTTP/1.0 200") && rest.ends_with(&expected), "it gets the endpoint's address: {rest}");

    let mut client = proxy(address, UpstreamProtocol::Http1).http2().await;
    let request = get("/p?q").header("cookie", "a=1").header("cookie", "b=2").header("te", "trailers");
    let seen = text(client.send(request, "").await).await;
    assert_eq!(seen, "GET /p?q HTTP/1.1\ncookie: a=1; b=2\nhost: shop.local\nte: trailers\n.\n");

    let mut client = proxy(address, UpstreamProtocol::AsDownstream).http2().await;
    let seen = text(client.send(get("/p?q"), "").await).await;
    assert_eq!(seen, "GET http://shop.local/p?q HTTP/2.0\n.\n");
}

/// Gives the request's body back as it comes, trailers too.
async fn echo(request: Request) -> Result<Response, HttpError> {
    let grpc = request.headers().get("content-type").cloned();
    let timeout = request.headers().get("grpc-timeout").cloned();
    let mut response = http::Response::new(GovernedBody::new(Body::boxed(request.into_body())).grpc(grpc.is_some()));
    response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    for (name, value) in [("content-type", grpc), ("x-timeout", timeout)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

#[tokio::test]
async fn trailers_cross_in_all_four_ways() {
    let address = serve(echo).await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let mut client = proxy(address, protocol);
        client
            .send(concat!(
                "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n",
                "3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n"
            ))
            .await;
        let answer = client.read_until("0\r\nx-sum: 3\r\n\r\n").await;
        assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n"), "{protocol:?}: {answer}");

        let mut client = proxy(address, protocol).http2().await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "3".parse().unwrap());
        let frames = [Frame::data(Bytes::from_static(b"abc")), Frame::trailers(trailers.clone())];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>))).boxed();
        let request = http::Request::post("http://a/").header("te", "trailers").header("trailer", "x-sum");
        let answer = client.try_send(request, body).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.trailers(), Some(&trailers), "{protocol:?}");
        assert_eq!(answer.to_bytes(), "abc");
    }
}

#[tokio::test]
async fn a_grpc_call_streams_both_ways_and_its_timeout_shrinks() {
    let address = serve(echo).await;
    let mut client = proxy(address, UpstreamProtocol::AsDownstream).http2().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let body = StreamBody::new(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)).boxed();
    let answer = client.try_send(grpc("/s.S/bidi").header("grpc-timeout", "1H"), body).await.unwrap();
    let written = parse_grpc_timeout(answer.headers()["x-timeout"].as_bytes()).unwrap();
    assert!(written < Duration::from_secs(3600) && written > Duration::from_secs(3500), "{written:?}");
    let mut body = answer.into_body();
    for message in ["one", "two", "three"] {
        sender.send(Ok(Frame::data(Bytes::from_static(message.as_bytes())))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), message);
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("grpc-message", "fine".parse().unwrap());
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn a_deadline_ends_a_stream_on_both_sides() {
    let ends = Ends::default();
    let watch = ends.clone();
    let address = serve(move |_| {
        let watch = watch.clone();
        async move {
            let frames = tokio_stream::once(Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"one"))));
            let frames = tokio_stream::StreamExt::chain(frames, tokio_stream::pending());
            let body = GovernedBody::new(Body::boxed(StreamBody::new(frames))).grpc(true);
            let mut response = watch.open(http::Response::new(body));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok(response)
        }
    })
    .await;
    let mut client = proxy(address, UpstreamProtocol::AsDownstream).http2().await;
    let answer = client.send(grpc("/s.S/m").header("grpc-timeout", "1S"), "").await;
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "4");
    assert_eq!(answer.to_bytes(), "one");
    // the upstream's own deadline, or the stream that is reset
    ends.next_in_time().await;
}

#[tokio::test]
async fn continue_waits_for_the_upstream() {
    let (listener, address) = raw().await;
    let mut client = proxy(address, UpstreamProtocol::AsDownstream);
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_until(&mut server, "\r\n\r\n").await;
    assert_eq!(head, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(read_until(&mut server, "abc").await, "abc");
    server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 204 No Content\r\n"));

    // nobody there: no 100 either
    let (listener, address) = raw().await;
    drop(listener);
    let mut client = proxy(address, UpstreamProtocol::AsDownstream);
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n").await;
    assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
}

#[tokio::test]
async fn bodyless_answers() {
    let (listener, address) = raw().await;
    let mut client = proxy(address, UpstreamProtocol::AsDownstream);
    tokio::spawn(async move {
        let (mut server, _) = listener.accept().await.unwrap();
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            read_until(&mut server, "\r\n\r\n").await;
            server.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for (method, status, length) in [
        ("HEAD", "200", Some("7")),
        ("GET", "204", None),
        ("GET", "304", None),
        ("GET", "200", Some("0")),
        ("GET", "200", None),
    ] {
        client.send(&format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let mut answer = client.read_until("\r\n\r\n").await;
        assert_eq!(&answer[9..12], status);
        if answer.contains("chunked") {
            answer += &client.read_until("0\r\n\r\n").await;
        } else if let Some(length) = length {
            assert!(answer.contains(&format!("content-length: {length}\r\n")), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_is_gone_for_the_upstream_too() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let ends = Ends::default();
        let watch = ends.clone();
        let stuck = move |_| {
            let watch = watch.clone();
            async move {
                let frames = tokio_stream::once(Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"hi"))));
                let frames = tokio_stream::StreamExt::chain(frames, tokio_stream::pending());
                Ok(watch.open(response(Body::boxed(StreamBody::new(frames)))))
            }
        };
        let address = serve(stuck).await;
        let mut client = proxy(address, protocol);
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.read_until("hi\r\n").await;
        drop(client.io);
        let expected = (Outcome::Cancelled, Side::Downstream, Code::Http(200), 2);
        assert_eq!(ends.next_in_time().await, expected);

        let mut client = proxy(address, protocol).http2().await;
        let mut body = client.send(get("/"), "").await.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(ends.next_in_time().await, expected);
    }
}

#[tokio::test]
async fn a_cut_response_is_seen_to_be_cut() {
    let (listener, address) = raw().await;
    let cutting = async move |listener: TcpListener| {
        loop {
            let (mut server, _) = listener.accept().await.unwrap();
            read_until(&mut server, "\r\n\r\n").await;
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nabc").await.unwrap();
        }
    };
    tokio::spawn(cutting(listener));
    let answer = proxy(address, UpstreamProtocol::Http1).talk("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nabc") && answer.contains("content-length: 7\r\n"), "{answer}");
    let mut client = proxy(address, UpstreamProtocol::Http1).http2().await;
    let mut body = client.send(get("/"), "").await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn an_upstream_that_switches_protocols_unasked_is_broken() {
    let (listener, address) = raw().await;
    let mut client = proxy(address, UpstreamProtocol::Http1);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut server, _) = listener.accept().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await.unwrap();
    assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
}

#[tokio::test]
async fn nobody_there() {
    let (listener, address) = raw().await;
    drop(listener);
    let mut client = proxy(address, UpstreamProtocol::AsDownstream).http2().await;
    assert_eq!(client.send(get("/"), "").await.status(), 502);
    let answer = client.send(grpc("/s.S/m"), "").await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_the_upstream() {
    let (upstream, mut connections) = in_memory();
    let (told, mut written) = tokio::sync::watch::channel(0_usize);
    tokio::spawn(async move {
        let mut server = connections.recv().await.unwrap();
        read_until(&mut server, "\r\n\r\n").await;
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        loop {
            server.write_all(&[b'x'; 16 * 1024]).await.unwrap();
            told.send_modify(|written| *written += 16 * 1024);
        }
    });
    let mut client = connect_through(plain(), 4096, upstream);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // until the upstream cannot write on
    while tokio::time::timeout(Duration::from_secs(1), written.changed()).await.is_ok() {}
    let most = *written.borrow();
    assert!(most < 1024 * 1024, "{most}");
    let mut body = vec![0; 2 * most];
    client.io.read_exact(&mut body).await.unwrap();
    assert!(*written.borrow() >= most, "it goes on when the client reads");
}

#[tokio::test]
async fn uploads() {
    let counting = async |request: Request| {
        let length = request.headers().get("content-length").cloned();
        let body =
            request.into_body().collect().await.map_err(|error| {
                HttpError::from(mesh_core::Rejection::new(mesh_core::Kind::Malformed).because(error))
            })?;
        Ok(response(Body::full(format!("{} {length:?}", body.to_bytes().len()))))
    };
    let address = serve(counting).await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let large = "x".repeat(300_000);
        let mut client = proxy(address, protocol);
        client.send(&format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n{large}")).await;
        client.read_until("\r\n\r\n300000 Some(\"300000\")").await;
        client
            .send(&format!(
                "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n493e0\r\n{large}\r\n0\r\n\r\n"
            ))
            .await;
        client.read_until("\r\n\r\n300000 None").await;
        let mut client = proxy(address, protocol).http2().await;
        let answer = client.try_send(http::Request::put("http://a/"), full("12345")).await.unwrap();
        assert_eq!(text(answer).await, "5 Some(\"5\")", "{protocol:?}");
    }
}
