//! A provider whose answers the test decides, over streams in memory.

use mesh_codec_dubbo::{
    UpstreamError, UpstreamErrorKind,
    client::{Client, Connect, Connecting, Options, Transport},
    frame::{Codec, Frame, Incoming},
};
use mesh_core::{Address, Endpoint, Target};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
};
use tokio_util::codec::Decoder;

/// Gives a stream for each connection, until there are no more.
pub struct Streams(tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl Connect for Streams {
    fn connect<'a>(&'a self, _: &'a Address, _: Duration) -> Connecting<'a> {
        Box::pin(async {
            match self.0.lock().await.recv().await {
                Some(stream) => Ok(Transport::new(stream)),
                None => Err(UpstreamError::new(UpstreamErrorKind::Connect, "no more streams")),
            }
        })
    }
}

/// A client, its endpoint, and where its connections come out.
pub fn client(options: Options) -> (Client, Arc<Endpoint>, mpsc::UnboundedSender<DuplexStream>) {
    let (give, streams) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new(Target::new("127.0.0.1:20880".parse::<Address>().unwrap()));
    let connector = Arc::new(Streams(tokio::sync::Mutex::new(streams)));
    (Client::new(&endpoint, Options { connector, ..options }), endpoint, give)
}

/// The other end of a connection: frames by hand.
pub struct Peer {
    pub stream: DuplexStream,
    codec: Codec,
    buffer: bytes::BytesMut,
}

impl Peer {
    pub fn new(stream: DuplexStream) -> Self {
        Self { stream, codec: Codec::default(), buffer: bytes::BytesMut::new() }
    }

    /// The next frame; nothing at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.codec.decode(&mut self.buffer).unwrap() {
                Some(Incoming::Frame(frame)) => return Some(frame),
                Some(Incoming::TooLong { .. }) => panic!("too long"),
                None => {}
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn send(&mut self, frame: &Frame) {
        let mut out = bytes::BytesMut::new();
        frame.write(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

/// The two ends of a connection.
pub fn pair() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(64 * 1024)
}

/// Providers in memory, by address: each connection to one is served by its own `serve`.
pub struct Providers<F>(pub F);

impl<F: Fn(&Address, DuplexStream) + Send + Sync> Connect for Providers<F> {
    fn connect<'a>(&'a self, address: &'a Address, _: Duration) -> Connecting<'a> {
        let (ours, theirs) = pair();
        (self.0)(address, theirs);
        Box::pin(std::future::ready(Ok(Transport::new(ours))))
    }
}

/// How many endpoints, on ports from 1.
pub fn targets(count: u16) -> impl Iterator<Item = Target> {
    (1..=count).map(|port| Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], port))))
}
