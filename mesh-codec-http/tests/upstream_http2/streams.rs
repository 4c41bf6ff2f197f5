use crate::{
    Listener, echo, fed, get, request,
    upstream_support::{Client, Raw, read, text},
};
use bytes::Bytes;
use h2::Reason;
use http_body_util::{BodyExt as _, StreamBody};
use mesh_codec_http::{
    Body,
    upstream::{UpstreamProtocol, sweep},
};
use mesh_core::time;
use std::{sync::Arc, time::Duration};
use tokio::join;

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
    let (response, _peer) = join!(client.call(crate::upstream_support::get()), async {
        let mut peer = raw.accept().await;
        peer.answer(crate::upstream_support::OK).await;
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
    let response = client.call(crate::upstream_support::request("POST", Body::full("abc"))).await.unwrap();
    assert_eq!(text(response).await, "POST http://shop/path?q=1 abc");
}
