//! Detection over every way the first bytes can come in.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use mesh_net::{Detected, Rewind, detect};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a peer does next.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    /// Nothing yet; the task is woken.
    Wait,
    Reset,
}

/// A stream that plays its steps, then ends, and counts its reads.
#[derive(Debug, Default)]
struct Peer {
    steps: VecDeque<Step>,
    reads: usize,
    written: Vec<u8>,
    vectored: bool,
}

impl Peer {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    fn sends(chunks: &[&[u8]]) -> Self {
        Self::new(chunks.iter().map(|chunk| Step::Bytes(chunk.to_vec())))
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.reads += 1;
        match self.steps.pop_front() {
            None => {}
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Step::Bytes(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buffer.remaining()));
                buffer.put_slice(&bytes);
                if !rest.is_empty() {
                    self.steps.push_front(Step::Bytes(rest));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.vectored = true;
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The verdict, and every byte that the stream gives afterwards.
async fn run(peer: Peer) -> io::Result<Option<(bool, Vec<u8>)>> {
    let (http2, mut io) = match detect(peer).await? {
        Detected::Http1(io) => (false, io),
        Detected::Http2(io) => (true, io),
        Detected::Closed => return Ok(None),
    };
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    Ok(Some((http2, bytes)))
}

#[tokio::test]
async fn every_split_of_the_preface_is_http2() {
    for at in 1..PREFACE.len() {
        let (first, second) = PREFACE.split_at(at);
        let got = run(Peer::sends(&[first, second, b"frames"])).await.unwrap();
        assert_eq!(got, Some((true, [PREFACE, b"frames"].concat())), "split at {at}");
    }
}

#[tokio::test]
async fn requests_that_begin_alike_are_http1() {
    for request in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PUT / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"PRI / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!",
        b"PROPFIND / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"P",
        b"PRI",
        b"\r\n",
    ] {
        assert_eq!(run(Peer::sends(&[request])).await.unwrap(), Some((false, request.to_vec())));
        let by_byte: Vec<&[u8]> = request.chunks(1).collect();
        assert_eq!(run(Peer::sends(&by_byte)).await.unwrap(), Some((false, request.to_vec())));
    }
}

#[tokio::test]
async fn half_a_preface_then_the_end_is_http1_with_all_its_bytes() {
    for at in 1..PREFACE.len() {
        let got = run(Peer::sends(&[&PREFACE[..at]])).await.unwrap();
        assert_eq!(got, Some((false, PREFACE[..at].to_vec())));
    }
}

#[tokio::test]
async fn the_first_byte_that_differs_decides() {
    // The next read would wait for ever.
    let peer = Peer::sends(&[b"PU"]);
    let Detected::Http1(io) = detect(peer).await.unwrap() else { panic!("not HTTP/2") };
    assert_eq!(io.get_ref().reads, 1);
    let Detected::Http2(io) = detect(Peer::sends(&[PREFACE])).await.unwrap() else { panic!("not HTTP/1") };
    assert_eq!(io.get_ref().reads, 1);
}

#[tokio::test]
async fn an_end_before_any_byte_is_closed_and_a_reset_an_error() {
    assert_eq!(run(Peer::new([])).await.unwrap(), None);
    assert_eq!(run(Peer::new([Step::Wait])).await.unwrap(), None);
    assert_eq!(run(Peer::new([Step::Reset])).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let peer = Peer::new([Step::Bytes(b"PRI".to_vec()), Step::Reset]);
    assert_eq!(run(peer).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn one_read_gives_the_prefix_and_what_is_there_behind_it() {
    let request = b"GET /a/rather/long/path HTTP/1.1\r\nhost: a\r\n\r\n";
    let Detected::Http1(mut io) = detect(Peer::sends(&[request])).await.unwrap() else { panic!("not HTTP/2") };
    let mut buffer = [0; 1024];
    let read = io.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..read], request);
    assert_eq!(io.get_ref().reads, 2);
}

#[tokio::test]
async fn an_error_behind_the_prefix_comes_after_it() {
    let peer = Peer::new([Step::Bytes(b"GET".to_vec()), Step::Reset]);
    let Detected::Http1(mut io) = detect(peer).await.unwrap() else { panic!("not HTTP/2") };
    let mut buffer = [0; 1024];
    assert_eq!(io.read(&mut buffer).await.unwrap(), 3);
    assert_eq!(io.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(io.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn writes_pass_through_vectored_ones_too() {
    let mut io = Rewind::new(Peer::default());
    assert!(io.is_write_vectored());
    io.write_all(b"plain").await.unwrap();
    assert!(!io.get_ref().vectored);
    let written = io.write_vectored(&[IoSlice::new(b"two"), IoSlice::new(b"parts")]).await.unwrap();
    assert_eq!(written, 8);
    assert!(io.get_ref().vectored);
    assert_eq!(io.get_ref().written, b"plain");
    io.flush().await.unwrap();
    io.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_stream_without_prefix_is_itself() {
    let mut io = Rewind::new(Peer::sends(&[b"bytes"]));
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"bytes");
}

proptest! {
    /// However the bytes are cut and however small the reads are: the verdict depends on the bytes alone, and all of
    /// them come out again in order.
    #[test]
    fn verdict_and_bytes_do_not_depend_on_the_chunks(
        start in prop_oneof![
            2 => Just(PREFACE.to_vec()),
            1 => (0..PREFACE.len()).prop_map(|len| PREFACE[..len].to_vec()),
        ],
        rest in prop::collection::vec(any::<u8>(), 0..64),
        chunks in prop::collection::vec(0_usize..12, 1..80),
        read in 1_usize..40,
    ) {
        let bytes = [start, rest].concat();
        let mut steps = Vec::new();
        let mut left = &bytes[..];
        for size in chunks.iter().cycle().take(4 * (bytes.len() + 1) + chunks.len()) {
            if *size == 0 {
                steps.push(Step::Wait);
            } else if !left.is_empty() {
                let (chunk, more) = left.split_at((*size).min(left.len()));
                steps.push(Step::Bytes(chunk.to_vec()));
                left = more;
            }
        }
        if !left.is_empty() {
            steps.push(Step::Bytes(left.to_vec()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (got, out) = runtime.block_on(async {
            let (http2, mut io) = match detect(Peer::new(steps)).await.unwrap() {
                Detected::Http1(io) => (Some(false), io),
                Detected::Http2(io) => (Some(true), io),
                Detected::Closed => return (None, Vec::new()),
            };
            let mut out = Vec::new();
            let mut buffer = vec![0; read];
            loop {
                match io.read(&mut buffer).await.unwrap() {
                    0 => return (http2, out),
                    read => out.extend_from_slice(&buffer[..read]),
                }
            }
        });
        let expected = (!bytes.is_empty()).then(|| bytes.starts_with(PREFACE));
        prop_assert_eq!(got, expected);
        prop_assert_eq!(out, bytes);
    }
}
