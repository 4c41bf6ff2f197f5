use crate::harness::{full, get, mirror, options};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_codec_http::{
    Request,
    server::{Ended, Protocol, Server},
};
use mesh_core::{Answer, Rejection};
use mesh_net::{Acceptor, Drain, ListenOptions};
use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::service_fn;

/// Serves a listener as an engine does. `/reset` is reset, anything else is mirrored.
fn listen(drain: &Drain) -> SocketAddr {
    let listeners = ListenOptions::default().bind("127.0.0.1:0".parse().unwrap(), NonZeroUsize::MIN).unwrap();
    let address = listeners.local_addr();
    let listener = listeners.into_iter().next().unwrap();
    let mut acceptor = Acceptor::new(listener, &drain.watch()).unwrap();
    tokio::spawn(async move {
        let server = Server::new(options(Protocol::Http));
        while let Some(accepted) = acceptor.accept().await.unwrap() {
            let service = service_fn(|request: Request| async {
                match request.uri().path() {
                    "/reset" => Err(Rejection::fault(Answer::Reset).into()),
                    _ => mirror(request).await,
                }
            });
            let serving = server.serve(accepted.stream, Arc::new(accepted.peer), service, (*accepted.guard).clone());
            tokio::spawn(async move {
                let _until_the_end = accepted.guard;
                if let Ok(Ended::Reset(stream)) = serving.await {
                    stream.set_zero_linger().unwrap();
                }
            });
        }
    });
    address
}

/// On the runtime that a worker has.
#[test]
fn a_worker_serves_both_protocols_resets_and_drains() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let drain = Drain::new();
        let address = listen(&drain);

        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let request = http::Request::get("/x").header("host", "shop").body(full("")).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let head = answer.into_body().collect().await.unwrap().to_bytes();
            let head = String::from_utf8(head.to_vec()).unwrap();
            assert!(head.starts_with("GET /x HTTP/1.1\nhost: shop\nx-forwarded-for: 127.0.0.1\n"), "{head}");
        }

        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(get("/y").body(full("")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);

        let mut raw = TcpStream::connect(address).await.unwrap();
        raw.write_all(b"GET /reset HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let error = raw.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        drain.start(Duration::from_secs(30));
        assert_eq!(drain.finished().await, 0);
    });
}
