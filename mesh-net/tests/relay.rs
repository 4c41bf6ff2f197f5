//! A relay between real sockets: what goes in comes out, and ends are told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mesh_core::{GateLayer, Name, Outcome, Peer, Target};
use mesh_net::{
    Connected, ConnectionError, ConnectionRequest, Connector, Dial, RelayEnd, RelayOptions, Relayed, Stream, relay,
};
use mesh_test::Spy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder};

/// A connection of the kernel's, with both its ends.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn stream(stream: TcpStream) -> Stream {
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap().into()
}

/// Relays between a client and an upstream, which the test is, until the end.
fn relayed(
    options: RelayOptions,
    client: impl FnOnce(TcpStream) + Send + 'static,
    upstream: impl FnOnce(TcpStream) + Send + 'static,
) -> Relayed {
    let ((theirs, ours), (to, end)) = (pair(), pair());
    let threads = [thread::spawn(move || client(theirs)), thread::spawn(move || upstream(end))];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let relayed = runtime.block_on(async { relay(stream(ours), Connected::new(stream(to)), options).await });
    drop(runtime);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    relayed
}

/// Bytes that never repeat where a block of any usual size could.
struct Pattern {
    bytes: Vec<u8>,
    at: usize,
}

impl Pattern {
    fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        Self { bytes: std::iter::repeat_with(|| random.u8(..)).take(65_521).collect(), at: 0 }
    }

    fn next(&mut self, most: usize) -> &[u8] {
        let start = self.at;
        let end = (start + most).min(self.bytes.len());
        self.at = end % self.bytes.len();
        &self.bytes[start..end]
    }
}

fn send(mut to: &TcpStream, count: u64) {
    let (mut pattern, mut left) = (Pattern::new(), count);
    while left > 0 {
        let bytes = pattern.next(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(bytes).unwrap();
        left -= bytes.len() as u64;
    }
}

/// Reads to the end; all must be as it was sent.
fn receive(mut from: &TcpStream) -> u64 {
    let (mut pattern, mut received, mut buffer) = (Pattern::new(), 0, vec![0; 256 * 1024]);
    loop {
        let read = from.read(&mut buffer).unwrap();
        if read == 0 {
            return received;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let expected = pattern.next(rest.len());
            assert!(rest.starts_with(expected), "at {received}");
            rest = &rest[expected.len()..];
        }
        received += read as u64;
    }
}

#[test]
fn a_gigabyte_arrives_intact() {
    const GIGABYTE: u64 = 1 << 30;
    for splice in [true, false] {
        let relayed = relayed(
            RelayOptions::default().splice(splice),
            |client| {
                send(&client, GIGABYTE);
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(receive(&client), 12_345_678);
            },
            |upstream| {
                assert_eq!(receive(&upstream), GIGABYTE);
                send(&upstream, 12_345_678);
            },
        );
        assert!(matches!(relayed.end, RelayEnd::Closed), "{relayed:?}");
        assert_eq!((relayed.sent, relayed.received), (GIGABYTE, 12_345_678));
    }
}

#[test]
fn much_goes_both_ways_at_once() {
    const EACH: u64 = 64 << 20;
    let both = |stream: TcpStream| {
        let reader = stream.try_clone().unwrap();
        let reading = thread::spawn(move || receive(&reader));
        send(&stream, EACH);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reading.join().unwrap(), EACH);
    };
    let relayed = relayed(RelayOptions::default(), both, both);
    assert!(matches!(relayed.end, RelayEnd::Closed), "{relayed:?}");
    assert_eq!((relayed.sent, relayed.received), (EACH, EACH));
}

#[test]
fn one_half_is_closed_while_the_other_goes_on() {
    // whoever ends first, the other one still speaks
    let first = |mut stream: TcpStream| {
        stream.write_all(b"that is all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "heard; more");
    };
    let second = |mut stream: TcpStream| {
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert_eq!(all, "that is all");
        for part in ["heard;", " ", "more"] {
            stream.write_all(part.as_bytes()).unwrap();
        }
    };
    assert!(matches!(relayed(RelayOptions::default(), first, second).end, RelayEnd::Closed));
    assert!(matches!(relayed(RelayOptions::default(), second, first).end, RelayEnd::Closed));
}

#[test]
fn a_reset_is_told_to_the_other_side() {
    let resets = |mut stream: TcpStream| {
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let sees = |mut stream: TcpStream| {
        stream.write_all(b"hello").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    };
    let end = relayed(RelayOptions::default(), resets, sees).end;
    assert!(matches!(&end, RelayEnd::Broken { side: mesh_core::Side::Downstream, .. }), "{end}");
    let end = relayed(RelayOptions::default(), sees, resets).end;
    assert!(matches!(&end, RelayEnd::Broken { side: mesh_core::Side::Upstream, .. }), "{end}");
}

/// As servers do that refuse a body: what they said is not lost because the rest cannot be sent.
#[test]
fn an_answer_before_the_request_has_ended_arrives() {
    let relayed = relayed(
        RelayOptions::default(),
        |mut client| {
            let mut writer = client.try_clone().unwrap();
            // until the other side takes no more
            let writing = thread::spawn(move || while writer.write_all(&[7; 64 * 1024]).is_ok() {});
            let mut answer = [0; 8];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"too much");
            // it may be closed already
            let _ = client.shutdown(Shutdown::Both);
            writing.join().unwrap();
        },
        |mut upstream| {
            upstream.read_exact(&mut [0; 100_000]).unwrap();
            upstream.write_all(b"too much").unwrap();
            upstream.shutdown(Shutdown::Write).unwrap();
        },
    );
    assert_eq!(relayed.received, 8);
}

#[tokio::test]
async fn who_does_not_read_is_not_read_for() {
    let ((mut client, ours), (to, mut end)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let relay = tokio::spawn(relay(ours.into(), Connected::new(to.into()), RelayOptions::default()));
    let pattern = Pattern::new().bytes;
    let mut written = 0;
    // as long as something is taken within a while
    let mut block = pattern.iter().copied().cycle();
    loop {
        let bytes: Vec<u8> = block.by_ref().take(8192).collect();
        match tokio::time::timeout(Duration::from_millis(200), client.write_all(&bytes)).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        written += bytes.len();
        assert!(written < 16 << 20, "nobody reads, and yet {written} bytes were taken");
    }
    let mut received = vec![0; written];
    end.read_exact(&mut received).await.unwrap();
    assert!(received.iter().copied().eq(pattern.iter().copied().cycle().take(written)));
    drop((client, end));
    relay.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let ((mut client, ours), (to, mut upstream)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let options = RelayOptions::default().idle(Duration::from_secs(60));
    let start = Instant::now();
    let relay = tokio::spawn(relay(ours.into(), Connected::new(to.into()), options));
    let mut byte = [0];
    for _ in 0..3 {
        sleep(Duration::from_secs(50)).await;
        client.write_all(b"?").await.unwrap();
        upstream.read_exact(&mut byte).await.unwrap();
    }
    // either direction will do, and a half that is closed does not hold it up
    upstream.shutdown().await.unwrap();
    let relayed = relay.await.unwrap();
    assert!(matches!(relayed.end, RelayEnd::Idle), "{relayed:?}");
    assert_eq!(start.elapsed().as_secs(), 210);
    assert_eq!(client.read(&mut byte).await.unwrap(), 0);
}

#[tokio::test]
async fn the_layers_hear_how_it_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::new(listener.local_addr().unwrap());
    let endpoint = mesh_core::Endpoint::new(target);
    let spy = GateLayer::new(Spy::default());
    let dial = Dial::new(&endpoint, Connector::default(), Duration::from_secs(10));
    let mut service = ServiceBuilder::new().layer(spy.clone()).service(dial);
    let request = || ConnectionRequest::new(Arc::new(Peer::UNKNOWN), Name::intern("relay"));

    // in order
    let connected = service.call(request()).await.unwrap();
    let (mut client, ours) = UnixStream::pair().unwrap();
    let relaying = tokio::spawn(relay(ours.into(), connected, RelayOptions::default()));
    let (mut upstream, _) = listener.accept().unwrap();
    upstream.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(spy.gate().outcomes(), [], "it goes on");
    drop((upstream, client));
    relaying.await.unwrap();
    assert_eq!(spy.gate().outcomes(), [Outcome::Success]);

    // the upstream resets
    let connected = service.call(request()).await.unwrap();
    let (_client, ours) = UnixStream::pair().unwrap();
    let (upstream, _) = listener.accept().unwrap();
    socket2::SockRef::from(&upstream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(upstream);
    relay(ours.into(), connected, RelayOptions::default()).await;
    assert_eq!(spy.gate().outcomes()[1..], [Outcome::Failure]);

    // the relay is dropped
    drop(relay(UnixStream::pair().unwrap().0.into(), service.call(request()).await.unwrap(), RelayOptions::default()));
    assert_eq!(spy.gate().outcomes()[2..], [Outcome::Cancelled]);

    // nobody listens
    drop(listener);
    let error = service.call(request()).await.unwrap_err();
    assert!(matches!(error, ConnectionError::Connect(_)), "{error}");
    assert_eq!(spy.gate().outcomes()[3..], [Outcome::Failure]);
}

#[tokio::test]
async fn a_quiet_relay_is_small() {
    let ((_client, ours), (to, _upstream)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let future = relay(ours.into(), Connected::new(to.into()), RelayOptions::default());
    assert!(size_of_val(&future) <= 512, "{}", size_of_val(&future));
}
