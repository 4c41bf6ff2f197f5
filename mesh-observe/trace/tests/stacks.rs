//! The layer in an axum `Router`, in a tonic server and channel, and in plain tower.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::{Router, body::Body, routing::get};
use mesh_core::{
    BoxError, Context, Rejection,
    http::{CallBody, governed},
    refusal,
    units::Ratio,
};
use mesh_test::grpc;
use mesh_trace::{SpanKind, TraceLayer};
use support::{Recorder, SPAN_ID, TRACE, TRACE_ID, sampled};
use tonic::{
    Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

fn layer() -> TraceLayer {
    TraceLayer::new().sample(Ratio::ONE)
}

#[tokio::test]
async fn an_axum_router() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let seen = async |headers: http::HeaderMap| headers["traceparent"].to_str().unwrap().to_owned();
    let app = Router::new().route("/", get(seen)).layer(governed(layer()));
    let request =
        http::Request::get("/").header("traceparent", sampled()).header("host", "shop:81").body(Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    let span = recorder.one();
    let opening = span.opening.unwrap();
    assert_eq!(body, format!("00-{TRACE}-{:016x}-01", opening.span_id));
    assert_eq!((opening.trace_id, opening.parent_id), (TRACE_ID, Some(SPAN_ID)));
    assert_eq!((span.get("server.address"), span.get("server.port")), ("shop", "81"));
}

/// Through a channel and a server that both trace: the trace begins in the client, and the server's span is its child.
#[tokio::test]
async fn a_tonic_channel_and_a_tonic_server() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo =
        grpc::service(
            |message: Vec<u8>| {
                if message.is_empty() { vec![Err(Status::unavailable("nothing"))] } else { vec![Ok(message)] }
            },
        );
    let server = Server::builder().layer(governed(layer())).add_service(echo);
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let client = ServiceBuilder::new().layer(governed(layer().kind(SpanKind::Client))).service(channel);

    assert_eq!(grpc::unary(client.clone(), Request::new(vec![7])).await.unwrap(), [7]);
    assert!(grpc::unary(client, Request::new(Vec::new())).await.is_err());
    // the server's end may be told a moment after the client has its answer
    while recorder.seen().iter().any(|span| !span.closed) {
        tokio::task::yield_now().await;
    }
    let spans = recorder.seen();
    let kinds: Vec<&str> = spans.iter().map(|span| span.get("otel.kind")).collect();
    assert_eq!(kinds, ["client", "server", "client", "server"]);
    for pair in spans.chunks(2) {
        let (client, server) = (pair[0].opening.unwrap(), pair[1].opening.unwrap());
        assert_eq!((client.parent_id, server.parent_id), (None, Some(client.span_id)));
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(pair[0].get("rpc.service"), "mesh.test.Raw");
        assert_eq!(pair[0].get("rpc.grpc.status_code"), pair[1].get("rpc.grpc.status_code"));
    }
    assert_eq!(spans[2].get("error.type"), "UNAVAILABLE");
    serving.abort();
}

fn request() -> http::Request<CallBody<()>> {
    http::Request::get("/").header("traceparent", sampled()).body(CallBody::new(Context::none(), ())).unwrap()
}

#[tokio::test]
async fn plain_tower_with_boxed_errors() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let service = ServiceBuilder::new().layer(layer().results_only()).service(service_fn(
        async |request: http::Request<CallBody<()>>| {
            let parent = request.headers()["traceparent"].to_str()?.to_owned();
            Ok::<String, BoxError>(parent)
        },
    ));
    let seen = service.oneshot(request()).await.unwrap();
    assert_eq!(seen, format!("00-{TRACE}-{:016x}-01", recorder.one().opening.unwrap().span_id));
}

#[derive(Debug)]
enum Error {
    Refused(Rejection),
    Broken,
}
refusal!(Error, Refused);

#[tokio::test]
async fn plain_tower_with_a_typed_error() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let service = ServiceBuilder::new()
        .layer(layer().results_only())
        .service(service_fn(async |_: http::Request<CallBody<()>>| Err::<(), _>(Error::Broken)));
    let error = service.oneshot(request()).await.unwrap_err();
    assert!(matches!(error, Error::Broken), "{error:?}");
    assert_eq!(recorder.one().get("error.type"), "transport");
}
