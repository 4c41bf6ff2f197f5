//! Limits of connections and of those who wait, over threads; connections that stall, fall silent or grow old.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod upstream_support;

use bytes::Bytes;
use mesh_codec_http::{
    Body, HttpError, Request,
    upstream::{Upstream, UpstreamOptions, UpstreamProtocol, sweep},
};
use mesh_core::{Context, Endpoint, Kind, Refusal as _, Target, http::CallBody, time};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::TcpListener,
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep},
};
use tower::Service as _;
use upstream_support::{Client, InMemory, OK, get, text};

/// A client whose connections have these other ends.
fn client(options: UpstreamOptions) -> (mpsc::UnboundedReceiver<DuplexStream>, Client) {
    let (connector, others) = InMemory::new();
    (others, Client::with("127.0.0.1:1".parse().unwrap(), UpstreamOptions { connector, ..options }))
}

fn at_most(max_connections: u32, max_pending: u32) -> UpstreamOptions {
    UpstreamOptions { max_connections, max_pending, ..UpstreamOptions::default() }
}

async fn head(io: &mut DuplexStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

fn kind<T>(result: Result<T, HttpError>) -> Option<Kind> {
    result.err().and_then(|error| Some(error.rejection()?.kind()))
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_turn_on_the_same_connections() {
    let (mut others, client) = client(at_most(2, 100));
    let served = Arc::new(AtomicU32::new(0));
    let server = tokio::spawn({
        let served = served.clone();
        async move {
            let mut made = 0;
            while let Some(mut io) = others.recv().await {
                made += 1;
                let served = served.clone();
                tokio::spawn(async move {
                    while head(&mut io).await {
                        sleep(Duration::from_millis(100)).await;
                        served.fetch_add(1, SeqCst);
                        io.write_all(OK.as_bytes()).await.unwrap();
                    }
                });
                assert!(made <= 2, "no more are made");
            }
        }
    });
    let begun = Instant::now();
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(client.call(get()))).collect();
    for (index, call) in calls.into_iter().enumerate() {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "ok");
        let turns = u32::try_from(index / 2 + 1).unwrap();
        assert!(begun.elapsed() >= turns * Duration::from_millis(100), "in turn");
    }
    assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    assert_eq!(client.connections(), (2, 2));
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may_and_no_longer() {
    let options = UpstreamOptions { connect_timeout: Duration::from_secs(3), ..at_most(1, 2) };
    let (mut others, client) = client(options);
    let first = tokio::spawn(client.call(get()));
    let mut io = others.recv().await.unwrap();
    assert!(head(&mut io).await);
    let mut second = Box::pin(client.call(get()));
    let third = tokio::spawn(client.call(get()));
    tokio::select! { biased; _ = &mut second => panic!("it waits"), () = yield_now() => {} }
    assert_eq!(kind(client.call(get()).await), Some(Kind::PoolFull), "two wait already");
    // one that gives up leaves its place
    drop(second);
    let begun = Instant::now();
    let fourth = client.call(get());
    assert_eq!(kind(fourth.await), Some(Kind::PoolFull), "for as long as a connection may take");
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(kind(third.await.unwrap()), Some(Kind::PoolFull));
    io.write_all(OK.as_bytes()).await.unwrap();
    assert_eq!(text(first.await.unwrap().unwrap()).await, "ok");
    // and nobody is in the way
    let fifth = tokio::spawn(client.call(get()));
    assert!(head(&mut io).await);
    io.write_all(OK.as_bytes()).await.unwrap();
    assert_eq!(text(fifth.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_or_cannot_be_made_makes_room() {
    let (mut others, client) = client(at_most(1, 100));
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let call = client.call(get());
            tokio::spawn(async {
                text(call.await?).await;
                Ok::<_, HttpError>(())
            })
        })
        .collect();
    for answer in ["", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", OK] {
        let mut io = others.recv().await.unwrap();
        assert!(head(&mut io).await);
        io.write_all(answer.as_bytes()).await.unwrap();
        if answer == OK {
            std::mem::forget(io);
        }
    }
    let mut answered = 0;
    for call in calls {
        answered += u32::from(call.await.unwrap().is_ok());
    }
    assert_eq!(answered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_is_for_those_who_wait_already() {
    let (connector, mut others) = InMemory::new();
    let endpoint = Endpoint::new(Target::new("127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap()));
    let mut upstream = Upstream::new(&endpoint, UpstreamOptions { connector: connector.clone(), ..at_most(1, 9) });
    let calls: Vec<_> = (0..2).map(|_| tokio::spawn(upstream.call(get()))).collect();
    let mut first = others.recv().await.unwrap();
    assert!(head(&mut first).await);
    assert!(others.try_recv().is_err());
    let _raised = Upstream::new(&endpoint, UpstreamOptions { connector, ..at_most(2, 9) });
    let mut second = others.recv().await.unwrap();
    assert!(head(&mut second).await);
    for io in [&mut first, &mut second] {
        io.write_all(OK.as_bytes()).await.unwrap();
    }
    for call in calls {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "ok");
    }
}

/// Runs `work` on a thread of its own, as workers do.
fn on_a_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work))
}

#[tokio::test]
async fn the_limit_is_exact_over_threads_and_nobody_starves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (open, most) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicI32::new(0)));
    let counted = (open.clone(), most.clone());
    tokio::spawn(async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            let (open, most) = counted.clone();
            most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                // every request comes in one piece
                while let Ok(1..) = io.read(&mut bytes).await {
                    // what was closed at the other end is not open, though it is not seen to be yet
                    yield_now().await;
                    if io.write_all(OK.as_bytes()).await.is_err() {
                        break;
                    }
                }
                open.fetch_sub(1, SeqCst);
            });
        }
    });
    let endpoint = Endpoint::new(Target::new(address));
    let upstream = Upstream::new(&endpoint, at_most(3, 1024));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (upstream, id) = (upstream.clone(), endpoint.id());
            on_a_thread(async move {
                let callers: Vec<_> = (0..8)
                    .map(|_| {
                        let mut upstream = upstream.clone();
                        tokio::spawn(async move {
                            for _ in 0..50 {
                                assert_eq!(text(upstream.call(get()).await.unwrap()).await, "ok");
                            }
                        })
                    })
                    .collect();
                for caller in callers {
                    caller.await.unwrap();
                }
                mesh_codec_http::upstream::connections(id).0
            })
        })
        .collect();
    let left = tokio::task::spawn_blocking(|| threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>());
    assert!(left.await.unwrap() <= 3);
    // the server sees a close a little later than the client has done it
    assert!((1..=6).contains(&most.load(SeqCst)), "{most:?}");
}

#[tokio::test]
async fn an_idle_connection_of_another_thread_makes_room() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(Target::new(listener.local_addr().unwrap()));
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(1..) = io.read(&mut bytes).await {
                    io.write_all(OK.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let upstream = Upstream::new(&endpoint, at_most(1, 1));
    let (done, mut idle) = mpsc::unbounded_channel();
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let keeper = on_a_thread({
        let (mut upstream, id) = (upstream.clone(), endpoint.id());
        async move {
            assert_eq!(text(upstream.call(get()).await.unwrap()).await, "ok");
            done.send(mesh_codec_http::upstream::connections(id)).unwrap();
            let _ = left.await;
            mesh_codec_http::upstream::connections(id)
        }
    });
    assert_eq!(idle.recv().await, Some((1, 1)));
    let mut here = upstream.clone();
    assert_eq!(text(here.call(get()).await.unwrap()).await, "ok");
    leave.send(()).unwrap();
    assert_eq!(tokio::task::spawn_blocking(|| keeper.join().unwrap()).await.unwrap(), (0, 0));
}

// HTTP/2

fn http2_request() -> Request {
    let request = http::Request::get("http://shop/path").version(http::Version::HTTP_2);
    request.body(CallBody::new(Context::begin(time::now(), None), Body::empty())).unwrap()
}

type Server = h2::server::Connection<DuplexStream, Bytes>;

async fn handshake(io: DuplexStream, streams: u32) -> Server {
    h2::server::Builder::new().max_concurrent_streams(streams).handshake(io).await.unwrap()
}

/// Answers each request after a while.
async fn serve(mut server: Server, after: Duration) {
    while let Some(Ok((_, mut respond))) = server.accept().await {
        tokio::spawn(async move {
            sleep(after).await;
            let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
        });
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_get_the_streams_that_become_free() {
    let options = UpstreamOptions { protocol: UpstreamProtocol::Http2, ..at_most(1, 3) };
    let (mut others, client) = client(options);
    let server = handshake(others.recv_when(&client).await, 2).await;
    let serving = tokio::spawn(serve(server, Duration::from_millis(100)));
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    // the one before has a stream, the first of these gets the other, three wait, one more may not
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(client.call(http2_request()))).collect();
    yield_now().await;
    yield_now().await;
    assert_eq!(kind(client.call(http2_request()).await), Some(Kind::PoolFull));
    for call in calls {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "ok");
    }
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    assert_eq!(client.connections().0, 1);
    serving.abort();
}

/// The other end of a connection that was warmed up by a first request.
trait Warm {
    async fn recv_when(&mut self, client: &Client) -> DuplexStream;
}

impl Warm for mpsc::UnboundedReceiver<DuplexStream> {
    async fn recv_when(&mut self, client: &Client) -> DuplexStream {
        tokio::spawn(client.call(http2_request()));
        self.recv().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_queues_behind_a_stalled_handshake() {
    let (mut others, client) = client(UpstreamOptions { protocol: UpstreamProtocol::Http2, ..at_most(9, 9) });
    let begun = Instant::now();
    let early = tokio::spawn(client.call(http2_request()));
    let _stalled = others.recv().await.unwrap();
    sleep(Duration::from_millis(900)).await;
    let early_too = tokio::spawn(client.call(http2_request()));
    sleep(Duration::from_millis(200)).await;
    assert!(others.try_recv().is_err(), "they share the attempt");
    let late = tokio::spawn(client.call(http2_request()));
    let good = handshake(others.recv().await.unwrap(), 9).await;
    tokio::spawn(serve(good, Duration::ZERO));
    for call in [early, early_too, late] {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "ok");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_answer_a_ping_gets_no_new_request() {
    let (mut others, client) = client(UpstreamOptions { protocol: UpstreamProtocol::Http2, ..at_most(9, 9) });
    let first = tokio::spawn(client.call(http2_request()));
    let mut hung = handshake(others.recv().await.unwrap(), 9).await;
    let (_, mut respond) = hung.accept().await.unwrap().unwrap();
    respond.send_response(http::Response::new(()), false).unwrap().send_data("ok".into(), true).unwrap();
    let serving = tokio::spawn(async move {
        let _ = tokio::time::timeout(Duration::from_millis(10), hung.accept()).await;
        hung
    });
    assert_eq!(text(first.await.unwrap().unwrap()).await, "ok");
    // from here on nobody polls it
    let mut hung = serving.await.unwrap();
    let start = time::now();
    let at = |seconds| sweep(start.plus(Duration::from_secs(seconds)));
    // silent without requests: nothing is asked
    (1..50).for_each(at);
    let mut waiting = tokio::spawn(client.call(http2_request()));
    yield_now().await;
    for seconds in 50..53 {
        at(seconds);
    }
    assert_eq!(client.connections(), (1, 0));
    (53..57).for_each(at);
    let second = tokio::spawn(client.call(http2_request()));
    let fresh = handshake(others.recv().await.unwrap(), 9).await;
    tokio::spawn(serve(fresh, Duration::ZERO));
    assert_eq!(text(second.await.unwrap().unwrap()).await, "ok");
    // what was in flight goes on
    assert!(!waiting.is_finished());
    let (_, mut respond) = hung.accept().await.unwrap().unwrap();
    respond.send_response(http::Response::new(()), true).unwrap();
    tokio::select! { _ = hung.accept() => {} answer = &mut waiting => assert!(answer.unwrap().is_ok()) }
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_that_is_silent_is_asked_once_and_goes_on() {
    let (mut others, client) = client(UpstreamOptions { protocol: UpstreamProtocol::Http2, ..at_most(9, 9) });
    let call = tokio::spawn(client.call(http2_request()));
    let server = handshake(others.recv().await.unwrap(), 9).await;
    tokio::spawn(serve(server, Duration::from_secs(3600)));
    let start = time::now();
    for seconds in 1..100 {
        sweep(start.plus(Duration::from_secs(seconds)));
        sleep(Duration::from_millis(1)).await;
    }
    // it has answered: still the one
    let other = tokio::spawn(client.call(http2_request()));
    sleep(Duration::from_secs(1)).await;
    assert!(others.try_recv().is_err());
    assert_eq!(client.connections(), (1, 0));
    for call in [call, other] {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn old_connections_get_no_more_requests() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let options = UpstreamOptions { protocol, max_age: Some(Duration::from_secs(10)), ..at_most(9, 9) };
        let (mut others, client) = client(options);
        let made = Arc::new(AtomicU32::new(0));
        let counted = made.clone();
        let serving = tokio::spawn(async move {
            while let Some(mut io) = others.recv().await {
                counted.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    if protocol == UpstreamProtocol::Http2 {
                        return serve(handshake(io, 9).await, Duration::ZERO).await;
                    }
                    while head(&mut io).await {
                        io.write_all(OK.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let (start, mut ages) = (time::now(), Vec::new());
        for second in 0..60 {
            sweep(start.plus(Duration::from_secs(second)));
            let before = made.load(SeqCst);
            let request = if protocol == UpstreamProtocol::Http2 { http2_request() } else { get() };
            assert_eq!(text(client.call(request).await.unwrap()).await, "ok");
            if made.load(SeqCst) > before {
                ages.push(second);
            }
            sleep(Duration::from_secs(1)).await;
        }
        let ages: Vec<_> = ages.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(ages.len() >= 4 && ages.iter().all(|age| (9..=12).contains(age)), "{ages:?}");
        serving.abort();
    }
}
