//! The layer in an axum `Router` and in a tonic channel.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http::HeaderMap;
use mesh_core::http::governed;
use mesh_timeout::TimeoutLayer;
use std::time::Duration;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test(start_paused = true)]
async fn an_axum_router_answers_for_a_slow_handler() {
    let app = Router::new()
        .route("/quick", get(async || "quick"))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(9)).await))
        .layer(governed(TimeoutLayer::new(Duration::from_secs(2))));
    let ask = |path: &'static str, headers: HeaderMap| {
        let mut request = http::Request::get(path).body(Body::empty()).unwrap();
        *request.headers_mut() = headers;
        let app = app.clone();
        async move { app.oneshot(request).await.unwrap() }
    };
    assert_eq!(ask("/quick", HeaderMap::new()).await.status(), 200);
    let start = tokio::time::Instant::now();
    let late = ask("/slow", HeaderMap::new()).await;
    assert_eq!((late.status().as_u16(), &late.headers()["x-mesh-rejected-by"]), (504, &"timeout".parse().unwrap()));
    assert_eq!(start.elapsed().as_secs(), 2);

    // a gRPC deadline, earlier than the layer's own limit
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("grpc-timeout", "500m".parse().unwrap());
    let start = tokio::time::Instant::now();
    let late = ask("/slow", headers).await;
    assert_eq!((late.status().as_u16(), &late.headers()["grpc-status"]), (200, &"4".parse().unwrap()));
    assert_eq!(start.elapsed().as_millis() / 100, 5);
}

#[tokio::test]
async fn a_tonic_channel_keeps_a_deadline() {
    use tonic::{Code, Request, client::Grpc, transport::Endpoint};

    // a server that never answers
    let server = Router::new().fallback(async || std::future::pending::<()>().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });

    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let service = ServiceBuilder::new().layer(governed(TimeoutLayer::new(Duration::from_millis(30)))).service(channel);
    let mut client = Grpc::new(service);
    let path = http::uri::PathAndQuery::from_static("/shop.Orders/Find");
    client.ready().await.unwrap();
    let late = client.unary::<_, Vec<u8>, _>(Request::new(Vec::new()), path, raw::Raw).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "timeout"));
    assert_eq!(late.metadata().get("x-mesh-rejected-by").unwrap(), "timeout");
    serving.abort();
}

/// A codec of plain bytes.
mod raw {
    use bytes::{Buf, BufMut};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    #[derive(Clone, Copy, Default)]
    pub(crate) struct Raw;

    impl Codec for Raw {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Raw;
        type Decoder = Raw;

        fn encoder(&mut self) -> Raw {
            Raw
        }

        fn decoder(&mut self) -> Raw {
            Raw
        }
    }

    impl Encoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
        }
    }
}
