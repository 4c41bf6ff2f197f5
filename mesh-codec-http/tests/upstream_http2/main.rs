//! The HTTP/2 upstream against servers of `h2`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../upstream_support/mod.rs"]
mod upstream_support;

mod failures;
mod streams;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http_body_util::StreamBody;
use mesh_codec_http::{
    Body, HttpError, Request, UpstreamErrorKind,
    upstream::{UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Context, http::CallBody, time};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    sync::mpsc,
};
use upstream_support::{Client, InMemory};

type Server = h2::server::Connection<DuplexStream, Bytes>;

struct Listener(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener {
    fn new() -> (Self, Client) {
        let (connector, others) = InMemory::new();
        let options = UpstreamOptions { protocol: UpstreamProtocol::Http2, connector, ..UpstreamOptions::default() };
        (Self(others), Client::with("127.0.0.1:1".parse().unwrap(), options))
    }

    async fn accept(&mut self, streams: Option<u32>) -> Server {
        let mut builder = h2::server::Builder::new();
        if let Some(streams) = streams {
            builder.max_concurrent_streams(streams);
        }
        builder.handshake(self.0.recv().await.unwrap()).await.unwrap()
    }
}

/// Answers each request with its path and body.
async fn echo<I: AsyncRead + AsyncWrite + Unpin>(mut server: h2::server::Connection<I, Bytes>) {
    while let Some(Ok((request, respond))) = server.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut text = format!("{} {} ", parts.method, parts.uri).into_bytes();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
    stream.send_data(text.into(), false).unwrap();
    stream.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
}

fn request(method: &str, body: Body) -> Request {
    let context = Context::begin(time::now(), None);
    let request = http::Request::builder().method(method).uri("http://shop/path").version(http::Version::HTTP_2);
    request.body(CallBody::new(context, body)).unwrap()
}

fn get() -> Request {
    request("GET", Body::empty())
}

fn kind(error: &HttpError) -> UpstreamErrorKind {
    match error {
        HttpError::Upstream(error) => error.kind(),
        HttpError::Refused(rejection) => panic!("{rejection}"),
    }
}

fn fed() -> (mpsc::Sender<&'static str>, Body) {
    let (sender, receiver) = mpsc::channel::<&'static str>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = tokio_stream::StreamExt::map(stream, |text| match text {
        "fail" => Err("the client is gone"),
        "trailers" => {
            Ok(http_body::Frame::trailers([("t".parse().unwrap(), "1".parse().unwrap())].into_iter().collect()))
        }
        text => Ok(http_body::Frame::data(Bytes::from_static(text.as_bytes()))),
    });
    (sender, Body::boxed(StreamBody::new(frames)))
}
