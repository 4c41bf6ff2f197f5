//! The layers in an axum `Router`, in a tonic server and in a tonic channel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt as _;
use mesh_concurrency_limit::ConcurrencyLimitLayer;
use mesh_core::http::governed;
use mesh_test::grpc;
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tonic::{
    Code, Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn limit(max: u32) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(NonZeroU32::new(max).unwrap())
}

async fn ask(app: &Router, path: &'static str) -> axum::response::Response {
    app.clone().oneshot(http::Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_axum_router_is_limited_as_a_whole() {
    let limit = limit(1);
    let slow = get(async || tokio::time::sleep(Duration::from_secs(1)).await);
    let app = Router::new().route("/a", slow.clone()).route("/b", slow).route_layer(governed(limit.clone()));
    let first = tokio::spawn({
        let app = app.clone();
        async move { ask(&app, "/a").await.status() }
    });
    tokio::task::yield_now().await;
    let refused = ask(&app, "/b").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["x-mesh-rejected-by"], "concurrency_limit");
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(ask(&app, "/b").await.status(), 200);
    assert_eq!(limit.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_counts_to_its_end_where_that_is_said() {
    let limit = limit(1);
    let app = Router::new().route("/", get(async || "some text"));
    let to_the_head = app.clone().layer(governed(limit.clone()));
    let to_the_end = app.layer(governed(limit.until_end()));
    let (one, two) = (ask(&to_the_head, "/").await, ask(&to_the_head, "/").await);
    assert_eq!((one.status(), two.status()), (http::StatusCode::OK, http::StatusCode::OK));
    let open = ask(&to_the_end, "/").await;
    assert_eq!(ask(&to_the_end, "/").await.status(), 503);
    assert_eq!(open.into_body().collect().await.unwrap().to_bytes(), "some text");
    let dropped = ask(&to_the_end, "/").await;
    assert_eq!(dropped.status(), 200);
    drop(dropped);
    assert_eq!(ask(&to_the_end, "/").await.status(), 200);
}

/// A tonic server on a port of its own, over these layers.
macro_rules! serve {
    ($layers:expr, $answer:expr) => {{
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder().layer(governed($layers)).add_service(grpc::service($answer));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Endpoint::try_from(format!("http://{address}")).unwrap()
    }};
}

/// One message, and the end when `release` says so.
fn held(release: &Arc<Notify>) -> impl Fn(Vec<u8>) -> grpc::Answer + Clone + use<> {
    let release = release.clone();
    move |message| {
        let release = release.clone();
        let held = futures_util::stream::once(async move {
            release.notified().await;
            Ok(Vec::new())
        });
        Box::pin(futures_util::StreamExt::chain(futures_util::stream::iter([Ok(message)]), held))
    }
}

#[tokio::test]
async fn a_tonic_server_counts_a_stream_to_its_trailers() {
    let release = Arc::new(Notify::new());
    let limit = limit(1).until_end();
    let channel = serve!(limit.clone(), held(&release)).connect_lazy();
    let mut stream = grpc::streaming(channel.clone(), Request::new(vec![7])).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(vec![7]));
    let refused = grpc::streaming(channel.clone(), Request::new(vec![7])).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "saturated"));
    release.notify_one();
    assert_eq!(stream.message().await.unwrap(), Some(Vec::new()));
    assert_eq!(stream.message().await.unwrap(), None);
    assert_eq!(limit.handle().in_flight(), 0);
    release.notify_one();
    grpc::streaming(channel, Request::new(vec![7])).await.unwrap();
}

#[tokio::test]
async fn in_a_tonic_server_calls_wait_for_their_turn() {
    let release = Arc::new(Notify::new());
    let limit = limit(1).until_end().wait(Duration::from_secs(600));
    let channel = serve!(limit.clone(), held(&release)).connect_lazy();
    let mut first = grpc::streaming(channel.clone(), Request::new(vec![1])).await.unwrap();
    assert_eq!(first.message().await.unwrap(), Some(vec![1]));
    let second = tokio::spawn(grpc::streaming(channel, Request::new(vec![2])));
    while limit.handle().waiting() == 0 {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    while first.message().await.unwrap().is_some() {}
    assert_eq!(second.await.unwrap().unwrap().message().await.unwrap(), Some(vec![2]));
}

#[tokio::test]
async fn in_a_tonic_channel_calls_wait_up_to_their_deadline() {
    let release = Arc::new(Notify::new());
    let channel = serve!(limit(1000), held(&release)).connect_lazy();
    let limit = limit(1).until_end().wait(Duration::from_secs(600));
    let service = ServiceBuilder::new().layer(governed(limit.clone())).service(channel);
    let first = grpc::streaming(service.clone(), Request::new(vec![1])).await.unwrap();
    let mut late = Request::new(vec![2]);
    late.set_timeout(Duration::from_millis(20));
    let late: Status = grpc::streaming(service.clone(), late).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "timeout"));
    drop(first);
    grpc::streaming(service, Request::new(vec![3])).await.unwrap();
}

#[tokio::test]
async fn a_tonic_channel_gets_a_status() {
    let release = Arc::new(Notify::new());
    let unlimited = limit(1000);
    let channel = serve!(unlimited, held(&release)).connect_lazy();
    let service = ServiceBuilder::new().layer(governed(limit(1).until_end())).service(channel);
    let mut stream = grpc::streaming(service.clone(), Request::new(vec![7])).await.unwrap();
    assert_eq!(stream.message().await.unwrap(), Some(vec![7]));
    let refused = grpc::unary(service.clone(), Request::new(vec![7])).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "saturated"));
    assert_eq!(refused.metadata().get("x-mesh-rejected-by").unwrap(), "concurrency_limit");
    drop(stream);
    grpc::streaming(service, Request::new(vec![7])).await.unwrap();
}

/// The compiler sees that its futures are `Send`, over another layer and with tower's error, too.
#[tokio::test]
async fn awaited_in_a_task() {
    let gate = mesh_core::GateLayer::new(mesh_core::gate_fn(|_: &mut u32| Ok(()))).results_only();
    let inner = gate.layer(service_fn(async |n: u32| Ok::<_, mesh_core::BoxError>(n + 1)));
    let mut service = ConcurrencyLimitLayer::new(NonZeroU32::MIN).wait(Duration::from_secs(1)).layer(inner);
    let task = tokio::spawn(async move { service.ready().await?.call(1).await });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
