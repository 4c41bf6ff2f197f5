use crate::{
    kind, pair,
    upstream_support::{Client, OK, get, read, request, text},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use mesh_codec_http::{
    Body, UpstreamErrorKind,
    upstream::{Upstream, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Address, Endpoint, Governed as _, Target};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
};
use tower::Service as _;

#[tokio::test]
async fn exact_bytes_and_a_connection_that_is_used_again() {
    let (server, client) = pair().await;
    let first = client.call(get());
    let (response, mut peer) = join!(first, async {
        let mut peer = server.accept().await;
        assert_eq!(peer.answer(OK).await, "GET /path?q=1 HTTP/1.1\r\nhost: shop\r\n\r\n");
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
    for _ in 0..3 {
        let (response, _) = join!(client.call(get()), peer.answer(OK));
        assert_eq!(text(response.unwrap()).await, "ok");
    }
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn a_large_body_gives_the_connection_back_at_its_end() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        peer
    });
    let mut response = response.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "abc");
    assert_eq!(client.connections(), (1, 0));
    let (rest, ()) = join!(response.body_mut().frame(), peer.send("def"));
    assert_eq!(rest.unwrap().unwrap().into_data().unwrap(), "def");
    assert_eq!(client.connections(), (1, 1), "at the last byte, not when it is dropped");
    drop(response);
    let (response, _) = join!(client.call(get()), peer.answer(OK));
    assert_eq!(text(response.unwrap()).await, "ok");
}

#[tokio::test]
async fn chunks_with_trailers() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: t\r\n\r\n").await;
        peer
    });
    let response = response.unwrap();
    assert!(!response.headers().contains_key("transfer-encoding"));
    let ((body, trailers), ()) = join!(read(response), async {
        for part in ["3\r\nabc\r\n", "2\r\nde\r\n0\r\n", "t: 1\r\n\r\n"] {
            peer.send(part).await;
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(body, "abcde");
    assert_eq!(trailers.unwrap()["t"], "1");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn answers_without_a_body() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(request("HEAD", Body::empty())), async {
        let mut peer = server.accept().await;
        assert!(peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n").await.starts_with("HEAD "));
        peer
    });
    let response = response.unwrap();
    assert_eq!(response.headers()["content-length"], "500");
    assert!(response.body().is_bodyless());
    assert_eq!(text(response).await, "");
    for head in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"] {
        assert_eq!(client.connections(), (1, 1));
        let (response, _) = join!(client.call(get()), peer.answer(head));
        let response = response.unwrap();
        assert!(response.body().is_bodyless());
        assert_eq!(text(response).await, "");
    }
    let (response, _) = join!(client.call(get()), peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    assert!(!response.unwrap().body().is_bodyless());
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn informational_answers_are_passed_over() {
    let (server, client) = pair().await;
    let (response, _peer) = join!(client.call(request("POST", Body::full("abc"))), async {
        let mut peer = server.accept().await;
        let head = peer.head().await;
        assert_eq!(head, "POST /path?q=1 HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\n");
        peer.until("abc").await;
        peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await;
        peer.send(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn a_cut_body_is_an_error() {
    let (server, client) = pair().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
    ] {
        let (response, ()) = join!(client.call(get()), async {
            server.accept().await.answer(answer).await;
        });
        assert!(response.unwrap().into_body().collect().await.is_err());
        assert_eq!(client.connections(), (0, 0));
    }
}

#[tokio::test]
async fn guards_end_with_the_body() {
    let (server, client) = pair().await;
    let (response, _peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    let mut response = response.unwrap();
    assert!(response.guards().is_empty());
    assert_eq!(text(response).await, "ok");
}

#[tokio::test]
async fn hyper_at_the_other_end() {
    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap(), UpstreamProtocol::Http1);
    tokio::spawn(async move {
        loop {
            let io = TokioIo::new(listener.accept().await.unwrap().0);
            let echo = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
                Ok::<_, hyper::Error>(hyper::Response::new(request.into_body()))
            });
            tokio::spawn(http1::Builder::new().serve_connection(io, echo));
        }
    });
    let large: Bytes = (0..3_000_000_u32).map(|byte| byte as u8).collect::<Vec<_>>().into();
    for _ in 0..3 {
        // the echo begins to answer before it has read all
        let response = client.call(request("POST", Body::full(large.clone()))).await.unwrap();
        assert!(read(response).await.0 == large);
        assert_eq!(text(client.call(request("POST", Body::full("small"))).await.unwrap()).await, "small");
        assert_eq!(text(client.call(get()).await.unwrap()).await, "");
    }
}

/// tokio lets a task do only so much at a time, and tells it by a wake.
#[tokio::test]
async fn a_task_whose_budget_is_spent_is_not_forgotten() {
    let (server, client) = pair().await;
    tokio::spawn(async move {
        let mut peer = server.accept().await;
        loop {
            peer.answer(OK).await;
        }
    });
    for spent in (0..130).rev() {
        tokio::task::yield_now().await;
        for _ in 0..spent {
            let has = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(tokio::task::coop::poll_proceed(cx).map(|budget| budget.made_progress()))
            });
            if has.await.is_pending() {
                break;
            }
        }
        assert_eq!(text(client.call(get()).await.unwrap()).await, "ok");
    }
}

/// A response may be read on another thread; its connection is then not kept.
#[tokio::test]
async fn a_body_that_is_read_elsewhere() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        peer
    });
    let response = response.unwrap();
    let handle = tokio::runtime::Handle::current();
    let elsewhere = tokio::task::spawn_blocking(move || handle.block_on(text(response)));
    peer.send("def").await;
    assert_eq!(elsewhere.await.unwrap(), "abcdef");
    assert_eq!(client.connections(), (0, 0));
}

#[tokio::test]
async fn over_a_unix_socket_to_a_host_that_http_1_0_did_not_name() {
    let directory = std::env::temp_dir().join(format!("mesh-upstream-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let endpoint = Endpoint::new(Target::new(Address::Unix(path.clone())));
    let mut upstream = Upstream::new(&endpoint, UpstreamOptions::default());
    let mut old = get();
    *old.version_mut() = http::Version::HTTP_10;
    old.headers_mut().clear();
    let (response, ()) = join!(upstream.call(old), async {
        let mut stream = listener.accept().await.unwrap().0;
        let mut head = vec![0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        assert_eq!(head[..read], *b"GET /path?q=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(OK.as_bytes()).await.unwrap();
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    drop(listener);
    std::fs::remove_dir_all(&directory).unwrap();
    let error = Upstream::new(&endpoint, UpstreamOptions::default()).call(request("POST", Body::full("x"))).await;
    assert!(matches!(kind(&error.unwrap_err()), UpstreamErrorKind::Connect | UpstreamErrorKind::Reset));
}
