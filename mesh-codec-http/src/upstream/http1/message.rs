//! A request on its way out: its head as bytes, then its body by the one framing that the head says.

use super::scratch;
use crate::{Body, Request};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Uri,
    header::{self, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING},
};
use http_body::Body as _;
use mesh_core::{BoxError, http::CallBody};
use std::{
    io::{self, IoSlice, Write as _},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// A request that is written. What of it is not written yet it keeps, and its head until [`Message::poll`] goes on to the
/// body: so it can be sent again on another connection.
pub(in crate::upstream) struct Message {
    /// What is to be written now: this, then a part of the body, then what ends that.
    out: Vec<u8>,
    data: Bytes,
    end: &'static [u8],
    /// How much of these three has been written.
    written: usize,
    begun: bool,
    /// `None`: all of it was taken.
    body: Option<CallBody<Body>>,
    framing: Framing,
    /// The trailers that the head has announced.
    trailers: Option<Box<[HeaderName]>>,
    is_head: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    /// So much is to come.
    Length(u64),
    Chunked,
}

/// Why a message was not written to its end.
pub(super) enum Cut {
    /// The body failed.
    Body(BoxError),
    /// The connection did: it is broken, or takes no more.
    Io,
}

impl Message {
    pub(in crate::upstream) fn new(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let mut out = scratch::spare();
        out.extend_from_slice(head.method.as_str().as_bytes());
        out.push(b' ');
        write_target(&mut out, &head.uri);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let body = (!body.is_end_stream()).then_some(body);
        let framing = match &body {
            None => Framing::Length(0),
            Some(body) => match content_length(&head.headers).or_else(|| body.size_hint().exact()) {
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            },
        };
        let (mut is_said, mut announces) = (false, false);
        for (name, value) in &head.headers {
            match *name {
                // said once, where it stood, and what is so
                CONTENT_LENGTH => is_said = is_said || write_length(&mut out, framing),
                TRANSFER_ENCODING => {}
                _ => {
                    announces |= *name == TRAILER;
                    write_field(&mut out, name, value.as_bytes());
                }
            }
        }
        match framing {
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Length(_) if body.is_some() && !is_said => _ = write_length(&mut out, framing),
            Framing::Length(_) => {}
        }
        out.extend_from_slice(b"\r\n");
        let trailers = (announces && framing == Framing::Chunked).then(|| announced(&head.headers));
        Self {
            out,
            data: Bytes::new(),
            end: b"",
            written: 0,
            begun: false,
            body: body.filter(|_| framing != Framing::Length(0)),
            framing,
            trailers,
            is_head: head.method == Method::HEAD,
        }
    }

    /// Whether the answer has no body.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether a byte of it has gone out.
    pub(in crate::upstream) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether all of it has gone out.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        self.body.is_none() && self.left() == 0
    }

    /// To be written from its beginning. For one without a body, or of which nothing has gone out.
    pub(in crate::upstream) fn rewind(&mut self) {
        self.written = 0;
        self.begun = false;
    }

    fn left(&self) -> usize {
        self.out.len() + self.data.len() + self.end.len() - self.written
    }

    /// Writes. Takes no more of the body than one frame that has not gone out.
    pub(super) fn poll(
        &mut self,
        mut io: Pin<&mut (impl AsyncWrite + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        if !self.begun && self.data.is_empty() && self.body.is_some() {
            // what is at hand goes out with the head
            if let Poll::Ready(taken) = self.poll_body(cx) {
                taken.map_err(Cut::Body)?;
            }
        }
        loop {
            while self.left() > 0 {
                let written = ready!(self.poll_write(io.as_mut(), cx)).unwrap_or(0);
                if written == 0 {
                    return Poll::Ready(Err(Cut::Io));
                }
                self.begun = true;
                self.written += written;
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            self.out.clear();
            (self.data, self.end, self.written) = (Bytes::new(), b"", 0);
            ready!(self.poll_body(cx)).map_err(Cut::Body)?;
        }
    }

    fn poll_write(&self, io: Pin<&mut (impl AsyncWrite + ?Sized)>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut skip = self.written;
        let mut rest = [&self.out[..], &self.data[..], self.end].map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(&part[skipped..])
        });
        let first = rest.iter().position(|part| !part.is_empty()).unwrap_or(0);
        match &mut rest[first..] {
            [one] => io.poll_write(cx, one),
            [one, others @ ..] if others.iter().all(|part| part.is_empty()) => io.poll_write(cx, one),
            many => io.poll_write_vectored(cx, many),
        }
    }

    /// Takes the next part of the body, and puts it behind what is to be written.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => None,
        };
        let frame = match frame.map(http_body::Frame::into_data) {
            Some(Ok(data)) => {
                self.put(data);
                return Poll::Ready(Ok(()));
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        self.body = None;
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Poll::Ready(Err("the body is shorter than was said".into())),
            Framing::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in frame.iter().flatten() {
                    if self.trailers.as_ref().is_some_and(|announced| announced.contains(name)) {
                        write_field(&mut self.out, name, value.as_bytes());
                    }
                }
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, mut data: Bytes) {
        match &mut self.framing {
            Framing::Length(left) => {
                // more than was said would be another message to who reads it
                let part = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                data.truncate(part);
                *left -= part as u64;
                if *left == 0 {
                    self.body = None;
                }
            }
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                let _ = write!(self.out, "{:x}\r\n", data.len());
                self.end = b"\r\n";
            }
        }
        self.data = data;
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        scratch::keep(mem::take(&mut self.out));
    }
}

/// The form of the target that goes to an upstream: a path and a query.
fn write_target(out: &mut Vec<u8>, uri: &Uri) {
    if uri.authority().is_some() {
        let _ = write!(out, "{uri}");
    } else {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        out.extend_from_slice(if target.is_empty() { b"/" } else { target.as_bytes() });
    }
}

/// Whether it is of a known length.
fn write_length(out: &mut Vec<u8>, framing: Framing) -> bool {
    let Framing::Length(length) = framing else { return false };
    // to a vector: it cannot fail
    let _ = write!(out, "content-length: {length}\r\n");
    true
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What all `content-length` fields say, if they are numbers and agree.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let value = value.trim_ascii();
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let value: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
            if length.is_some_and(|length| length != value) {
                return None;
            }
            length = Some(value);
        }
    }
    length
}

/// The trailers that a head announces, without those that would change what the message means (RFC 9110, section 6.5.1).
fn announced(headers: &HeaderMap) -> Box<[HeaderName]> {
    let names = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| {
            !matches!(
                *name,
                header::AUTHORIZATION
                    | header::CACHE_CONTROL
                    | header::CONNECTION
                    | header::CONTENT_ENCODING
                    | header::CONTENT_LENGTH
                    | header::CONTENT_RANGE
                    | header::CONTENT_TYPE
                    | header::COOKIE
                    | header::HOST
                    | header::MAX_FORWARDS
                    | header::SET_COOKIE
                    | header::TE
                    | header::TRAILER
                    | header::TRANSFER_ENCODING
            )
        })
        .collect()
}
