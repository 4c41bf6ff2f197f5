//! What the tests of the upstream side share: requests, and a server whose every byte is in the test's hands.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses a part; a test fails by panicking")]

use bytes::Bytes;
use http_body_util::BodyExt as _;
use mesh_codec_http::{
    Body, HttpError, Request, Response, UpstreamError, UpstreamErrorKind,
    upstream::{Connect, Connecting, Transport, Upstream, UpstreamOptions, UpstreamProtocol, connections, sweep},
};
use mesh_core::{Address, Context, EndpointId, Endpoints, Target, http::CallBody, time};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tower::Service as _;

pub struct Client {
    pub upstream: Upstream,
    pub endpoint: EndpointId,
    set: Mutex<Option<Endpoints>>,
}

impl Client {
    pub fn new(address: SocketAddr, protocol: UpstreamProtocol) -> Self {
        Self::with(address, UpstreamOptions { protocol, ..UpstreamOptions::default() })
    }

    pub fn with(address: SocketAddr, options: UpstreamOptions) -> Self {
        let set = Endpoints::fixed([Target::new(address)]);
        let endpoint = set.load().endpoints()[0].clone();
        let upstream = Upstream::new(&endpoint, options);
        Self { upstream, endpoint: endpoint.id(), set: Mutex::new(Some(set)) }
    }

    /// The endpoint leaves the one set it is in, and the worker sweeps.
    pub fn endpoint_leaves(&self) {
        drop(self.set.lock().unwrap().take());
        sweep(time::now());
    }

    pub fn call(&self, request: Request) -> impl Future<Output = Result<Response, HttpError>> + Send + Unpin + use<> {
        self.upstream.clone().call(request)
    }

    /// Open, idle.
    pub fn connections(&self) -> (u32, u32) {
        connections(self.endpoint)
    }
}

pub fn request(method: &str, body: Body) -> Request {
    let context = Context::begin(time::now(), None);
    http::Request::builder()
        .method(method)
        .uri("/path?q=1")
        .header("host", "shop")
        .body(CallBody::new(context, body))
        .unwrap()
}

pub fn get() -> Request {
    request("GET", Body::empty())
}

/// All of a body, and its trailers.
pub async fn read(response: Response) -> (Bytes, Option<http::HeaderMap>) {
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

pub async fn text(response: Response) -> String {
    String::from_utf8(read(response).await.0.to_vec()).unwrap()
}

/// Connections without sockets: with paused time, a timeout that fires means that nothing moves any more.
pub struct InMemory(mpsc::UnboundedSender<DuplexStream>);

impl InMemory {
    /// What connects, and the other ends.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<DuplexStream>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), receiver)
    }
}

impl Connect for InMemory {
    fn connect<'a>(&'a self, _: &'a Address, _: Duration) -> Connecting<'a> {
        let (ours, theirs) = duplex(32 * 1024);
        let kept = self.0.send(theirs);
        Box::pin(async move {
            kept.map(|()| Transport::new(ours))
                .map_err(|_| UpstreamError::new(UpstreamErrorKind::Connect, "nobody listens"))
        })
    }
}

pub struct Raw {
    listener: TcpListener,
}

impl Raw {
    pub async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub async fn accept(&self) -> Peer {
        Peer { stream: self.listener.accept().await.unwrap().0 }
    }
}

/// A connection seen from the upstream.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    /// Reads up to the end of a head.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match self.stream.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(_) => panic!("closed after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    pub async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// A request without a body comes, a response goes.
    pub async fn answer(&mut self, response: &str) -> String {
        let head = self.head().await;
        self.send(response).await;
        head
    }

    /// Waits until the other side has closed; what else came is given back.
    pub async fn closed(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
