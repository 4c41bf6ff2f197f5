//! Bodies of responses, as they come.

use super::{
    Http1, broken,
    decode::{Decoded, Decoder},
    head::Malformed,
    message::{Cut, Message},
    scratch,
};
use crate::{Body, UpstreamError, UpstreamErrorKind};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mesh_core::BoxError;
use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::{io::AsyncRead, sync::mpsc};

/// What is still to come of a body.
pub(super) struct Rest {
    pub(super) decoder: Decoder,
    /// What has come and is not decoded.
    pub(super) bytes: Bytes,
}

impl Rest {
    /// Whether the body has ended.
    pub(super) fn is_over(&self) -> bool {
        self.decoder == Decoder::Done
    }

    /// A body that has come as a whole, and whose length is known.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        match self.decoder {
            Decoder::Length(left) if left <= self.bytes.len() as u64 => {
                self.decoder = Decoder::Done;
                Some(self.bytes.split_to(left as usize))
            }
            _ => None,
        }
    }

    /// The next frame; `None` at the end.
    fn poll_frame(
        &mut self,
        mut io: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, UpstreamError>> {
        loop {
            match self.decoder.decode(&mut self.bytes).map_err(malformed)? {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::Trailers(trailers) => return Poll::Ready(Ok(Some(Frame::trailers(trailers)))),
                Decoded::Done => return Poll::Ready(Ok(None)),
                Decoded::More => {}
            }
            self.bytes = ready!(scratch::poll_read(io.as_mut(), cx, Bytes::copy_from_slice)).map_err(broken)?;
            if self.bytes.is_empty() {
                if self.decoder != Decoder::UntilEnd {
                    return Poll::Ready(Err(broken(io::ErrorKind::UnexpectedEof.into())));
                }
                self.decoder = Decoder::Done;
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Done => SizeHint::with_exact(0),
            Decoder::Chunked(_) | Decoder::UntilEnd => SizeHint::default(),
        }
    }
}

pub(super) fn malformed(Malformed(what): Malformed) -> UpstreamError {
    UpstreamError::new(UpstreamErrorKind::Protocol, what)
}

/// The body of a response that is still coming. Gives its connection back at its end.
pub(crate) struct Http1Body {
    rest: Rest,
    /// `None`: it is over.
    connection: Option<Box<Http1>>,
}

impl Http1Body {
    pub(super) fn new(connection: Box<Http1>, rest: Rest) -> Self {
        Self { rest, connection: Some(connection) }
    }
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let Some(connection) = &mut me.connection else { return Poll::Ready(None) };
        let frame = ready!(me.rest.poll_frame(Pin::new(&mut connection.transport), cx));
        if frame.is_err() || me.rest.is_over() {
            let connection = me.connection.take().filter(|_| frame.is_ok());
            if let Some(connection) = connection {
                connection.finish(&me.rest);
            }
        }
        Poll::Ready(frame.map_err(Into::into).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.connection.is_none() { SizeHint::with_exact(0) } else { self.rest.size_hint() }
    }
}

/// The body of a response that came before the request had gone out. Its reader may wait for the request to go on, so
/// both cannot wait for the reader: from here on the connection has a task. It is not used again.
pub(super) fn both_ways(connection: Http1, mut rest: Rest, mut message: Message) -> Body {
    let hint = rest.size_hint();
    let (sender, frames) = mpsc::channel(1);
    let Http1 { transport, home, .. } = connection;
    let (mut read, mut write) = tokio::io::split(transport);
    tokio::spawn(async move {
        let _home = home;
        {
            let upload = poll_fn(|cx| message.poll(Pin::new(&mut write), cx));
            let download = async {
                loop {
                    let frame = poll_fn(|cx| rest.poll_frame(Pin::new(&mut read), cx)).await;
                    let is_last = !matches!(frame, Ok(Some(_)));
                    if sender.send(frame).await.is_err() || is_last {
                        return;
                    }
                }
            };
            let (mut upload, mut download, mut unread) = (pin!(upload), pin!(download), pin!(sender.closed()));
            let (mut uploaded, mut downloaded) = (false, false);
            poll_fn(|cx| {
                if !uploaded {
                    match upload.as_mut().poll(cx) {
                        Poll::Ready(Err(Cut::Body(_))) => return Poll::Ready(()),
                        // the rest of the response may have come before
                        Poll::Ready(Ok(()) | Err(Cut::Io)) => uploaded = true,
                        Poll::Pending => {}
                    }
                }
                downloaded = downloaded || download.as_mut().poll(cx).is_ready();
                if downloaded && uploaded || unread.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
    });
    Body::boxed(Passed { frames, hint, is_over: false })
}

/// What a task reads from a connection.
struct Passed {
    frames: mpsc::Receiver<Result<Option<Frame<Bytes>>, UpstreamError>>,
    hint: SizeHint,
    is_over: bool,
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let frame = ready!(self.frames.poll_recv(cx)).unwrap_or_else(|| {
            Err(UpstreamError::new(
                UpstreamErrorKind::RequestBody,
                "the request was cut off before the response had ended",
            ))
        });
        self.is_over = !matches!(frame, Ok(Some(_)));
        Poll::Ready(frame.map_err(Into::into).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        // of a body of which nothing was read
        if self.is_over { SizeHint::with_exact(0) } else { self.hint }
    }
}
