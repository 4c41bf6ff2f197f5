//! The first bytes of a connection, in pieces of any length: none is lost.
#![no_main]
#![allow(clippy::unwrap_used, reason = "reading from memory does not fail")]

use libfuzzer_sys::fuzz_target;
use mesh_net::{Detected, detect};
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Gives at most so many bytes at once.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (piece, rest) = self.0.split_at(self.0.len().min(self.1).min(buffer.remaining()));
        buffer.put_slice(piece);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it never waits"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((length, bytes)) = data.split_first() else { return };
    let pieces = Pieces(bytes, usize::from(*length).max(1));
    let (is_http2, mut stream) = match now(detect(pieces)).unwrap() {
        Detected::Http1(stream) => (false, stream),
        Detected::Http2(stream) => (true, stream),
        Detected::Closed => return assert!(bytes.is_empty()),
    };
    assert_eq!(is_http2, bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    let mut read = Vec::new();
    now(stream.read_to_end(&mut read)).unwrap();
    assert_eq!(read, bytes);
});
