//! Rate limit, timeout and metrics on the client side of gRPC: in a tonic channel. The server is one that answers what
//! it was sent, and never answers `Sleep`; messages are plain bytes, so that no compiler of protocols is needed.
//!
//! `cargo run -p mesh-examples --bin tonic_channel`

use axum::Router;
use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use mesh_core::{BoxError, http::governed};
use mesh_metrics::MetricsLayer;
use mesh_rate_limit::RateLimitLayer;
use mesh_timeout::TimeoutLayer;
use std::{num::NonZeroU32, time::Duration};
use tonic::{
    Request, Response, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Endpoint,
};
use tower::{ServiceBuilder, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, server()).await });

    let limit = RateLimitLayer::new("1/h".parse()?).burst(NonZeroU32::MIN.saturating_add(1));
    let channel = ServiceBuilder::new()
        .layer(governed((MetricsLayer::new(), TimeoutLayer::new(Duration::from_millis(200)), limit.clone())))
        .service(Endpoint::try_from(format!("http://{address}"))?.connect_lazy());
    let mut client = tonic::client::Grpc::new(channel);

    for method in ["/demo.Echo/Say", "/demo.Echo/Sleep", "/demo.Echo/Say"] {
        client.ready().await?;
        let call = client.unary(Request::new(b"hello".to_vec()), PathAndQuery::from_static(method), Plain);
        match call.await {
            Ok(answer) => println!("{method}: {}", String::from_utf8_lossy(answer.get_ref())),
            Err(status) => println!("{method}: {:?}, {}", status.code(), status.message()),
        }
    }
    // the handle reads and retunes the limit that the channel uses
    limit.handle().set_quota(None);
    client.ready().await?;
    let path = PathAndQuery::from_static("/demo.Echo/Say");
    client.unary(Request::new(Vec::new()), path, Plain).await?;
    println!("/demo.Echo/Say: answered, the limit is off");
    Ok(())
}

fn server() -> Router {
    Router::new().fallback(async |request: axum::extract::Request| {
        let echo = service_fn(async |request: Request<Vec<u8>>| Ok::<_, Status>(Response::new(request.into_inner())));
        if request.uri().path().ends_with("/Sleep") {
            std::future::pending::<()>().await;
        }
        tonic::server::Grpc::new(Plain).unary(echo, request).await
    })
}

/// A codec of plain bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
