//! One buffer per thread to read into, so that no connection needs one of its own.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at a time.
const SIZE: usize = 32 * 1024;
/// A vector that has grown larger is not kept.
const LARGEST_SPARE: usize = 4 * 1024;
/// How many are kept.
const SPARES: usize = 32;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE: Cell<Vec<Vec<u8>>> = const { Cell::new(Vec::new()) };
}

/// Reads once and shows what came; of nothing the stream has ended.
pub(super) fn poll_read<T>(
    io: Pin<&mut (impl AsyncRead + ?Sized)>,
    cx: &mut Context<'_>,
    show: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    // taken out meanwhile: a stream that reads another within gets one of its own
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch = vec![0; SIZE];
    }
    let mut buffer = ReadBuf::new(&mut scratch);
    let polled = io.poll_read(cx, &mut buffer).map_ok(|()| show(buffer.filled()));
    let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    Poll::Ready(ready!(polled))
}

/// An empty vector, most often one that was [kept](keep).
pub(super) fn spare() -> Vec<u8> {
    let found = SPARE.try_with(|kept| {
        let mut spares = kept.take();
        let found = spares.pop();
        kept.set(spares);
        found
    });
    found.ok().flatten().unwrap_or_else(|| Vec::with_capacity(512))
}

/// Keeps a vector for the next who needs one.
pub(super) fn keep(mut vector: Vec<u8>) {
    if vector.capacity() == 0 || vector.capacity() > LARGEST_SPARE {
        return;
    }
    vector.clear();
    let _ = SPARE.try_with(|kept| {
        let mut spares = kept.take();
        if spares.len() < SPARES {
            spares.push(vector);
        }
        kept.set(spares);
    });
}
