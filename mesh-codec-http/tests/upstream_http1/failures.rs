use crate::{
    fed, kind, pair,
    upstream_support::{Client, InMemory, OK, get, request, text},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use mesh_codec_http::{
    Body, HttpError, UpstreamErrorKind,
    upstream::{Connect, Connecting, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Address, Kind, Refusal as _, Side, time};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
};

#[tokio::test]
async fn errors_have_kinds() {
    let (server, client) = pair().await;
    let (response, ()) = join!(client.call(get()), async {
        server.accept().await.answer("SSH-2.0-OpenSSH\r\n\r\n").await;
    });
    let error = response.unwrap_err();
    assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::Protocol, Side::Upstream));

    let address = server.address();
    drop(server);
    let error = Client::new(address, UpstreamProtocol::Http1).call(get()).await.unwrap_err();
    assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::Connect, Side::Upstream));
}

#[tokio::test]
async fn a_failing_upload_is_the_clients_doing() {
    let (server, client) = pair().await;
    let (sender, body) = fed();
    let call = client.call(request("POST", body));
    let (response, peer) = join!(call, async {
        let mut peer = server.accept().await;
        peer.head().await;
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        peer.until("abc\r\n").await;
        sender.send(Bytes::from_static(b"fail")).await.unwrap();
        peer
    });
    let error = response.unwrap_err();
    assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::RequestBody, Side::Downstream));
    assert_eq!(peer.closed().await, b"", "the end of the body is not feigned");
}

#[tokio::test]
async fn an_early_response_does_not_stop_the_upload() {
    let (server, client) = pair().await;
    let (sender, body) = fed();
    let (response, mut peer) = join!(client.call(request("POST", body)), async {
        let mut peer = server.accept().await;
        peer.head().await;
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        peer.until("abc\r\n").await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        peer
    });
    let mut response = response.unwrap();
    // nobody reads the response, the request goes on all the same
    for _ in 0..20 {
        sender.send(Bytes::from_static(b"def")).await.unwrap();
        peer.until("def\r\n").await;
    }
    assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
    drop(sender);
    peer.until("0\r\n\r\n").await;
    peer.send("0\r\n\r\n").await;
    assert!(response.body_mut().frame().await.is_none());
    peer.closed().await;
}

#[tokio::test]
async fn a_response_to_half_an_upload_ends_it() {
    let (server, client) = pair().await;
    let (sender, body) = fed();
    let (response, peer) = join!(client.call(request("POST", body)), async {
        let mut peer = server.accept().await;
        peer.head().await;
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        peer.until("abc\r\n").await;
        peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await;
        peer
    });
    assert_eq!(response.unwrap().status(), 413);
    assert!(sender.is_closed());
    peer.closed().await;
    assert_eq!(client.connections(), (0, 0));
}

#[tokio::test]
async fn uploads_of_known_and_unknown_length() {
    let (server, client) = pair().await;
    let (sender, body) = fed();
    let (response, mut peer) = join!(client.call(request("POST", body)), async {
        let mut peer = server.accept().await;
        assert!(peer.head().await.ends_with("transfer-encoding: chunked\r\n\r\n"));
        sender.send(Bytes::from_static(b"abc")).await.unwrap();
        peer.until("3\r\nabc\r\n").await;
        drop(sender);
        peer.until("0\r\n\r\n").await;
        peer.send(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
    let (response, ()) = join!(client.call(request("POST", Body::full("abc"))), async {
        assert!(peer.head().await.ends_with("content-length: 3\r\n\r\n"));
        peer.until("abc").await;
        peer.send(OK).await;
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn back_pressure_reaches_the_request_body() {
    let (connector, mut others) = InMemory::new();
    let options = UpstreamOptions { connector, ..UpstreamOptions::default() };
    let client = Client::with("127.0.0.1:1".parse().unwrap(), options);
    let (sender, body) = fed();
    let mut call = client.call(request("POST", body));
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let mut sent = 0;
    let stalled = async {
        while let Ok(taken) = tokio::time::timeout(Duration::from_secs(1), sender.send(chunk.clone())).await {
            taken.unwrap();
            sent += 1;
            assert!(sent < 100, "it takes all, read or not");
        }
    };
    tokio::select! {
        _ = &mut call => panic!("no response"),
        () = stalled => {}
    }
    drop(sender);
    let (response, ()) = join!(call, async {
        let mut other = others.recv().await.unwrap();
        let mut body = Vec::with_capacity(1 << 20);
        while !body.ends_with(b"0\r\n\r\n") {
            body.clear();
            other.read_buf(&mut body).await.unwrap();
        }
        other.write_all(OK.as_bytes()).await.unwrap();
    });
    assert_eq!(text(response.unwrap()).await, "ok");
}

#[tokio::test]
async fn an_unread_response_stalls_the_upstream() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
        peer
    });
    let response = response.unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let write = |peer: &mut crate::upstream_support::Peer| peer.stream.try_write(&chunk);
    // what the kernel's buffers take, and no more
    for _ in 0..100 {
        tokio::task::yield_now().await;
        match write(&mut peer) {
            Ok(written) => sent += written,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert!(sent < 50_000_000, "{sent} bytes were taken");
    drop(response);
}

/// Connections that nothing comes of.
struct Blackhole;

impl Connect for Blackhole {
    fn connect<'a>(&'a self, _: &'a Address, _: Duration) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_made_in_time() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let options = UpstreamOptions {
            protocol,
            connect_timeout: Duration::from_secs(3),
            connector: Arc::new(Blackhole),
            ..UpstreamOptions::default()
        };
        let client = Client::with("127.0.0.1:1".parse().unwrap(), options);
        let start = tokio::time::Instant::now();
        let error = client.call(get()).await.unwrap_err();
        assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::ConnectTimeout, Side::Upstream));
        assert_eq!(start.elapsed().as_millis() / 10, 300, "3 s, and a tick of the timer");
        assert_eq!(client.connections(), (0, 0));
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_not_called_for() {
    let (server, client) = pair().await;
    let grpc = |deadline: Duration| {
        let mut request = request("POST", Body::empty());
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        request.headers_mut().insert("grpc-timeout", "1H".parse().unwrap());
        request.body().context().limit_deadline(time::now().plus(deadline));
        request
    };
    let HttpError::Refused(rejection) = client.call(grpc(Duration::ZERO)).await.unwrap_err() else { panic!("refused") };
    assert_eq!(rejection.kind(), Kind::Timeout);
    let (response, ()) = join!(client.call(grpc(Duration::from_secs(60))), async {
        let head = server.accept().await.answer(OK).await;
        assert!(head.contains("grpc-timeout: 59999m\r\n") || head.contains("grpc-timeout: 59"), "{head}");
    });
    response.unwrap();
}
