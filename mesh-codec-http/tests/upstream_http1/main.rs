//! The HTTP/1.1 upstream against a server whose every byte is in the test's hands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../upstream_support/mod.rs"]
mod upstream_support;

mod exchange;
mod failures;
mod kept;
mod reuse;

use bytes::Bytes;
use http_body_util::StreamBody;
use mesh_codec_http::{Body, HttpError, UpstreamErrorKind, upstream::UpstreamProtocol};
use tokio::sync::mpsc;
use upstream_support::{Client, Raw};

async fn pair() -> (Raw, Client) {
    let server = Raw::bind().await;
    let client = Client::new(server.address(), UpstreamProtocol::Http1);
    (server, client)
}

fn kind(error: &HttpError) -> UpstreamErrorKind {
    match error {
        HttpError::Upstream(error) => error.kind(),
        HttpError::Refused(rejection) => panic!("{rejection}"),
    }
}

/// A body that the test feeds.
fn fed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = tokio_stream::StreamExt::map(stream, |bytes| {
        if bytes == "fail" { Err("the client is gone") } else { Ok(http_body::Frame::data(bytes)) }
    });
    (sender, Body::boxed(StreamBody::new(frames)))
}
