//! Upgrades and CONNECT, from clients through both sides to upstreams.

use crate::harness::{Connected, Ends, connect, connect_fn, connect_through, full, in_memory, mirror, options};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use mesh_codec_http::{
    Body, HttpError, Request, Response,
    forward::{Forwarded, RequestId},
    server::{Options, Protocol, Server},
    upstream::{Upstream, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Code, Endpoint, Outcome, Peer, Target, http::GovernedBody};
use mesh_net::Drain;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tower::service_fn;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: x\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                        Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n\r\n";

fn plain(protocol: Protocol) -> Options {
    Options { forwarded: Forwarded::Off, request_id: RequestId::Off, ..options(protocol) }
}

/// A client connected to a proxy in front of this upstream, and how calls ended.
fn proxy(address: SocketAddr, protocol: UpstreamProtocol) -> (Connected, Ends) {
    let options = UpstreamOptions { protocol, ..UpstreamOptions::default() };
    let ends = Ends::default();
    let upstream = ends.watch(Upstream::new(&Endpoint::new(Target::new(address)), options));
    (connect(plain(Protocol::Http), upstream), ends)
}

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

#[tokio::test]
async fn a_websocket_goes_through_and_its_ticket_is_open_until_it_ends() {
    let (listener, address) = raw().await;
    let (mut client, ends) = proxy(address, UpstreamProtocol::AsDownstream);
    // some clients do not wait
    client.send(&format!("{UPGRADE}early ")).await;
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(
        read_until(&mut server, "\r\n\r\n").await,
        "GET /chat HTTP/1.1\r\nhost: shop\r\nsec-websocket-key: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    );
    server.write_all(format!("{SWITCHED}first ").as_bytes()).await.unwrap();
    assert_eq!(
        client.read_until("first ").await,
        "HTTP/1.1 101 Switching Protocols\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\nupgrade: WebSocket\r\n\
         connection: upgrade\r\n\r\nfirst "
    );
    for _ in 0..3 {
        client.send("ping ").await;
        read_until(&mut server, "ping ").await;
        server.write_all(b"pong ").await.unwrap();
        client.read_until("pong ").await;
    }
    assert!(ends.take().is_empty());
    drop(server);
    assert_eq!(client.io.read(&mut [0]).await.unwrap(), 0);
    let (outcome, _, code, bytes) = ends.next_in_time().await;
    assert_eq!((outcome, code, bytes), (Outcome::Success, Code::Http(101), 21));
    // the server has ended; so has the client
    drop(client.io);
    client.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_goes_ends_it_at_the_upstream() {
    let (listener, address) = raw().await;
    let (mut client, ends) = proxy(address, UpstreamProtocol::Http1);
    client.send(UPGRADE).await;
    let (mut server, _) = listener.accept().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(SWITCHED.as_bytes()).await.unwrap();
    client.read_until("\r\n\r\n").await;
    client.io.shutdown().await.unwrap();
    // half closed: the upstream may go on
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    server.write_all(b"last words").await.unwrap();
    client.read_until("last words").await;
    drop(server);
    client.server.await.unwrap().unwrap();
    assert_eq!(ends.next().await.0, Outcome::Success);
}

#[tokio::test]
async fn an_upgrade_that_is_not_granted_is_a_request_like_others() {
    let (listener, address) = raw().await;
    let (mut client, _) = proxy(address, UpstreamProtocol::Http1);
    for _ in 0..2 {
        client.send(UPGRADE).await;
        let (mut server, _) = listener.accept().await.unwrap();
        read_until(&mut server, "\r\n\r\n").await;
        server.write_all(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\nupgrade: h3\r\n\r\nno").await.unwrap();
        let answer = client.read_until("no").await;
        assert!(answer.starts_with("HTTP/1.1 426") && !answer.contains("upgrade:"), "{answer}");
    }
    // nobody asked for this one
    client.send(UPGRADE).await;
    let (mut server, _) = listener.accept().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(SWITCHED.replace("WebSocket", "telnet").as_bytes()).await.unwrap();
    assert!(client.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn what_would_hide_requests_from_us_is_not_upgraded_to() {
    for fields in [
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\nupgrade: H2C\r\n",
        "connection: upgrade\r\nupgrade: HTTP/2.0\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.2\r\n",
        "connection: upgrade\r\nupgrade: websocket, h2c\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n",
        "connection: close\r\nupgrade: websocket\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 3\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut connected = connect_fn(plain(Protocol::Http), mirror);
        connected.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n3\r\nabc\r\n0\r\n\r\n")).await;
        let answer = connected.read_until("\n.\n").await;
        assert!(answer.contains("\r\n\r\nGET / HTTP/1.1\n") && !answer.contains("upgrade"), "{fields}: {answer}");
    }
    // to HTTP/2 upstreams what is no WebSocket is a mere offer
    let address = serve(mirror).await;
    let (mut client, _) = proxy(address, UpstreamProtocol::Http2);
    client.send(&UPGRADE.replace("websocket", "telnet")).await;
    let answer = client.read_until("\n.\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET http://shop/chat HTTP/2.0\n"), "{answer}");
    assert!(!answer.contains("upgrade"), "{answer}");
}

#[tokio::test]
async fn a_layer_cannot_switch_protocols_unasked() {
    let switching = |_: Request| async {
        let mut response = http::Response::new(GovernedBody::new(Body::empty()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        Ok::<Response, HttpError>(response)
    };
    let answer = connect_fn(options(Protocol::Http), switching)
        .talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

/// An upstream that speaks either protocol.
async fn serve<F, T>(function: F) -> SocketAddr
where
    F: Fn(Request) -> T + Clone + Send + 'static,
    T: Future<Output = Result<Response, HttpError>> + Send + 'static,
{
    let (listener, address) = raw().await;
    tokio::spawn(async move {
        let server = Server::new(plain(Protocol::Http));
        loop {
            let (io, _) = listener.accept().await.unwrap();
            tokio::spawn(server.serve(io, Arc::new(Peer::UNKNOWN), service_fn(function.clone()), Drain::new().watch()));
        }
    });
    address
}

/// Grants every tunnel and sends back what comes through it.
async fn echo(request: Request) -> Result<Response, HttpError> {
    let seen = format!("{} {:?}", request.method(), request.uri());
    let mut response = http::Response::new(GovernedBody::new(Body::boxed(request.into_body())));
    response.headers_mut().insert("x-seen", seen.parse().unwrap());
    Ok(response)
}

#[tokio::test]
async fn connect_goes_over_any_pair_of_protocols() {
    let address = serve(echo).await;
    let large = "x".repeat(300_000);
    for to in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let (mut client, ends) = proxy(address, to);
        client.send("CONNECT db.test:5432 HTTP/1.1\r\nHost: ignored\r\n\r\n").await;
        let head = client.read_until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("x-seen: CONNECT db.test:5432\r\n"), "{head}");
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        for message in ["hello", &large] {
            let (mut read, mut write) = tokio::io::split(&mut client.io);
            let mut back = vec![0; message.len()];
            let (sent, received) = tokio::join!(write.write_all(message.as_bytes()), read.read_exact(&mut back));
            sent.unwrap();
            received.unwrap();
            assert_eq!(back, message.as_bytes());
        }
        client.io.shutdown().await.unwrap();
        assert_eq!(client.io.read(&mut [0]).await.unwrap(), 0);
        let (outcome, _, code, bytes) = ends.next_in_time().await;
        assert_eq!((outcome, code, bytes), (Outcome::Success, Code::Http(200), 300_005));
        client.server.await.unwrap().unwrap();

        let (client, ends) = proxy(address, to);
        let mut client = client.http2().await;
        let connect = http::Request::connect("db.test:5432");
        let answer = client.try_send(connect, full("")).await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()["x-seen"]),
            (StatusCode::OK, &"CONNECT db.test:5432".parse().unwrap())
        );
        let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        for message in ["hello", &large] {
            let (mut read, mut write) = tokio::io::split(&mut tunnel);
            let mut back = vec![0; message.len()];
            let (sent, received) = tokio::join!(write.write_all(message.as_bytes()), read.read_exact(&mut back));
            sent.unwrap();
            received.unwrap();
            assert_eq!(back, message.as_bytes());
        }
        tunnel.shutdown().await.unwrap();
        assert_eq!(tunnel.read(&mut [0]).await.unwrap(), 0);
        let (outcome, _, code, bytes) = ends.next_in_time().await;
        assert_eq!((outcome, code, bytes), (Outcome::Success, Code::Http(200), 300_005));
        // the connection goes on
        let answer = client.send(http::Request::get("http://shop.local/x"), "").await;
        assert_eq!(answer.headers()["x-seen"].to_str().unwrap().split(' ').next(), Some("GET"));
    }
}

/// Grants every upgrade, and sends back what comes through it.
async fn switch(request: Request) -> Result<Response, HttpError> {
    let upgrade = request.headers().get("upgrade").cloned();
    let seen = format!("{} {} {upgrade:?}", request.method(), request.uri().path());
    let mut response = http::Response::new(GovernedBody::new(Body::boxed(request.into_body())));
    response.headers_mut().insert("x-seen", seen.parse().unwrap());
    if upgrade.is_some() {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    Ok(response)
}

/// An extended CONNECT of HTTP/2.
fn extended(protocol: &'static str) -> http::request::Builder {
    let request = http::Request::connect("http://shop.local/chat").header("sec-websocket-version", "13");
    request.extension(hyper::ext::Protocol::from_static(protocol))
}

#[tokio::test]
async fn a_websocket_over_http2_is_an_upgrade_to_an_upstream_of_http1() {
    let (listener, address) = raw().await;
    let (client, ends) = proxy(address, UpstreamProtocol::Http1);
    let mut client = client.http2().await;
    let (answer, mut server) = tokio::join!(client.try_send(extended("websocket"), full("")), async {
        let (mut server, _) = listener.accept().await.unwrap();
        let head = read_until(&mut server, "\r\n\r\n").await;
        let (start, key) = head.split_once("sec-websocket-key: ").unwrap();
        assert!(start.starts_with("GET /chat HTTP/1.1\r\n") && start.contains("host: shop.local\r\n"), "{head}");
        assert!(start.contains("upgrade: websocket\r\n") && start.contains("connection: upgrade\r\n"), "{head}");
        assert_eq!((key.len(), head.matches("sec-websocket-version: 13").count()), (24 + 4, 1), "{head}");
        let switched = SWITCHED.replace("Date", "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\nDate");
        server.write_all(switched.as_bytes()).await.unwrap();
        server
    });
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["sec-websocket-protocol"]),
        (StatusCode::OK, &"chat".parse().unwrap())
    );
    for field in ["upgrade", "connection", "sec-websocket-accept"] {
        assert!(!answer.headers().contains_key(field), "{answer:?}");
    }
    let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    tunnel.write_all(b"ping ").await.unwrap();
    assert_eq!(read_until(&mut server, "ping ").await, "ping ");
    server.write_all(b"pong").await.unwrap();
    let mut back = [0; 4];
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"pong");
    drop(server);
    assert_eq!(tunnel.read(&mut back).await.unwrap(), 0);
    let (outcome, _, code, bytes) = ends.next_in_time().await;
    assert_eq!((outcome, code, bytes), (Outcome::Success, Code::Http(101), 4));
}

#[tokio::test]
async fn a_websocket_goes_over_http2_to_an_upstream_that_takes_it() {
    let address = serve(switch).await;
    let large = "x".repeat(300_000);
    // from HTTP/1.1
    let (mut client, _) = proxy(address, UpstreamProtocol::Http2);
    let upgrade = UPGRADE.replace("Key: x", "Key: dGhlIHNhbXBsZSBub25jZQ==");
    client.send(&format!("{upgrade}early")).await;
    let head = client.read_until("\r\n\r\nearly").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("x-seen: GET /chat Some(\"websocket\")"),
        "{head}"
    );
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let (mut read, mut write) = tokio::io::split(&mut client.io);
    let mut back = vec![0; large.len()];
    let (sent, received) = tokio::join!(write.write_all(large.as_bytes()), read.read_exact(&mut back));
    sent.unwrap();
    received.unwrap();
    assert_eq!(back, large.as_bytes());
    client.io.shutdown().await.unwrap();
    assert_eq!(client.io.read(&mut [0]).await.unwrap(), 0);
    client.server.await.unwrap().unwrap();

    // from HTTP/2, beside other requests
    let (client, _) = proxy(address, UpstreamProtocol::AsDownstream);
    let mut client = client.http2().await;
    let answer = client.try_send(extended("websocket"), full("")).await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("upgrade")), (StatusCode::OK, false));
    let mut tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    tunnel.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    let other = client.send(http::Request::get("http://shop.local/x"), "").await;
    assert_eq!((other.status(), &other.headers()["x-seen"]), (StatusCode::OK, &"GET /x None".parse().unwrap()));
}

#[tokio::test]
async fn an_extended_connect_that_is_not_granted_is_no_tunnel() {
    // one that does not switch has answered, and to the client that would be a tunnel
    let mut client = connect_fn(plain(Protocol::Http), mirror).http2().await;
    assert_eq!(client.try_send(extended("websocket"), full("")).await.unwrap().status(), StatusCode::BAD_GATEWAY);
    let refusing = |_: Request| async {
        let mut response = http::Response::new(GovernedBody::new(Body::full("no")));
        *response.status_mut() = StatusCode::FORBIDDEN;
        Ok::<_, HttpError>(response)
    };
    let mut client = connect_fn(plain(Protocol::Http), refusing).http2().await;
    assert_eq!(client.try_send(extended("websocket"), full("")).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(client.try_send(extended("connect-udp"), full("")).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_connect_that_cannot_be_one_is_refused() {
    for bad in [
        "CONNECT /path HTTP/1.1\r\nhost: a\r\n",
        "CONNECT http://a/ HTTP/1.1\r\nhost: a\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a\r\nhost: b\r\n",
    ] {
        let answer =
            connect_fn(plain(Protocol::Http), mirror).talk(&format!("{bad}connection: close\r\n\r\nhello")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad}: {answer}");
    }
    // and one that is not granted is a request like others
    let refusing = |_: Request| async {
        let mut response = http::Response::new(GovernedBody::new(Body::full("no")));
        *response.status_mut() = StatusCode::FORBIDDEN;
        Ok::<_, HttpError>(response)
    };
    let mut connected = connect_fn(plain(Protocol::Http), refusing);
    for _ in 0..2 {
        connected.send("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(connected.read_until("no").await.starts_with("HTTP/1.1 403"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_the_other_end_takes() {
    let (upstream, mut connections) = in_memory();
    let mut client = connect(plain(Protocol::Http), upstream);
    client.send(UPGRADE).await;
    let mut server = connections.recv().await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(SWITCHED.as_bytes()).await.unwrap();
    client.read_until("\r\n\r\n").await;
    // both send, nobody reads
    let (_read, mut write) = tokio::io::split(client.io);
    let block = vec![b'x'; 64 * 1024];
    let mut taken = [0, 0];
    for (index, taken) in taken.iter_mut().enumerate() {
        loop {
            let sent = match index {
                0 => tokio::time::timeout(Duration::from_secs(1), write.write(&block)).await,
                _ => tokio::time::timeout(Duration::from_secs(1), server.write(&block)).await,
            };
            match sent {
                Ok(sent) => *taken += sent.unwrap(),
                Err(_) => break,
            }
        }
    }
    // what the two pipes hold, and some chunks
    assert!(taken.iter().all(|taken| (64 * 1024..1 << 20).contains(taken)), "{taken:?}");
}

/// Grants a tunnel through which comes what this body has.
async fn granting(body: Body) -> Result<Response, HttpError> {
    let mut response = http::Response::new(GovernedBody::new(body));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    Ok(response)
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_not_idle_and_the_deadline_of_a_drain_cuts_it() {
    let ends = Ends::default();
    let silent = service_fn(|request: Request| granting(Body::boxed(request.into_body())));
    let mut connected = connect(options(Protocol::Http), ends.watch(silent));
    connected.send(UPGRADE).await;
    connected.read_until("\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    connected.send("hi").await;
    connected.read_until("hi").await;
    let start = Instant::now();
    connected.drain.start(Duration::from_secs(3));
    connected.server.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(ends.next().await.0, Outcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_a_tunnel_is_cut() {
    let ends = Ends::default();
    let flood = || http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 1 << 20]));
    let flooding = service_fn(move |_: Request| granting(Body::boxed(flood())));
    let mut connected = connect_through(options(Protocol::Http), 4096, ends.watch(flooding));
    connected.send(UPGRADE).await;
    connected.read_until("\r\n\r\n").await;
    let start = Instant::now();
    connected.server.await.unwrap().unwrap();
    assert!((60..=120).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}
