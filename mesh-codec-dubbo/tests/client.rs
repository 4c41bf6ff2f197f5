//! The client against a provider that answers by hand, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::wire::{Peer, client, pair};
use mesh_codec_dubbo::{
    Answer, DubboError, Request, Response, UpstreamErrorKind,
    client::{Client, Options, probe},
    frame::{Event, Flags, Frame, Head, Serialization, Status},
};
use mesh_core::{Context, Health, HealthFlag, Kind, Refusal, RequestView, time};
use std::{future::Future, pin::pin, task::Poll, time::Duration};
use tower::Service;

const SECOND: Duration = Duration::from_secs(1);

fn call(name: &str) -> Request {
    Request::of("demo.Echo", name).build()
}

/// What the provider got, by method and id.
async fn got(peer: &mut Peer) -> (Request, u64) {
    let frame = peer.next().await.expect("a call");
    assert!(!frame.head.flags.is_event(), "{frame:?}");
    let id = frame.head.id;
    (Request::from_frame(frame, Context::none()).unwrap(), id)
}

async fn answer(peer: &mut Peer, call: &(Request, u64)) {
    let response = Response::value(&call.0, |writer| writer.string(call.0.method()));
    let mut out = bytes::BytesMut::new();
    response.write(call.1, &mut out);
    peer.send(&common::one(&out)).await;
}

fn text(response: &Response) -> String {
    match response.answer().unwrap() {
        Answer::Value(mut reader) => reader.read_text().unwrap().unwrap().to_string_lossy().into_owned(),
        other => format!("{other:?}"),
    }
}

fn kind(result: Result<Response, DubboError>) -> UpstreamErrorKind {
    match result.unwrap_err() {
        DubboError::Upstream(error) => error.kind(),
        DubboError::Refused(rejection) => panic!("{rejection}"),
    }
}

fn refused(result: Result<Response, DubboError>) -> Kind {
    result.unwrap_err().rejection().expect("a refusal").kind()
}

/// A client with a connection, and its other end.
async fn connected(options: Options) -> (Client, Peer) {
    let (mut client, _, streams) = client(options);
    let (ours, theirs) = pair();
    streams.send(theirs).unwrap();
    let mut peer = Peer::new(ours);
    let first = tokio::spawn(client.call(call("first")));
    let first_call = got(&mut peer).await;
    answer(&mut peer, &first_call).await;
    first.await.unwrap().unwrap();
    // the streams end here: there is no other connection
    (client, peer)
}

#[tokio::test(start_paused = true)]
async fn answers_in_any_order_meet_their_calls() {
    let (mut client, mut peer) = connected(Options::default()).await;
    let names = ["a", "b", "c", "d"];
    let calls = names.map(|name| tokio::spawn(client.call(call(name))));
    let mut there = Vec::new();
    for _ in names {
        there.push(got(&mut peer).await);
    }
    let mut ids: Vec<u64> = there.iter().map(|call| call.1).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!(client.in_flight(), 4);
    for place in [2, 0, 3, 1] {
        answer(&mut peer, &there[place]).await;
        // twice: the first counts
        answer(&mut peer, &there[place]).await;
    }
    for (name, call) in names.iter().zip(calls) {
        assert_eq!(text(&call.await.unwrap().unwrap()), *name);
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_frees_its_place_and_its_late_answer_meets_nobody() {
    let (mut client, mut peer) = connected(Options { max_in_flight: 1, ..Options::default() }).await;
    let first = client.call(call("late"));
    let late = got(&mut peer).await;
    let mut second = pin!(client.call(call("next")));
    assert!(poll_once(second.as_mut()).is_pending());
    drop(first);
    let next = tokio::select! {
        next = got(&mut peer) => next,
        _ = &mut second => panic!("it is not answered yet"),
    };
    answer(&mut peer, &late).await;
    answer(&mut peer, &next).await;
    assert_eq!(text(&second.await.unwrap()), "next");
    assert_eq!(client.in_flight(), 0);
}

/// Polled once.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn calls_wait_in_turn_and_no_more_than_may() {
    let options = Options { max_in_flight: 2, max_pending: 3, ..Options::default() };
    let (mut client, mut peer) = connected(options).await;
    let mut calls = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        calls.push(tokio::spawn(client.call(call(name))));
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(client.call(call("f")).await), Kind::PoolFull);
    // one that waits is given up: it is never sent
    let given_up = calls.remove(3);
    given_up.abort();
    let _ = given_up.await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let there = got(&mut peer).await;
        seen.push(there.0.method().to_owned());
        answer(&mut peer, &there).await;
    }
    assert_eq!(seen, ["a", "b", "c", "e"]);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_way_calls_end_when_they_are_sent() {
    let (mut client, mut peer) = connected(Options::default()).await;
    let response = client.call(Request::of("s", "fire").one_way().build()).await.unwrap();
    assert!(response.is_one_way());
    let (request, id) = got(&mut peer).await;
    assert!(request.is_one_way());
    assert_eq!(client.in_flight(), 0);
    // an answer all the same meets nobody
    answer(&mut peer, &(request, id)).await;
    let next = tokio::spawn(client.call(call("next")));
    let there = got(&mut peer).await;
    answer(&mut peer, &there).await;
    assert_eq!(text(&next.await.unwrap().unwrap()), "next");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_and_answered_and_silence_is_the_end() {
    let beat = Duration::from_secs(60);
    let (mut client, mut peer) = connected(Options { heartbeat: beat, ..Options::default() }).await;
    let start = tokio::time::Instant::now();
    let frame = peer.next().await.unwrap();
    assert_eq!(frame.event(), Some(Event::Heartbeat));
    assert!(frame.head.flags.is_two_way());
    let waited = start.elapsed();
    assert!(waited >= beat - SECOND && waited <= beat + SECOND, "{waited:?}");
    peer.send(&frame.heartbeat_answer()).await;
    // one of theirs
    peer.send(&Frame::heartbeat(0xffff_ffff_ffff_ffff)).await;
    let answer = peer.next().await.unwrap();
    assert_eq!((answer.event(), answer.head.id), (Some(Event::Heartbeat), u64::MAX));
    assert!(!answer.head.flags.is_request());
    // and now nothing any more
    let hanging = tokio::spawn(client.call(call("hanging")));
    let _ = got(&mut peer).await;
    let start = tokio::time::Instant::now();
    assert_eq!(kind(hanging.await.unwrap()), UpstreamErrorKind::Reset);
    let waited = start.elapsed();
    assert!(waited >= beat * 3 - SECOND && waited <= beat * 3 + SECOND, "{waited:?}");
    let mut beats = 0;
    while let Some(frame) = peer.next().await {
        assert_eq!(frame.event(), Some(Event::Heartbeat));
        beats += 1;
    }
    assert_eq!(beats, 2);
}

#[tokio::test(start_paused = true)]
async fn read_only_drains_and_new_calls_go_elsewhere() {
    let (mut client, endpoint, streams) = client(Options::default());
    let (ours, theirs) = pair();
    streams.send(theirs).unwrap();
    let mut peer = Peer::new(ours);
    let pending = tokio::spawn(client.call(call("under_way")));
    let there = got(&mut peer).await;
    peer.send(&Frame::read_only(1)).await;
    let is_draining = |health: &Health| health.has(HealthFlag::Draining) && !health.is_eligible();
    while !is_draining(endpoint.health()) {
        tokio::task::yield_now().await;
    }
    let error = client.call(call("new")).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert!(rejection.kind() == Kind::NoEndpoint && rejection.may_go_elsewhere());
    // what is under way is answered
    answer(&mut peer, &there).await;
    assert_eq!(text(&pending.await.unwrap().unwrap()), "under_way");
    // taken back
    peer.send(&Frame::writable(2)).await;
    while is_draining(endpoint.health()) {
        tokio::task::yield_now().await;
    }
    let again = tokio::spawn(client.call(call("again")));
    let there = got(&mut peer).await;
    answer(&mut peer, &there).await;
    again.await.unwrap().unwrap();
    // gone and back: another connection
    peer.send(&Frame::read_only(3)).await;
    while !is_draining(endpoint.health()) {
        tokio::task::yield_now().await;
    }
    let (ours, theirs) = pair();
    streams.send(theirs).unwrap();
    drop(peer);
    while !endpoint.health().is_eligible() {
        tokio::task::yield_now().await;
    }
    let mut peer = Peer::new(ours);
    let back = tokio::spawn(client.call(call("back")));
    let there = got(&mut peer).await;
    answer(&mut peer, &there).await;
    back.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_fails_its_calls_and_is_made_again_with_a_growing_pause() {
    let (mut client, _endpoint, streams) = client(Options::default());
    let (ours, theirs) = pair();
    streams.send(theirs).unwrap();
    let mut peer = Peer::new(ours);
    let calls = ["a", "b"].map(|name| tokio::spawn(client.call(call(name))));
    let there = got(&mut peer).await;
    answer(&mut peer, &there).await;
    let _ = got(&mut peer).await;
    drop(peer);
    let [first, second] = calls;
    assert!(first.await.unwrap().is_ok());
    let error = second.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:20880"), "{error}");
    assert_eq!(error.answer().unwrap().0, Status::SERVER_ERROR);
    // at once another, which is closed before anything came of it
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (ours, theirs) = pair();
        streams.send(theirs).unwrap();
        drop(ours);
        assert_eq!(kind(client.call(call("lost")).await), UpstreamErrorKind::Reset);
        let failed = tokio::time::Instant::now();
        // a call in the pause fails at once, and makes no connection
        assert_eq!(kind(client.call(call("too early")).await), UpstreamErrorKind::Reset);
        loop {
            tokio::time::advance(Duration::from_millis(10)).await;
            let mut probe = pin!(client.call(call("probe")));
            if poll_once(probe.as_mut()).is_pending() {
                break;
            }
        }
        pauses.push(failed.elapsed());
    }
    for (pause, millis) in pauses.iter().zip([100, 200, 400, 800]) {
        let expected = Duration::from_millis(millis);
        assert!(*pause >= expected.mul_f64(0.79) && *pause <= expected.mul_f64(1.3) + SECOND / 50, "{pauses:?}");
    }
    // and a good one
    let (ours, theirs) = pair();
    streams.send(theirs).unwrap();
    let mut peer = Peer::new(ours);
    let good = tokio::spawn(client.call(call("good")));
    let mut there = got(&mut peer).await;
    while there.0.method() != "good" {
        there = got(&mut peer).await;
    }
    answer(&mut peer, &there).await;
    assert_eq!(text(&good.await.unwrap().unwrap()), "good");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_made_fails_the_calls_that_wait_for_it() {
    let (mut client, _endpoint, streams) = client(Options::default());
    let start = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(client.call(call("x")))).collect();
    for call in waiting {
        assert_eq!(kind(call.await.unwrap()), UpstreamErrorKind::ConnectTimeout);
    }
    let waited = start.elapsed();
    assert!(waited >= SECOND * 5 && waited < SECOND * 6, "{waited:?}");
    drop(streams);
    tokio::time::advance(SECOND).await;
    assert_eq!(kind(client.call(call("y")).await), UpstreamErrorKind::Connect);
}

#[tokio::test(start_paused = true)]
async fn what_comes_out_of_step_ends_the_connection_and_a_long_answer_only_its_call() {
    let (mut client, mut peer) = connected(Options { max_body: 100, ..Options::default() }).await;
    let [long, next] = ["long", "next"].map(|name| tokio::spawn(client.call(call(name))));
    let (_, id) = got(&mut peer).await;
    let there = got(&mut peer).await;
    let head = Head { flags: Flags::response(Serialization::HESSIAN2), status: Status::OK, id };
    peer.send(&Frame { head, body: vec![0; 101].into() }).await;
    assert_eq!(kind(long.await.unwrap()), UpstreamErrorKind::TooLong);
    answer(&mut peer, &there).await;
    assert_eq!(text(&next.await.unwrap().unwrap()), "next");
    // a callback is answered
    let callback = Request::of("s", "callback").build();
    let mut out = bytes::BytesMut::new();
    callback.write(77, &mut out);
    peer.send(&common::one(&out)).await;
    let refused = peer.next().await.unwrap();
    assert_eq!((refused.head.id, refused.head.status), (77, Status::SERVICE_ERROR));

    let call = tokio::spawn(client.call(call("garbage")));
    let _ = got(&mut peer).await;
    tokio::io::AsyncWriteExt::write_all(&mut peer.stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert_eq!(kind(call.await.unwrap()), UpstreamErrorKind::Protocol);
    assert!(peer.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_deadline_is_said() {
    let (mut client, mut peer) = connected(Options::default()).await;
    let with_deadline = |millis: u64, timeout: Option<u64>| {
        let context = Context::begin(time::now(), None);
        context.limit_deadline(time::now().plus(Duration::from_millis(millis)));
        let call = Request::of("s", "m").context(context);
        match timeout {
            Some(timeout) => call.timeout(Duration::from_millis(timeout)).build(),
            None => call.build(),
        }
    };
    for (deadline, timeout, said) in [(500, None, "500"), (500, Some(3000), "500"), (500, Some(100), "100")] {
        let _call = client.call(with_deadline(deadline, timeout));
        let (there, _) = got(&mut peer).await;
        assert_eq!(there.attachment("timeout"), Some(said));
    }
    assert_eq!(refused(client.call(with_deadline(0, None)).await), Kind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_waits_for_its_calls_and_closes() {
    let (mut client, mut peer) = connected(Options::default()).await;
    let mut other = client.clone();
    let last = tokio::spawn(client.call(call("last")));
    let there = got(&mut peer).await;
    drop(client);
    let more = tokio::spawn(other.call(call("more")));
    let more_there = got(&mut peer).await;
    drop(other);
    answer(&mut peer, &there).await;
    assert_eq!(text(&last.await.unwrap().unwrap()), "last");
    answer(&mut peer, &more_there).await;
    assert_eq!(text(&more.await.unwrap().unwrap()), "more");
    assert!(peer.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn opaque_calls_pass_as_they_are() {
    let (mut client, mut peer) = connected(Options::default()).await;
    let flags = Flags::two_way(Serialization::new(23));
    let frame = Frame { head: Head { flags, status: Status(0), id: 5 }, body: bytes::Bytes::from_static(b"\x01\x02") };
    let context = Context::begin(time::now(), None);
    context.limit_deadline(time::now().plus(SECOND));
    let call = tokio::spawn(client.call(Request::from_frame(frame.clone(), context).unwrap()));
    let there = peer.next().await.unwrap();
    assert_eq!((there.head.flags, &there.body), (flags, &frame.body));
    let head = Head { flags: Flags::response(Serialization::new(23)), status: Status::OK, id: there.head.id };
    peer.send(&Frame { head, body: bytes::Bytes::from_static(b"\x03") }).await;
    let response = call.await.unwrap().unwrap();
    assert!(matches!(response.answer(), Ok(Answer::Opaque)));
    assert_eq!(response.body(), &b"\x03"[..]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_asks_for_one_heartbeat() {
    let (ours, theirs) = pair();
    let asked = tokio::spawn(probe(theirs, SECOND));
    let mut peer = Peer::new(ours);
    let frame = peer.next().await.unwrap();
    assert_eq!(frame.event(), Some(Event::Heartbeat));
    peer.send(&Frame::heartbeat(9)).await;
    peer.send(&frame.heartbeat_answer()).await;
    asked.await.unwrap().unwrap();

    let fails = |answer: Option<Frame>| async move {
        let (ours, theirs) = pair();
        let asked = tokio::spawn(probe(theirs, SECOND));
        let mut peer = Peer::new(ours);
        let _ = peer.next().await.unwrap();
        match answer {
            Some(answer) => peer.send(&answer).await,
            None => drop(peer),
        }
        asked.await.unwrap().unwrap_err().to_string()
    };
    assert_eq!(fails(None).await, "upstream reset: closed by the upstream");
    assert_eq!(fails(Some(Frame::read_only(1))).await, "upstream reset: the provider wants no calls");
    // a peer that says something else, and then nothing
    let (ours, theirs) = pair();
    let start = tokio::time::Instant::now();
    let asked = tokio::spawn(probe(theirs, SECOND));
    let mut peer = Peer::new(ours);
    peer.send(&Frame::heartbeat(1)).await;
    assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "upstream reset: no answer to a heartbeat within 1s");
    assert!(start.elapsed() < SECOND * 2);
}
