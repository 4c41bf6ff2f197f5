use crate::harness::{Ends, connect, connect_fn, connect_through, full, get, ok, options, response};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{
    Body, HttpError, Request, Response,
    server::{Options, Protocol},
};
use mesh_core::{BoxError, Outcome};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};
use tower::service_fn;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Takes ten seconds.
async fn slow(_: Request) -> Result<Response, HttpError> {
    sleep(Duration::from_secs(10)).await;
    Ok(response(Body::full("ok")))
}

fn about(elapsed: Duration, seconds: f64) -> bool {
    (elapsed.as_secs_f64() - seconds).abs() < 0.02
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let start = Instant::now();
    assert_eq!(connect_fn(options(Protocol::Http), ok).talk("").await, "");
    assert!(about(start.elapsed(), 60.0), "never used: {:?}", start.elapsed());

    for requests in [1, 3] {
        let mut connected = connect_fn(options(Protocol::Http), ok);
        for _ in 0..requests {
            sleep(Duration::from_secs(50)).await;
            connected.send(GET).await;
            connected.read_until("ok").await;
        }
        let start = Instant::now();
        assert_eq!(connected.io.read(&mut [0]).await.unwrap(), 0);
        assert!(about(start.elapsed(), 60.0), "since the last response: {:?}", start.elapsed());
    }

    let mut client = connect_fn(options(Protocol::Http), ok).http2().await;
    client.send(get("/"), "").await.into_body().collect().await.unwrap();
    let start = Instant::now();
    client.server.await.unwrap().unwrap();
    assert!(about(start.elapsed(), 60.0), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_the_farewell_is_left() {
    for (first_bytes, seconds) in [("", 60.0), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 65.0)] {
        let mut connected = connect_fn(options(Protocol::Http2), ok);
        connected.send(first_bytes).await;
        let start = Instant::now();
        connected.server.await.unwrap().unwrap();
        assert!(about(start.elapsed(), seconds), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_does_not_hold_a_connection() {
    let large = async |_| Ok::<_, HttpError>(response(Body::full(vec![b'x'; 40_000])));
    let mut connected = connect_through(options(Protocol::Http), 4096, service_fn(large));
    connected.send(GET).await;
    let start = Instant::now();
    connected.server.await.unwrap().unwrap();
    assert!(about(start.elapsed(), 60.0), "{:?}", start.elapsed());
}

/// A stream without an end.
async fn endless(_: Request) -> Result<Response, HttpError> {
    let frames = std::iter::repeat_with(|| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 1000]))));
    Ok(response(Body::boxed(StreamBody::new(tokio_stream::iter(frames)))))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
    for first_bytes in [
        GET.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09shop.test",
    ] {
        let ends = Ends::default();
        let mut connected = connect_through(options(Protocol::Http), 4096, ends.watch(service_fn(endless)));
        connected.io.write_all(first_bytes).await.unwrap();
        let mut some = [0; 4000];
        for _ in 0..10 {
            sleep(Duration::from_secs(50)).await;
            connected.io.read_exact(&mut some).await.unwrap();
        }
        assert!(ends.take().is_empty());
        let start = Instant::now();
        connected.server.await.unwrap().unwrap();
        assert!(about(start.elapsed(), 60.0), "{:?}", start.elapsed());
        assert_eq!(ends.next().await.0, Outcome::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_request_is_not_idle() {
    let options = Options { idle_timeout: Duration::from_secs(2), ..options(Protocol::Http) };
    let mut connected = connect_fn(options.clone(), slow);
    connected.send(GET).await;
    connected.read_until("ok").await;
    let mut client = connect_fn(options, slow).http2().await;
    assert_eq!(client.send(get("/"), "").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_answered_with_408() {
    let mut connected = connect_fn(options(Protocol::Http), ok);
    for _ in 0..2 {
        sleep(Duration::from_secs(30)).await;
        connected.send(GET).await;
        connected.read_until("ok").await;
    }
    sleep(Duration::from_secs(20)).await;
    let start = Instant::now();
    for byte in ["G", "E", "T"] {
        connected.send(byte).await;
        sleep(Duration::from_secs(3)).await;
    }
    let answer = connected.talk(" ").await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(about(start.elapsed(), 10.0), "{:?}", start.elapsed());
    // the first one, too
    let answer = connect_fn(options(Protocol::Http), ok).talk("GET / HTTP/1.1\r\nho").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_arrives_when_its_head_begins() {
    let telling = |request: Request| async move {
        let arrived = request.body().context().arrived().unwrap();
        Ok::<_, HttpError>(response(Body::full(format!("{}s", mesh_core::time::now().since(arrived).as_secs()))))
    };
    let mut connected = connect_fn(options(Protocol::Http1), telling);
    connected.send("GET / HTTP/1.1\r\n").await;
    sleep(Duration::from_secs(4)).await;
    connected.send("host: a\r\n\r\n").await;
    connected.read_until("4s").await;
    sleep(Duration::from_secs(4)).await;
    connected.send(GET).await;
    connected.read_until("\n0s").await;
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_takes_no_more_requests() {
    let options = Options { max_age: Some(Duration::from_secs(100)), ..options(Protocol::Http) };
    let start = Instant::now();
    let mut connected = connect_fn(options.clone(), slow);
    loop {
        connected.send(GET).await;
        if connected.read_until("ok").await.contains("connection: close\r\n") {
            break;
        }
    }
    assert_eq!(connected.io.read(&mut [0]).await.unwrap(), 0);
    let age = start.elapsed().as_secs_f64();
    assert!((90.0..=120.1).contains(&age), "{age}");

    let mut client = connect_fn(options, slow).http2().await;
    while client.try_send(get("/"), full("")).await.is_ok() {}
    client.server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_idle_connections_and_lets_requests_finish() {
    // nothing has come yet, an idle one, a busy one
    let fresh = connect_fn(options(Protocol::Http), ok);
    let fresh_http1 = connect_fn(options(Protocol::Http1), ok);
    let fresh_http2 = connect_fn(options(Protocol::Http), ok).http2().await;
    let mut idle = connect_fn(options(Protocol::Http), ok);
    idle.send(GET).await;
    idle.read_until("ok").await;
    let ends = Ends::default();
    let mut busy = connect(options(Protocol::Http), ends.watch(service_fn(slow)));
    busy.send(GET).await;
    let mut busy_http2 = connect(options(Protocol::Http), ends.watch(service_fn(slow))).http2().await;
    let mut sender = busy_http2.sender.clone();
    let call = tokio::spawn(async move { sender.send_request(get("/").body(full("")).unwrap()).await });
    sleep(Duration::from_secs(1)).await;

    let start = Instant::now();
    for drain in [&fresh.drain, &fresh_http1.drain, &fresh_http2.drain, &idle.drain, &busy.drain, &busy_http2.drain] {
        drain.start(Duration::from_secs(30));
    }
    for closed in [fresh.server, fresh_http1.server, fresh_http2.server, idle.server] {
        closed.await.unwrap().unwrap();
    }
    assert!(about(start.elapsed(), 0.0), "{:?}", start.elapsed());
    let answer = busy.read_until("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    busy.server.await.unwrap().unwrap();
    let refused = busy_http2.try_send(get("/"), full("")).await;
    assert!(refused.is_err(), "no new stream after GOAWAY");
    let answer = call.await.unwrap().unwrap();
    answer.into_body().collect().await.unwrap();
    busy_http2.server.await.unwrap().unwrap();
    assert!(about(start.elapsed(), 9.0), "{:?}", start.elapsed());
    assert!(ends.take().iter().all(|end| end.0 == Outcome::Success));
}

#[tokio::test(start_paused = true)]
async fn a_drain_loses_no_request_that_is_on_its_way() {
    // one that came a moment after the drain began: on a connection that was busy, on a new one, on an unknown one
    let mut busy = connect_fn(options(Protocol::Http), ok);
    busy.send(GET).await;
    busy.read_until("ok").await;
    let fresh = connect_fn(options(Protocol::Http1), ok);
    let unknown = connect_fn(options(Protocol::Http), ok);
    let silent = connect_fn(options(Protocol::Http), ok);
    sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    for connected in [&busy, &fresh, &unknown, &silent] {
        connected.drain.start(Duration::from_secs(30));
    }
    sleep(Duration::from_millis(500)).await;
    for connected in [busy, fresh, unknown] {
        let answer = connected.talk(GET).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
        assert!(about(start.elapsed(), 0.5), "{:?}", start.elapsed());
    }
    silent.server.await.unwrap().unwrap();
    assert!(about(start.elapsed(), 0.8), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_drain_cuts() {
    let ends = Ends::default();
    let mut connected = connect(options(Protocol::Http), ends.watch(service_fn(slow)));
    connected.send(GET).await;
    tokio::task::yield_now().await;
    let start = Instant::now();
    connected.drain.start(Duration::from_secs(3));
    connected.server.await.unwrap().unwrap();
    assert!(about(start.elapsed(), 3.0), "{:?}", start.elapsed());
    assert_eq!(ends.next().await.0, Outcome::Cancelled);
}

/// A client that is still sending reads the answer all the same, and then the end.
#[tokio::test(start_paused = true)]
async fn a_close_with_bytes_unread_is_not_a_reset() {
    for first_bytes in ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HT"] {
        let mut connected = connect_through(options(Protocol::Http), 1024, service_fn(ok));
        connected.send(first_bytes).await;
        let mut answer = Vec::new();
        connected.io.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 40"), "{answer:?}");
        for _ in 0..50 {
            connected.io.write_all(&[b'x'; 1000]).await.unwrap();
        }
        let start = Instant::now();
        let _ = connected.server.await.unwrap();
        assert!(about(start.elapsed(), 1.0), "{:?}", start.elapsed());
        assert!(connected.io.write_all(b"x").await.is_err());
    }
    // what is not HTTP/2 is not answered
    let mut connected = connect_through(options(Protocol::Http2), 1024, service_fn(ok));
    connected.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(connected.talk("").await, "");
}
