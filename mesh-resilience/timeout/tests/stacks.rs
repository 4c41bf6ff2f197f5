//! The layer in an axum `Router`, in a tonic server and in a tonic channel.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http::HeaderMap;
use mesh_core::http::governed;
use mesh_test::grpc;
use mesh_timeout::TimeoutLayer;
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

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

/// The service behind `layer` in a tonic server, on a port of its own.
async fn serve<F, A>(timeout: TimeoutLayer, answer: F) -> Endpoint
where
    F: Fn(Vec<u8>) -> A + Clone + Send + Sync + 'static,
    A: grpc::IntoAnswer + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().layer(governed(timeout)).add_service(grpc::service(answer));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Endpoint::try_from(format!("http://{address}")).unwrap()
}

/// Two messages, then nothing.
fn stops(message: Vec<u8>) -> grpc::Answer {
    Box::pin(tokio_stream::iter([Ok(message.clone()), Ok(message)]).chain(tokio_stream::pending()))
}

/// Messages until the stream ends, and how it does.
async fn read(mut stream: tonic::Streaming<Vec<u8>>) -> (usize, Result<(), Status>) {
    let mut messages = 0;
    loop {
        match stream.message().await {
            Ok(Some(_)) => messages += 1,
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

#[tokio::test]
async fn a_tonic_server_cuts_a_stream_that_is_idle_with_trailers() {
    let idle = TimeoutLayer::deadline_only().idle(Duration::from_millis(30));
    let channel = serve(idle, stops).await.connect_lazy();
    let (messages, end) = read(grpc::streaming(channel, Request::new(vec![1])).await.unwrap()).await;
    let status = end.unwrap_err();
    assert_eq!((messages, status.code(), status.message()), (2, Code::DeadlineExceeded, "timeout"));
}

#[tokio::test]
async fn a_tonic_server_cuts_a_stream_at_its_deadline_with_trailers() {
    let channel = serve(TimeoutLayer::deadline_only(), stops).await.connect_lazy();
    let mut request = Request::new(vec![1]);
    // the header alone: the client's own clock would be faster than the trailers
    request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let (messages, end) = read(grpc::streaming(channel, request).await.unwrap()).await;
    let status = end.unwrap_err();
    assert_eq!((messages, status.code(), status.message()), (2, Code::DeadlineExceeded, "timeout"));
}

#[tokio::test]
async fn a_tonic_server_lets_a_stream_go_on_after_the_total() {
    let total = TimeoutLayer::new(Duration::from_secs(600)).total(Duration::from_millis(1));
    let ticks = |message: Vec<u8>| -> grpc::Answer {
        let ticks = tokio_stream::iter((0..20).map(move |_| Ok(message.clone())));
        Box::pin(ticks.throttle(Duration::from_millis(1)))
    };
    // its head is there at once, before the total
    let channel = serve(total, ticks).await.connect_lazy();
    let (messages, end) = read(grpc::streaming(channel, Request::new(vec![1])).await.unwrap()).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(messages, 20);
}

#[tokio::test]
async fn a_tonic_channel_cuts_a_stream_that_is_idle() {
    let channel = serve(TimeoutLayer::deadline_only(), stops).await.connect_lazy();
    let idle = TimeoutLayer::deadline_only().idle(Duration::from_millis(30));
    let service = ServiceBuilder::new().layer(governed(idle)).service(channel);
    let (messages, end) = read(grpc::streaming(service, Request::new(vec![1])).await.unwrap()).await;
    let status = end.unwrap_err();
    assert_eq!((messages, status.code(), status.message()), (2, Code::DeadlineExceeded, "timeout"));
}

#[tokio::test]
async fn a_tonic_channel_keeps_a_deadline() {
    // a server that never answers
    let server = Router::new().fallback(async || std::future::pending::<()>().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });

    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let service = ServiceBuilder::new().layer(governed(TimeoutLayer::new(Duration::from_millis(30)))).service(channel);
    let late = grpc::unary(service, Request::new(Vec::new())).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "timeout"));
    assert_eq!(late.metadata().get("x-mesh-rejected-by").unwrap(), "timeout");
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_breaks_off_a_body_that_takes_too_long() {
    use http_body_util::BodyExt as _;
    let endless = async || {
        let stream = tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, Status>(bytes::Bytes::from_static(b"tick"))));
        Body::from_stream(stream.throttle(Duration::from_secs(1)))
    };
    let timeout = TimeoutLayer::new(Duration::from_secs(2)).total(Duration::from_millis(4500));
    let app = Router::new().route("/", get(endless)).layer(governed(timeout));
    let mut body = app.oneshot(http::Request::get("/").body(Body::empty()).unwrap()).await.unwrap().into_body();
    let mut frames = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => frames += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(frames, 5);
    assert!(error.to_string().contains("timeout"), "{error}");
}

/// The compiler sees that its futures are `Send`, over another layer and with tower's error, too.
#[tokio::test]
async fn awaited_in_a_task() {
    let gate = mesh_core::GateLayer::new(mesh_core::gate_fn(|_: &mut u32| Ok(()))).results_only();
    let inner = gate.layer(service_fn(async |n: u32| Ok::<_, mesh_core::BoxError>(n + 1)));
    let mut service = TimeoutLayer::new(Duration::from_secs(1)).results_only().layer(inner);
    let task = tokio::spawn(async move { service.ready().await?.call(1).await });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
