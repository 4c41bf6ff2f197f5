//! Is anybody there?

use crate::{
    UpstreamError, UpstreamErrorKind,
    frame::{Codec, Event, Frame, Incoming},
    io::{Input, Output},
};
use mesh_core::time;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::Decoder;

/// No provider says more before it answers a heartbeat.
const MOST: usize = 64 * 1024;

/// Asks a provider, over a connection of its own, whether it is there: sends a heartbeat and waits for the answer. For
/// active health checks. Dropping the future closes the connection.
///
/// # Errors
/// The connection fails or is closed, what comes is not Dubbo2, no answer comes in time, or the provider says that it
/// wants no calls.
///
/// # Panics
/// Outside a tokio runtime with time enabled, unless the thread has a timer of its own.
pub async fn probe(mut io: impl AsyncRead + AsyncWrite + Unpin, timeout: Duration) -> Result<(), UpstreamError> {
    // any will do: it is the only one
    const ID: u64 = 1;
    let (mut input, mut output, mut codec) = (Input::new(), Output::new(), Codec::new(MOST));
    Frame::heartbeat(ID).write(output.buffer());
    let mut timer = time::sleep(timeout);
    let mut answered = move |cx: &mut Context<'_>| -> Result<Poll<()>, UpstreamError> {
        output.poll_write(&mut io, cx).map_err(|error| UpstreamError::new(UpstreamErrorKind::Reset, error))?;
        loop {
            let bad = |error| UpstreamError::new(UpstreamErrorKind::Protocol, error);
            while let Some(incoming) = codec.decode(input.buffer()).map_err(bad)? {
                let Incoming::Frame(frame) = incoming else { continue };
                match frame.event() {
                    Some(Event::Heartbeat) if !frame.head.flags.is_request() && frame.head.id == ID => {
                        return Ok(Poll::Ready(()));
                    }
                    Some(Event::ReadOnly) => return Err(reset("the provider wants no calls")),
                    _ => {}
                }
            }
            match input.poll_read(&mut io, cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(reset("closed by the upstream")),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(UpstreamError::new(UpstreamErrorKind::Reset, error)),
            }
        }
    };
    poll_fn(move |cx| match answered(cx) {
        Err(error) => Poll::Ready(Err(error)),
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Ok(Poll::Pending) => {
            Pin::new(&mut timer).poll(cx).map(|()| Err(reset(&format!("no answer to a heartbeat within {timeout:?}"))))
        }
    })
    .await
}

fn reset(text: &str) -> UpstreamError {
    UpstreamError::new(UpstreamErrorKind::Reset, text)
}
