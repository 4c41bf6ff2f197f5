use mesh_core::time;
use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a peer may take to notice that it is to stop, and how much it may send until then.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST: usize = 1024 * 1024;

/// Closes a stream whose peer may still be sending. To close it with bytes unread resets it, and a reset may overtake the
/// answer that says why (RFC 9112, section 9.6).
pub(super) async fn linger<I: AsyncRead + AsyncWrite + Unpin>(mut io: I) {
    let close = async {
        io.shutdown().await?;
        let (mut bytes, mut read) = (vec![0; 4096], 0);
        loop {
            match io.read(&mut bytes).await? {
                0 => return io::Result::Ok(()),
                more => read += more,
            }
            if read > MOST {
                return Ok(());
            }
        }
    };
    let (mut close, mut late) = (pin!(close), pin!(time::sleep(PATIENCE)));
    poll_fn(|cx| match close.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => late.as_mut().poll(cx),
    })
    .await;
}
