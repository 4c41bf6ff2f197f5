//! Nothing panics on input, and what comes back is HTTP.

use crate::harness::{connect, connect_fn, mirror, options};
use mesh_codec_http::server::Protocol;
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::service_fn;

/// Sends these bytes, closes, and gives what came back. The server's task must end without a panic.
async fn answer_to(bytes: &[u8]) -> Vec<u8> {
    let mut connected = connect(options(Protocol::Http), service_fn(mirror));
    let _ = connected.io.write_all(bytes).await;
    let _ = connected.io.shutdown().await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(3600), connected.io.read_to_end(&mut answer)).await;
    reading.unwrap().unwrap();
    let _ = connected.server.await.unwrap();
    answer
}

fn run(bytes: &[u8]) -> Vec<u8> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(answer_to(bytes))
}

/// Pieces of requests, right and wrong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 30] = [
        b"GET ",
        b"POST ",
        b"CONNECT ",
        b"/",
        b"*",
        b"http://a/b",
        b"?q",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/2.0\r\n",
        b"host: a\r\n",
        b"host:\r\n",
        b"connection: close\r\n",
        b"connection: , host;x, keep-alive,,\r\n",
        b"content-length: 3\r\n",
        b"content-length: 99999999999999999999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"te: trailers\r\n",
        b"expect: 100-continue\r\n",
        b"upgrade: h2c\r\n",
        b"x-forwarded-for: \xff\xfe\r\n",
        b"grpc-timeout: 99999999H\r\ncontent-type: application/grpc\r\n",
        b"\r\n",
        b"\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"abc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x01\x01\x05\0\0\0\x01\x82",
    ];
    prop_oneof![
        8 => prop::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..16),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let answer = run(&bytes);
        prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
    }

    #[test]
    fn any_order_of_pieces(pieces in prop::collection::vec(piece(), 0..16)) {
        run(&pieces.concat());
    }

    #[test]
    fn any_frames(frames in prop::collection::vec((0..12_u8, any::<u8>(), 0..4_u32, prop::collection::vec(any::<u8>(), 0..32)), 0..12)) {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for (kind, flags, stream, payload) in frames {
            bytes.extend([0, 0, payload.len() as u8, kind, flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(payload);
        }
        run(&bytes);
    }
}

#[tokio::test]
async fn a_length_and_chunks_are_chunks() {
    let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = connect_fn(options(Protocol::Http), mirror).talk(request).await;
    assert!(answer.contains("connection: close\r\n") && !answer.contains("content-length: 5"), "{answer}");
    assert!(!answer.contains("smuggled"), "nothing behind it is taken for a request: {answer}");
}
