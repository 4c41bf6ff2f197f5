//! The HTTP/1.1 upstream against a server whose every byte is in the test's hands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod upstream_support;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use mesh_codec_http::{
    Body, HttpError, UpstreamErrorKind,
    upstream::{Connect, Connecting, Upstream, UpstreamOptions, UpstreamProtocol, connections, sweep},
};
use mesh_core::{Address, Endpoint, Governed as _, Kind, Name, Refusal as _, Side, Target, time};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
    sync::mpsc,
};
use tower::Service as _;
use upstream_support::{Client, InMemory, OK, Raw, get, read, request, text};

async fn pair() -> (Raw, Client) {
    let server = Raw::bind().await;
    let client = Client::new(server.address(), UpstreamProtocol::Http1);
    (server, client)
}

fn kind(error: &HttpError) -> UpstreamErrorKind {
    match error {
        HttpError::Upstream(error) => error.kind(),
        HttpError::Refused(rejection) => panic!("{rejection}"),
    }
}

/// A body that the test feeds.
fn fed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = tokio_stream::StreamExt::map(stream, |bytes| {
        if bytes == "fail" { Err("the client is gone") } else { Ok(http_body::Frame::data(bytes)) }
    });
    (sender, Body::boxed(StreamBody::new(frames)))
}

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
async fn the_last_used_is_taken_first() {
    let (server, client) = pair().await;
    let (a, b, (mut first, mut second)) = join!(client.call(get()), client.call(get()), async {
        let (mut first, mut second) = (server.accept().await, server.accept().await);
        join!(first.head(), second.head());
        first.send(OK).await;
        second.send(OK).await;
        (first, second)
    });
    drop((a.unwrap(), b.unwrap()));
    assert_eq!(client.connections(), (2, 2));
    // whichever it is, it stays the same
    let (response, which) = join!(client.call(get()), async {
        tokio::select! {
            _ = first.answer(OK) => 1,
            _ = second.answer(OK) => 2,
        }
    });
    drop(response.unwrap());
    let last = if which == 1 { &mut first } else { &mut second };
    for _ in 0..5 {
        let (response, _) = join!(client.call(get()), last.answer(OK));
        drop(response.unwrap());
    }
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
async fn connections_that_end_are_not_used_again() {
    let (server, client) = pair().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok",
    ] {
        let (response, ()) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(answer).await;
        });
        let response = response.unwrap();
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(text(response).await, "ok", "{answer}");
        assert_eq!(client.connections(), (0, 0), "{answer}");
    }
}

#[tokio::test]
async fn http_1_0_may_keep_it_alive() {
    let (server, client) = pair().await;
    let (response, _peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok").await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(client.connections(), (1, 1));
}

#[tokio::test]
async fn a_body_dropped_early_closes_it() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nabc").await;
        peer
    });
    drop(response.unwrap());
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(peer.closed().await, b"");
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

/// The race that every pool has: the upstream closes an idle connection while a request is on its way to it.
#[tokio::test]
async fn a_request_that_met_a_closed_connection_is_sent_again() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    // at once: the reactor has not run, so nothing is known of it when the request is written
    drop(peer);
    let again = request("DELETE", Body::empty());
    let context = again.body().context().clone();
    let (response, ()) = join!(client.call(again), async {
        let head = server.accept().await.answer(OK).await;
        assert_eq!(head, "DELETE /path?q=1 HTTP/1.1\r\nhost: shop\r\n\r\n");
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    assert_eq!(context.attempts(), 2);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let (server, client) = pair().await;
    for refused in [request("POST", Body::empty()), request("PUT", Body::full("abc"))] {
        let (response, peer) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(OK).await;
            peer
        });
        assert_eq!(text(response.unwrap()).await, "ok");
        drop(peer);
        let error = client.call(refused).await.unwrap_err();
        assert_eq!((kind(&error), error.side()), (UpstreamErrorKind::Reset, Side::Upstream));
    }
}

#[tokio::test]
async fn a_part_of_a_response_is_the_end_of_it() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    let (response, ()) = join!(client.call(get()), async {
        peer.answer("HTTP/1.1 2").await;
        drop(peer);
    });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
}

#[tokio::test]
async fn a_fresh_connection_that_fails_is_not_tried_again() {
    let (server, client) = pair().await;
    let (response, ()) = join!(client.call(get()), async {
        server.accept().await.head().await;
    });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
    assert_eq!(client.connections(), (0, 0));
    let (response, ()) = join!(client.call(get()), async { drop(server.accept().await) });
    assert_eq!(kind(&response.unwrap_err()), UpstreamErrorKind::Reset);
}

#[tokio::test]
async fn one_that_was_seen_to_close_is_not_used() {
    let (server, client) = pair().await;
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    drop(peer);
    // until the reactor has run
    while client.connections() != (0, 0) {
        tokio::task::yield_now().await;
        sweep(time::now());
    }
    let (response, ()) = join!(client.call(request("POST", Body::full("x"))), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
    });
    assert_eq!(text(response.unwrap()).await, "ok");
}

#[tokio::test]
async fn unasked_bytes_end_an_idle_connection() {
    let (server, client) = pair().await;
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n").await;
    while client.connections() != (0, 0) {
        tokio::task::yield_now().await;
        sweep(time::now());
    }
}

/// A second response behind the first is never the answer to the next request.
#[tokio::test]
async fn a_response_too_many_poisons_nothing() {
    let (server, client) = pair().await;
    for extra in ["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", "\r\n", "x"] {
        let (response, first) = join!(client.call(get()), async {
            let mut peer = server.accept().await;
            peer.answer(&format!("{OK}{extra}")).await;
            peer
        });
        assert_eq!(text(response.unwrap()).await, "ok");
        let (response, ()) = join!(client.call(request("POST", Body::full("abc"))), async {
            server.accept().await.answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood").await;
        });
        assert_eq!(text(response.unwrap()).await, "good");
        assert_eq!(first.closed().await, b"", "not a byte of the next request");
    }
}

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
async fn idle_connections_grow_old() {
    let (server, client) = pair().await;
    let start = time::now();
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    sweep(at(1));
    sweep(at(60));
    assert_eq!(client.connections(), (1, 1));
    sweep(at(61));
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(peer.closed().await, b"");
}

/// Changed options close nothing, and hold from their first use on.
#[tokio::test]
async fn options_change_under_a_connection() {
    let server = Raw::bind().await;
    let endpoint = Endpoint::new(Target::new(server.address()));
    let mut upstream = Upstream::new(&endpoint, UpstreamOptions::default());
    let start = time::now();
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let (response, mut peer) = join!(upstream.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    drop(response.unwrap());
    sweep(at(1));
    sweep(at(31));
    assert_eq!(connections(endpoint.id()), (1, 1));
    let options = UpstreamOptions { idle: Duration::from_secs(10), ..UpstreamOptions::default() };
    let mut upstream = Upstream::new(&endpoint, options);
    let (response, _) = join!(upstream.call(get()), peer.answer(OK));
    drop(response.unwrap());
    sweep(at(32));
    assert_eq!(connections(endpoint.id()), (1, 1));
    sweep(at(42));
    assert_eq!(connections(endpoint.id()), (0, 0));
}

#[tokio::test]
async fn an_endpoint_that_left_loses_its_idle_connections() {
    let (server, client) = pair().await;
    let (a, b, (first, mut second)) = join!(client.call(get()), client.call(get()), async {
        let (mut first, mut second) = (server.accept().await, server.accept().await);
        join!(first.head(), second.head());
        first.send(OK).await;
        second.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        (first, second)
    });
    let (a, b) = (a.unwrap(), b.unwrap());
    let (small, large) = if a.headers()["content-length"] == "2" { (a, b) } else { (b, a) };
    assert_eq!(text(small).await, "ok");
    sweep(time::now());
    assert_eq!(client.connections(), (2, 1));
    client.endpoint_leaves();
    assert_eq!(client.connections(), (1, 0));
    first.closed().await;
    let (whole, ()) = join!(text(large), second.send("def"));
    assert_eq!(whole, "abcdef", "what is in flight goes on");
    sweep(time::now());
    assert_eq!(client.connections(), (0, 0));
    second.closed().await;
}

/// A call dropped after any number of polls leaves nothing behind.
#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let (server, client) = pair().await;
    for polls in 0..4 {
        let mut call = client.call(get());
        let accepting = server.accept();
        tokio::pin!(accepting);
        let mut peer = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut call => panic!("no response"),
                accepted = &mut accepting, if peer.is_none() => peer = Some(accepted),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(call);
        assert_eq!(client.connections(), (0, 0), "after {polls} polls");
        if polls > 0 {
            let peer = match peer {
                Some(peer) => peer,
                None => accepting.await,
            };
            peer.closed().await;
        }
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

/// A server that closes each connection after its third response, without a word: no request is lost.
#[tokio::test]
async fn a_server_that_closes_when_it_likes_costs_no_request() {
    let (server, client) = pair().await;
    let serving = tokio::spawn(async move {
        loop {
            let mut peer = server.accept().await;
            tokio::spawn(async move {
                for _ in 0..3 {
                    peer.answer(OK).await;
                }
            });
        }
    });
    for round in 0..40 {
        let calls: Vec<_> = (0..round % 7 + 1).map(|_| tokio::spawn(client.call(get()))).collect();
        for call in calls {
            assert_eq!(text(call.await.unwrap().unwrap()).await, "ok", "round {round}");
        }
    }
    serving.abort();
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
    let write = |peer: &mut upstream_support::Peer| peer.stream.try_write(&chunk);
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

/// The gauges follow the sweeps.
#[tokio::test]
async fn gauges() {
    let recorder = Gauges::default();
    let server = Raw::bind().await;
    let options = UpstreamOptions { cluster: Name::intern("orders"), ..UpstreamOptions::default() };
    let client = metrics::with_local_recorder(&recorder, || Client::with(server.address(), options));
    let at_sweep = || {
        sweep(time::now());
        let gauge = |state| recorder.read(&format!("mesh_upstream_connections cluster=orders state={state}"));
        (gauge("active"), gauge("idle"))
    };
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        peer
    });
    let response = response.unwrap();
    assert_eq!(at_sweep(), (1.0, 0.0));
    let (whole, ()) = join!(text(response), peer.send("def"));
    assert_eq!(whole, "abcdef");
    assert_eq!(at_sweep(), (0.0, 1.0));
    client.endpoint_leaves();
    assert_eq!(at_sweep(), (0.0, 0.0));
}

#[derive(Default)]
struct Gauges(std::sync::Mutex<std::collections::HashMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn read(&self, name: &str) -> f64 {
        f64::from_bits(self.0.lock().unwrap()[name].load(Ordering::Relaxed))
    }
}

impl metrics::Recorder for Gauges {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        let labels: String = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
        let gauge = self.0.lock().unwrap().entry(key.name().to_owned() + &labels).or_default().clone();
        metrics::Gauge::from_arc(gauge)
    }
    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}
