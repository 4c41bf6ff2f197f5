//! The layer in an axum `Router` and in a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use mesh_core::{http::governed, units::Rate};
use mesh_rate_limit::RateLimitLayer;
use std::num::NonZeroU32;
use tower::{ServiceBuilder, ServiceExt};

fn layer(rate: &str, burst: u32) -> RateLimitLayer {
    let rate: Rate = rate.parse().unwrap();
    RateLimitLayer::new(rate).burst(NonZeroU32::new(burst).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_is_limited_as_a_whole() {
    let limit = layer("1/2s", 3);
    let app = Router::new()
        .route("/a", get(async || "a"))
        .route("/b", get(async || "b"))
        .route_layer(governed(limit.clone()));
    let ask = |path: &'static str| {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let app = app.clone();
        async move { app.oneshot(request).await.unwrap() }
    };
    for path in ["/a", "/b", "/a"] {
        assert_eq!(ask(path).await.status(), 200);
    }
    let refused = ask("/b").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(refused.headers()["x-mesh-rejected-by"], "rate_limit");
    assert_eq!(ask("/none").await.status(), 404, "what no route matches is not counted by a route layer");

    limit.handle().set_quota(None);
    assert_eq!(ask("/b").await.status(), 200);
}

#[tokio::test]
async fn a_tonic_channel_gets_a_status() {
    use tonic::{Code, Request, client::Grpc, transport::Endpoint};

    // a server that knows no method: what comes back with its message has been there
    let server = Router::new().fallback(async || {
        [("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "the server")]
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });

    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    // one in a day, so that no schedule of this test refills it
    let service = ServiceBuilder::new().layer(governed(layer("1/d", 1))).service(channel);
    let mut client = Grpc::new(service);
    let mut call = async || {
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/shop.Orders/Find");
        client.unary::<_, Vec<u8>, _>(Request::new(Vec::new()), path, raw::Raw).await.unwrap_err()
    };
    let first = call().await;
    assert_eq!((first.code(), first.message()), (Code::NotFound, "the server"));
    let second = call().await;
    assert_eq!(second.code(), Code::ResourceExhausted);
    let pushback: u64 = second.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(pushback > 0 && pushback <= 86_400_000, "{pushback}");
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
