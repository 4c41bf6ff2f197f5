//! Upgrades and CONNECT over HTTP/1.1: a connection of their own, which becomes the tunnel.

use super::{
    About, Answer, Shared,
    limit::Grant,
    pool::Home,
    wire::{Transport, within},
};
use crate::{
    Body, Request, UpstreamError, UpstreamErrorKind,
    server::{Chunks, Prefixed},
    websocket,
};
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use http_body::{Body as _, Frame};
use hyper::client::conn::http1::{Builder, Parts};
use hyper_util::rt::TokioIo;
use mesh_core::{BoxError, http::CallBody};
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    task::AbortHandle,
};

type Io = Prefixed<Transport>;

/// Sends a request that asks for a tunnel. Its body is what goes through that, once it is granted.
pub(super) async fn ask(shared: Arc<Shared>, request: Request, about: &About) -> Answer {
    let (mut head, body) = request.into_parts();
    let connect = head.method == Method::CONNECT;
    let asked = head.headers.get(UPGRADE).cloned();
    if asked.is_some() {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if asked.as_ref().is_some_and(websocket::is) && !head.headers.contains_key(SEC_WEBSOCKET_KEY) {
        // one that came over HTTP/2 has none (RFC 8441, section 5)
        head.headers.extend(websocket::key().map(|key| (SEC_WEBSOCKET_KEY, key)));
        head.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    }
    let request = http::Request::from_parts(head, CallBody::new(about.call.clone(), Body::empty()));

    let timeout = shared.options.connect_timeout;
    let permit = match shared.limit.admit(0, true, timeout).await? {
        Grant::Permit(permit) => permit,
        // of no use to a tunnel, and so not offered
        Grant::Connection(_) => return Err(UpstreamError::new(UpstreamErrorKind::Local, "no connection").into()),
    };
    let transport = within(timeout, shared.options.connector.connect(&shared.address, timeout)).await?;
    let home = Home::enter(&shared, permit);
    let io = TokioIo::new(transport);
    let (mut sender, mut connection) = Builder::new().handshake(io).await.map_err(error_of)?;
    let mut over = false;
    let response = {
        let mut sent = pin!(sender.send_request(request));
        poll_fn(|cx| {
            // how it ended is told to the request
            over = over || connection.poll_without_shutdown(cx).is_ready();
            sent.as_mut().poll(cx)
        })
        .await
        .map_err(error_of)?
    };
    let status = response.status();
    let granted = if connect { status.is_success() } else { status == StatusCode::SWITCHING_PROTOCOLS };
    if !granted {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::new(UpstreamErrorKind::Protocol, "it switched protocols unasked").into());
        }
        tokio::spawn(async move {
            if !over {
                let _ = connection.await;
            }
            drop((sender, home));
        });
        return Ok(about.respond(response));
    }
    let switched = response.headers().get(UPGRADE).cloned();
    if !connect && !is_same(asked.as_ref(), switched.as_ref()) {
        return Err(UpstreamError::new(UpstreamErrorKind::Protocol, "it switched to another protocol").into());
    }
    if !over {
        poll_fn(|cx| connection.poll_without_shutdown(cx)).await.map_err(error_of)?;
    }
    let Parts { io, read_buf, .. } = connection.into_parts();
    let (read, write) = tokio::io::split(Prefixed::new(read_buf, io.into_inner()));
    let upload = tokio::spawn(upload(body, write)).abort_handle();
    let download = Download { io: read, chunks: Chunks::default(), upload: Some(upload), _home: home };
    let mut response = about.respond(response.map(|_| Body::boxed(download)));
    match switched {
        Some(switched) if !connect => _ = response.headers_mut().insert(UPGRADE, switched),
        _ => _ = response.headers_mut().remove(CONTENT_LENGTH),
    }
    Ok(response)
}

/// What hyper's error says of the upstream.
fn error_of(error: hyper::Error) -> UpstreamError {
    let kind = if error.is_user() {
        UpstreamErrorKind::RequestBody
    } else if error.is_parse() {
        UpstreamErrorKind::Protocol
    } else {
        UpstreamErrorKind::Reset
    };
    UpstreamError::new(kind, error)
}

fn is_same(asked: Option<&HeaderValue>, switched: Option<&HeaderValue>) -> bool {
    match (asked, switched) {
        (Some(asked), Some(switched)) => asked.as_bytes().eq_ignore_ascii_case(switched.as_bytes()),
        _ => false,
    }
}

/// Passes on what the client sends. One chunk at a time: no more is taken than the upstream takes.
async fn upload(body: CallBody<Body>, mut io: WriteHalf<Io>) {
    let mut body = pin!(body);
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if io.write_all(&data).await.is_err() || io.flush().await.is_err() {
                    return;
                }
            }
            Some(Err(_)) => return,
            None => break,
        }
    }
    let _ = io.shutdown().await;
}

/// What the upstream sends through the tunnel. Dropped before its end it cuts the other half, too.
struct Download {
    io: ReadHalf<Io>,
    chunks: Chunks,
    upload: Option<AbortHandle>,
    _home: Home,
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let me = self.get_mut();
        let read: io::Result<Option<Bytes>> = ready!(me.chunks.poll_read(Pin::new(&mut me.io), cx));
        if let Ok(None) = read {
            // the client's half goes on
            me.upload = None;
        }
        Poll::Ready(read.transpose().map(|read| read.map(Frame::data).map_err(Into::into)))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}
