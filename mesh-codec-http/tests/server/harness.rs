use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_codec_http::{
    Body, HttpError, Request, Response, UpstreamError, UpstreamErrorKind,
    server::{Ended, Options, Protocol, Server},
    upstream::{Connect, Connecting, Transport, Upstream, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::http::GovernedBody;
use mesh_core::{
    Address, At, BoxError, Code, Context, End, Endpoint, Gate, GateLayer, Head, Hears, Open, Outcome, Peer, Rejection,
    Side, Target, Ticket, Watch,
};
use mesh_net::Drain;
use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    task::JoinHandle,
};
use tower::{Layer, Service, service_fn};

/// A connection under test: the client's end of it, and what the server makes of it.
pub(crate) struct Connected {
    pub(crate) io: DuplexStream,
    pub(crate) server: JoinHandle<Result<Ended<DuplexStream>, BoxError>>,
    pub(crate) drain: Drain,
}

pub(crate) fn options(protocol: Protocol) -> Options {
    Options { protocol, ..Options::default() }
}

pub(crate) fn peer() -> Peer {
    Peer { address: Some("10.1.2.3:4567".parse().unwrap()), ..Peer::UNKNOWN }
}

/// Connects to a server with these options and this service, through a pipe that holds `capacity` bytes each way.
pub(crate) fn connect_through<S>(options: Options, capacity: usize, service: S) -> Connected
where
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    let (io, server_io) = tokio::io::duplex(capacity);
    let drain = Drain::new();
    let serving = Server::new(options).serve(server_io, Arc::new(peer()), service, drain.watch());
    Connected { io, server: tokio::spawn(serving), drain }
}

pub(crate) fn connect<S>(options: Options, service: S) -> Connected
where
    S: Service<Request, Response = Response, Error = HttpError> + Send + 'static,
    S::Future: Send + 'static,
{
    connect_through(options, 64 * 1024, service)
}

/// Connects to a server whose service is this function.
pub(crate) fn connect_fn<F, T>(options: Options, function: F) -> Connected
where
    F: FnMut(Request) -> T + Send + 'static,
    T: Future<Output = Result<Response, HttpError>> + Send + 'static,
{
    connect(options, service_fn(function))
}

impl Connected {
    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn talk(mut self, bytes: &str) -> String {
        // a server that has heard enough closes in the middle
        let _ = self.io.write_all(bytes.as_bytes()).await;
        let mut answer = Vec::new();
        self.io.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.io.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads until what was read ends so.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match self.io.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    /// An HTTP/2 client on this connection.
    pub(crate) async fn http2(self) -> Http2 {
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(self.io)).await.unwrap();
        tokio::spawn(connection);
        Http2 { sender, server: self.server, drain: self.drain }
    }
}

pub(crate) type ClientBody = BoxBody<Bytes, Infallible>;

pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<ClientBody>,
    pub(crate) server: JoinHandle<Result<Ended<DuplexStream>, BoxError>>,
    pub(crate) drain: Drain,
}

impl Http2 {
    pub(crate) async fn send(
        &mut self,
        request: http::request::Builder,
        body: &'static str,
    ) -> http::Response<Incoming> {
        self.try_send(request, full(body)).await.unwrap()
    }

    pub(crate) async fn try_send(
        &mut self,
        request: http::request::Builder,
        body: ClientBody,
    ) -> hyper::Result<http::Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request.body(body).unwrap()).await
    }
}

pub(crate) fn full(body: &'static str) -> ClientBody {
    Full::new(Bytes::from_static(body.as_bytes())).boxed()
}

pub(crate) fn get(path: &str) -> http::request::Builder {
    http::Request::get(format!("http://shop.local{path}"))
}

pub(crate) fn grpc(path: &str) -> http::request::Builder {
    http::Request::post(format!("http://shop.local{path}")).header("content-type", "application/grpc")
}

/// A response of a service.
pub(crate) fn response(body: Body) -> Response {
    http::Response::new(GovernedBody::new(body))
}

pub(crate) async fn ok(_: Request) -> Result<Response, HttpError> {
    Ok(response(Body::full("ok")))
}

/// Answers with the head of the request as the service sees it: one line for the request, then its fields, sorted.
pub(crate) async fn mirror(request: Request) -> Result<Response, HttpError> {
    let mut lines: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.insert(0, format!("{} {} {:?}", request.method(), request.uri(), request.version()));
    Ok(response(Body::full(lines.join("\n") + "\n.\n")))
}

/// Outcome, side, code, bytes.
pub(crate) type HowEnded = (Outcome, Side, Code, u64);

/// Connections without sockets.
struct Pipes(mpsc::UnboundedSender<DuplexStream>);

impl Connect for Pipes {
    fn connect<'a>(&'a self, _: &'a Address, _: Duration) -> Connecting<'a> {
        let (ours, theirs) = tokio::io::duplex(32 * 1024);
        let kept = self.0.send(theirs);
        let transport = kept.map(|()| Transport::new(ours));
        Box::pin(async { transport.map_err(|_| UpstreamError::new(UpstreamErrorKind::Connect, "nobody listens")) })
    }
}

/// An HTTP/1.1 upstream in memory, and the other ends of its connections. With paused time a timeout that passes means
/// that nothing moves any more.
pub(crate) fn in_memory() -> (Upstream, mpsc::UnboundedReceiver<DuplexStream>) {
    let (pipes, ends) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new(Target::new("127.0.0.1:1".parse::<Address>().unwrap()));
    let connector = Arc::new(Pipes(pipes));
    let options = UpstreamOptions { protocol: UpstreamProtocol::Http1, connector, ..UpstreamOptions::default() };
    (Upstream::new(&endpoint, options), ends)
}

/// A ticket for each request, and how it ended.
#[derive(Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<Vec<HowEnded>>>);

impl Ends {
    pub(crate) fn watch<S>(
        &self,
        service: S,
    ) -> impl Service<Request, Response = Response, Error = HttpError, Future: Send> + Send + use<S>
    where
        S: Service<Request, Response = Response, Error = HttpError> + Send,
        S::Future: Send,
    {
        GateLayer::new(self.clone()).layer(service)
    }

    pub(crate) fn take(&self) -> Vec<HowEnded> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Opens a ticket on a response at hand.
    pub(crate) fn open(&self, mut response: Response) -> Response {
        Open::new(Arc::new(self.clone()), Ticket::default(), Context::none()).respond(&mut response);
        response
    }

    /// As [`Ends::next`], where sockets are in between.
    pub(crate) async fn next_in_time(&self) -> HowEnded {
        for _ in 0..10_000 {
            if let Some(end) = self.0.lock().unwrap().pop() {
                return end;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no ticket has ended");
    }

    /// Lets the tasks run until a ticket has ended.
    pub(crate) async fn next(&self) -> HowEnded {
        for _ in 0..1000 {
            if let Some(end) = self.0.lock().unwrap().pop() {
                return end;
            }
            tokio::task::yield_now().await;
        }
        panic!("no ticket has ended");
    }
}

impl Watch for Ends {
    fn hears(&self) -> Hears {
        Hears::HeadAndEnd
    }

    fn on_response(&self, _: &mut Ticket, _: &mut dyn Head) {}

    fn on_end(&self, _: Ticket, end: &End<'_>) {
        self.0.lock().unwrap().push((end.outcome, end.side, end.code, end.response_bytes));
    }
}

impl Gate<Request> for Ends {
    fn admit(&self, _: &mut Request, _: &At) -> Result<Option<Ticket>, Rejection> {
        Ok(Some(Ticket::default()))
    }
}
