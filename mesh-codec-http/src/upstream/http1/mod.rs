//! A connection over HTTP/1.1.

mod body;
mod decode;
mod head;
mod message;
mod scratch;

pub(crate) use body::Http1Body;
pub(super) use message::Message;

use super::{
    Shared,
    limit::Permit,
    pool,
    wire::{Transport, within},
};
use crate::{Body, UpstreamError, UpstreamErrorKind};
use body::{Rest, both_ways, malformed};
use http::StatusCode;
use mesh_core::Nanos;
use message::Cut;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release},
    },
    task::{Context, Poll, Wake, Waker, ready},
};
use tokio::io::{AsyncRead as _, ReadBuf};

/// One connection. Who awaits a response or reads a body owns it and polls it, so no second task is woken for each
/// message. It has no buffers: what is read goes through the one of the thread, and what has come is copied out of that
/// in its size. Dropping it closes it.
pub(crate) struct Http1 {
    transport: Transport,
    /// What has come of a head that is not whole.
    partial: Vec<u8>,
    /// It cannot be used again.
    over: bool,
    heard: Arc<Heard>,
    waker: Waker,
    /// When it has become too old for another request.
    pub(super) expires: Nanos,
    /// When a sweep first saw it idle.
    pub(super) idle_since: Option<Nanos>,
    pub(super) home: pool::Home,
}

/// Whether something was heard of an idle connection's socket.
struct Heard(AtomicBool);

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Release);
    }
}

/// The head of a response, and what is to come of its body.
pub(super) struct Answered {
    pub(super) response: http::Response<()>,
    rest: Rest,
}

/// Why there was no response.
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    /// Whether a byte of one had come.
    pub(super) has_received: bool,
}

impl Http1 {
    /// Connects.
    pub(super) async fn open(shared: &Arc<Shared>, permit: Permit) -> Result<Box<Self>, UpstreamError> {
        let timeout = shared.options.connect_timeout;
        let transport = within(timeout, shared.options.connector.connect(&shared.address, timeout)).await?;
        let heard = Arc::new(Heard(AtomicBool::new(false)));
        Ok(Box::new(Self {
            transport,
            partial: Vec::new(),
            over: false,
            waker: Waker::from(heard.clone()),
            heard,
            expires: shared.expiry(),
            idle_since: None,
            home: pool::Home::enter(shared, permit),
        }))
    }

    /// Whether a request can be sent on it. Costs a load while nothing was heard of its socket.
    pub(super) fn is_reusable(&mut self) -> bool {
        if self.heard.0.load(std::sync::atomic::Ordering::Acquire) {
            // most likely it was closed; to read from it is to see that
            self.watch();
        }
        !self.over
    }

    /// From now on [`Http1::is_reusable`] sees what happens on the socket: on an idle connection nothing may.
    pub(super) fn watch(&mut self) {
        self.heard.0.swap(false, AcqRel);
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let polled = Pin::new(&mut self.transport).poll_read(&mut Context::from_waker(&self.waker), &mut byte);
        self.over |= polled.is_ready();
    }

    /// Writes the request and waits for the head of the response. Whoever stops polling drops the connection, too: it is
    /// in the middle of a message.
    pub(super) fn poll_response(
        &mut self,
        message: &mut Message,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answered, Failed>> {
        if !message.is_over() {
            match message.poll(Pin::new(&mut self.transport), cx) {
                // who wants no more of a request may have answered before
                Poll::Ready(Err(Cut::Io)) => self.over = true,
                Poll::Ready(Err(Cut::Body(error))) => {
                    return self.failed(UpstreamError::new(UpstreamErrorKind::RequestBody, error));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            let partial = &mut self.partial;
            let read = scratch::poll_read(Pin::new(&mut self.transport), cx, |bytes| {
                if bytes.is_empty() { None } else { Some(head::read(partial, bytes, message.is_head())) }
            });
            match ready!(read) {
                Ok(Some(Ok(None))) => {}
                Ok(Some(Ok(Some(head)))) => {
                    self.over |= !head.keeps_alive;
                    let rest = Rest { decoder: head.decoder, bytes: head.rest };
                    return Poll::Ready(Ok(Answered { response: head.response, rest }));
                }
                Ok(Some(Err(error))) => {
                    // not to be taken for one that has sent nothing
                    self.partial = vec![0];
                    return self.failed(malformed(error));
                }
                Ok(None) => return self.failed(broken(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return self.failed(broken(error)),
            }
        }
    }

    fn failed(&self, error: UpstreamError) -> Poll<Result<Answered, Failed>> {
        Poll::Ready(Err(Failed { error, has_received: !self.partial.is_empty() }))
    }

    /// What becomes of the connection when the head of a response has come, and the response.
    pub(super) fn respond(
        self: Box<Self>,
        answered: Answered,
        message: Message,
    ) -> Result<http::Response<Body>, UpstreamError> {
        let Answered { response, mut rest } = answered;
        // the other informational ones are passed over
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::new(UpstreamErrorKind::Protocol, "it switched protocols unasked"));
        }
        let whole = if rest.is_over() { Some(Body::empty()) } else { rest.take_whole().map(Body::full) };
        let body = match whole {
            Some(whole) => {
                // the usual case of a small one; what the upstream does not wait for is not sent
                if message.is_over() {
                    self.finish(&rest);
                }
                whole
            }
            None if message.is_over() => Body::from(Http1Body::new(self, rest)),
            None => both_ways(*self, rest, message),
        };
        Ok(response.map(|()| body))
    }

    /// A response has ended; what has come behind it belongs to none.
    fn finish(self: Box<Self>, rest: &Rest) {
        if !self.over && rest.bytes.is_empty() {
            pool::park(self);
        }
    }
}

fn broken(error: io::Error) -> UpstreamError {
    UpstreamError::new(UpstreamErrorKind::Reset, error)
}

#[cfg(test)]
mod tests;
