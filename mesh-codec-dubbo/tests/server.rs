//! The server against a consumer that writes by hand, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::wire::{Peer, pair};
use mesh_codec_dubbo::{
    Answer, DubboError, Request, Response, UpstreamError, UpstreamErrorKind,
    frame::{Event, Flags, Frame, Head, Serialization, Status},
    server::{Options, ServeError, Server},
};
use mesh_core::{GateLayer, Kind, Outcome, Rejection, RequestView, gate_fn};
use mesh_net::Drain;
use mesh_test::Spy;
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use tower::{ServiceBuilder, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Answers with the method's name: at once, after so many milliseconds (`sleep_30`), never, or with an error.
async fn echo(call: Request) -> Result<Response, DubboError> {
    let method = call.method().to_owned();
    match method.split_once('_') {
        Some(("sleep", millis)) => tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await,
        Some(("hang", _)) => pending().await,
        Some(("refuse", _)) => return Err(Rejection::new(Kind::Forbidden).into()),
        Some(("lose", _)) => return Err(UpstreamError::new(UpstreamErrorKind::Reset, "gone").into()),
        _ => {}
    }
    if call.is_one_way() {
        return Ok(Response::to_one_way());
    }
    Ok(Response::value(&call, |writer| writer.string(&method)))
}

fn serve(options: Options) -> (Peer, JoinHandle<Result<(), ServeError>>, Drain) {
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let peer = mesh_core::Peer { address: Some("10.0.0.1:5".parse().unwrap()), ..mesh_core::Peer::UNKNOWN };
    let service = service_fn(echo);
    let serving = Server::new(options).serve(theirs, Arc::new(peer), service, drain.watch());
    (Peer::new(ours), tokio::spawn(serving), drain)
}

async fn call(peer: &mut Peer, id: u64, method: &str) {
    send(peer, id, Request::of("demo.Echo", method).build()).await;
}

async fn send(peer: &mut Peer, id: u64, request: Request) {
    let mut out = bytes::BytesMut::new();
    request.write(id, &mut out);
    peer.send(&common::one(&out)).await;
}

/// The next answer: its id, its status, and its text.
async fn answer(peer: &mut Peer) -> (u64, u8, String) {
    let frame = peer.next().await.expect("an answer");
    assert!(!frame.head.flags.is_request() && !frame.head.flags.is_event(), "{frame:?}");
    let response = Response::from_frame(frame);
    let text = match response.answer().unwrap() {
        Answer::Value(mut reader) => reader.read_text().unwrap().unwrap().to_string_lossy().into_owned(),
        Answer::Failed(_, message) => message.unwrap_or_default().into_owned(),
        other => format!("{other:?}"),
    };
    (response.head().id, response.status().0, text)
}

#[tokio::test(start_paused = true)]
async fn answers_come_when_they_are_done_with_the_ids_of_their_calls() {
    let (mut peer, serving, _drain) = serve(Options::default());
    for (id, method) in [(u64::MAX, "sleep_30"), (0, "sleep_20"), (7, "at_once"), (7, "sleep_10")] {
        call(&mut peer, id, method).await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(answer(&mut peer).await);
    }
    let expected = [(7, "at_once"), (7, "sleep_10"), (0, "sleep_20"), (u64::MAX, "sleep_30")];
    assert_eq!(seen, expected.map(|(id, text)| (id, 20, text.to_owned())));
    drop(peer);
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_have_a_status_and_a_message_and_one_way_calls_none() {
    let (mut peer, _serving, _drain) = serve(Options { max_body: 1000, ..Options::default() });
    call(&mut peer, 1, "refuse_it").await;
    assert_eq!(answer(&mut peer).await, (1, 70, "refused: forbidden".into()));
    call(&mut peer, 2, "lose_it").await;
    assert_eq!(answer(&mut peer).await, (2, 80, "upstream reset: gone".into()));
    for method in ["refuse_it", "lose_it", "fine"] {
        send(&mut peer, 3, Request::of("s", method).one_way().build()).await;
    }
    // a body that is no call, and one that is too long: the connection goes on
    let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 4 };
    peer.send(&Frame { head, body: bytes::Bytes::from_static(b"\x95") }).await;
    assert_eq!(answer(&mut peer).await, (4, 40, "refused: malformed".into()));
    peer.send(&Frame { head: Head { id: 5, ..head }, body: vec![b'N'; 1001].into() }).await;
    assert_eq!(answer(&mut peer).await, (5, 40, "a body of 1001 bytes, at the most 1000 are taken".into()));
    // in a serialization that is not looked into there is no message
    let flags = Flags::two_way(Serialization::new(6));
    let (mut other, _serving, _drain) = serve(Options { max_body: 1, ..Options::default() });
    other.send(&Frame { head: Head { flags, ..head }, body: bytes::Bytes::from_static(b"[]") }).await;
    let frame = other.next().await.unwrap();
    assert_eq!((frame.head.flags.bits(), frame.head.status, frame.body.len()), (6, Status::BAD_REQUEST, 0));
    call(&mut peer, 6, "fine").await;
    assert_eq!(answer(&mut peer).await, (6, 20, "fine".into()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_as_timed_out() {
    let spy = GateLayer::new(Spy::default());
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let service = ServiceBuilder::new().layer(spy.clone()).service(service_fn(echo));
    let serving = Server::new(Options::default()).serve(theirs, Arc::default(), service, drain.watch());
    let _serving = tokio::spawn(serving);
    let mut peer = Peer::new(ours);
    let start = tokio::time::Instant::now();
    for (id, millis) in [(1, 300), (2, 100), (3, 200)] {
        let timeout = Duration::from_millis(millis);
        send(&mut peer, id, Request::of("s", "hang_on").timeout(timeout).build()).await;
    }
    send(&mut peer, 4, Request::of("s", "sleep_50").timeout(Duration::from_millis(60)).build()).await;
    assert_eq!(answer(&mut peer).await, (4, 20, "sleep_50".into()));
    for (id, millis) in [(2, 100), (3, 200), (1, 300)] {
        assert_eq!(answer(&mut peer).await, (id, 31, "refused: timeout".into()));
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(millis) && waited < Duration::from_millis(millis + 10), "{waited:?}");
    }
    assert_eq!(spy.gate().outcomes(), [Outcome::Success, Outcome::TimedOut, Outcome::TimedOut, Outcome::TimedOut]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_leaves_cancels_its_calls_but_not_the_one_way_ones() {
    let spy = GateLayer::new(Spy::default());
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let service = ServiceBuilder::new().layer(spy.clone()).service(service_fn(echo));
    let serving = Server::new(Options::default()).serve(theirs, Arc::default(), service, drain.watch());
    let serving = tokio::spawn(serving);
    let mut peer = Peer::new(ours);
    call(&mut peer, 1, "hang_on").await;
    send(&mut peer, 2, Request::of("s", "sleep_100").one_way().build()).await;
    while spy.gate().open() < 2 {
        tokio::task::yield_now().await;
    }
    drop(peer);
    serving.await.unwrap().unwrap();
    assert_eq!(spy.gate().outcomes(), [Outcome::Cancelled, Outcome::Success]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_and_sent_and_silence_is_the_end() {
    let beat = Duration::from_secs(60);
    let (mut peer, serving, _drain) = serve(Options { heartbeat: Some(beat), ..Options::default() });
    peer.send(&Frame::heartbeat(0x8000_0000_0000_0001)).await;
    let frame = peer.next().await.unwrap();
    assert_eq!(frame, Frame::heartbeat(0x8000_0000_0000_0001).heartbeat_answer());
    // a one-way one is not answered, nor are events nobody knows, nor answers to nothing
    let one_way = Head { flags: Flags::one_way(Serialization::HESSIAN2).event(), status: Status(0), id: 3 };
    peer.send(&Frame { head: one_way, body: bytes::Bytes::from_static(b"N") }).await;
    peer.send(&Frame { head: one_way, body: bytes::Bytes::from_static(b"\x01?") }).await;
    let stray = Head { flags: Flags::response(Serialization::HESSIAN2), status: Status::OK, id: 4 };
    peer.send(&Frame { head: stray, body: bytes::Bytes::from_static(b"\x92") }).await;
    call(&mut peer, 9, "x").await;
    assert_eq!(answer(&mut peer).await.0, 9);
    let start = tokio::time::Instant::now();
    let frame = peer.next().await.unwrap();
    assert_eq!((frame.event(), frame.head.flags.is_two_way()), (Some(Event::Heartbeat), true));
    let waited = start.elapsed();
    assert!(waited >= beat - SECOND && waited <= beat + SECOND, "{waited:?}");
    peer.send(&frame.heartbeat_answer()).await;
    let start = tokio::time::Instant::now();
    assert!(matches!(serving.await.unwrap(), Err(ServeError::Silent)));
    let waited = start.elapsed();
    assert!(waited >= beat * 3 - SECOND && waited <= beat * 3 + SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_so_serves_what_comes_and_closes() {
    let (mut peer, serving, drain) = serve(Options::default());
    call(&mut peer, 1, "sleep_1000").await;
    call(&mut peer, 2, "x").await;
    assert_eq!(answer(&mut peer).await.0, 2);
    drain.start(SECOND * 30);
    assert_eq!(peer.next().await.unwrap().event(), Some(Event::ReadOnly));
    // under way already, or from a consumer that does not know the event
    call(&mut peer, 3, "y").await;
    assert_eq!(answer(&mut peer).await.0, 3);
    assert_eq!(answer(&mut peer).await, (1, 20, "sleep_1000".into()));
    assert!(peer.next().await.is_none());
    serving.await.unwrap().unwrap();

    // one that hangs is cut at the deadline
    let (mut peer, serving, drain) = serve(Options::default());
    call(&mut peer, 1, "hang_on").await;
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    drain.start(SECOND * 30);
    assert_eq!(peer.next().await.unwrap().event(), Some(Event::ReadOnly));
    assert!(peer.next().await.is_none());
    assert!(start.elapsed() >= SECOND * 30 && start.elapsed() < SECOND * 32);
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_is_read_than_may_be_under_way() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let (now, max) = (running.clone(), most.clone());
    let service = service_fn(move |call: Request| {
        let (now, max) = (now.clone(), max.clone());
        async move {
            max.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Relaxed);
            Ok::<_, DubboError>(Response::null(&call))
        }
    });
    let options = Options { max_in_flight: 3, ..Options::default() };
    let _serving = tokio::spawn(Server::new(options).serve(theirs, Arc::default(), service, drain.watch()));
    let mut peer = Peer::new(ours);
    for id in 0..20 {
        call(&mut peer, id, "x").await;
    }
    for _ in 0..20 {
        answer(&mut peer).await;
    }
    assert_eq!((running.load(Relaxed), most.load(Relaxed)), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_does_not_read_is_cut_off() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let drain = Drain::new();
    let big = "x".repeat(10_000);
    let service = service_fn(move |call: Request| {
        let response = Response::value(&call, |writer| writer.string(&big));
        std::future::ready(Ok::<_, DubboError>(response))
    });
    // what is under way when reading stops may still be answered, so the bound is below that
    let options = Options { max_buffered: 50_000, heartbeat: None, ..Options::default() };
    let serving = tokio::spawn(Server::new(options).serve(theirs, Arc::default(), service, drain.watch()));
    let mut peer = Peer::new(ours);
    let mut out = bytes::BytesMut::new();
    for id in 0..8 {
        Request::of("s", "m").build().write(id, &mut out);
    }
    let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &out).await;
    assert!(matches!(serving.await.unwrap(), Err(ServeError::Overflow)));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frames_end_the_connection_only() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xda\xbb\xc2\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"] {
        let (mut peer, serving, _drain) = serve(Options::default());
        tokio::io::AsyncWriteExt::write_all(&mut peer.stream, bytes).await.unwrap();
        assert!(matches!(serving.await.unwrap(), Err(ServeError::Frame(_))));
        assert!(peer.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_call_is_known_by_reaches_the_layers() {
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let into = seen.clone();
    let gate = gate_fn(move |call: &mut Request| {
        let context = call.context();
        *into.lock().unwrap() = format!(
            "{} {} {:?} {} {:?}",
            context.protocol().as_str(),
            context.listener().as_str(),
            call.peer().address,
            context.request_bytes() > 50,
            context.request_ended() == context.arrived()
        );
        call.set("traceparent", b"00-1-2-01");
        Ok(())
    });
    let service = ServiceBuilder::new().layer(GateLayer::new(gate)).service(service_fn(async |call: Request| {
        let text = call.attachment("traceparent").unwrap().to_owned();
        Ok::<_, DubboError>(Response::value(&call, |writer| writer.string(&text)))
    }));
    let peer = mesh_core::Peer { address: Some("10.0.0.1:5".parse().unwrap()), ..mesh_core::Peer::UNKNOWN };
    let options = Options { listener: mesh_core::Name::intern("in"), ..Options::default() };
    let _serving = tokio::spawn(Server::new(options).serve(theirs, Arc::new(peer), service, drain.watch()));
    let mut peer = Peer::new(ours);
    call(&mut peer, 1, "x").await;
    assert_eq!(answer(&mut peer).await.2, "00-1-2-01");
    assert_eq!(*seen.lock().unwrap(), "dubbo in Some(10.0.0.1:5) true true");
}
