use crate::{
    Listener, answer, echo, fed, get, kind, request,
    upstream_support::{Client, Raw, text},
};
use h2::Reason;
use mesh_codec_http::{
    Body, UpstreamErrorKind,
    upstream::{Transport, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Refusal as _, Side};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    join,
};

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
