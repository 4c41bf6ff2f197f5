//! The layer in an axum `Router`, in a tonic server and channel, and in plain tower.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::{Router, body::Body, routing::get};
use mesh_access_log::{AccessLogLayer, Format};
use mesh_core::{
    BoxError, Context, Rejection,
    http::{CallBody, governed},
    refusal,
};
use mesh_test::grpc;
use support::Memory;
use tonic::{
    Request, Status,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

fn log(text: &str) -> (AccessLogLayer, Memory) {
    let memory = Memory::default();
    (AccessLogLayer::to(memory.sink()).format(Format::text(text).unwrap()), memory)
}

fn lines(layer: &AccessLogLayer, memory: &Memory) -> Vec<String> {
    memory.lines(layer.handle().sink())
}

#[tokio::test]
async fn an_axum_router() {
    let (log, memory) = log("%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT%");
    let app =
        Router::new().route("/", get(async || "hello").post(async |body: String| body)).layer(governed(log.clone()));
    for (method, path, body) in [("GET", "/", ""), ("POST", "/", "echo"), ("GET", "/nowhere?x", "")] {
        let request = http::Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    }
    assert_eq!(lines(&log, &memory), ["GET / 200 5", "POST / 200 4", "GET /nowhere?x 404 0"]);
}

#[tokio::test]
async fn a_tonic_channel_and_a_tonic_server() {
    let format = "%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%";
    let ((server_log, server_memory), (client_log, client_memory)) = (log(format), log(format));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo =
        grpc::service(
            |message: Vec<u8>| {
                if message.is_empty() { vec![Err(Status::unavailable("nothing"))] } else { vec![Ok(message)] }
            },
        );
    let server = Server::builder().layer(governed(server_log.clone())).add_service(echo);
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let client = ServiceBuilder::new().layer(governed(client_log.clone())).service(channel);

    assert_eq!(grpc::unary(client.clone(), Request::new(vec![7])).await.unwrap(), [7]);
    assert!(grpc::unary(client, Request::new(Vec::new())).await.is_err());
    // the server's end may be told a moment after the client has its answer
    while server_log.handle().open() > 0 || client_log.handle().open() > 0 {
        tokio::task::yield_now().await;
    }
    for (log, memory) in [(server_log, server_memory), (client_log, client_memory)] {
        let lines = lines(&log, &memory);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("/mesh.test.Raw/") && lines[0].ends_with(" 200 OK 1"), "{lines:?}");
        assert!(lines[1].ends_with(" 200 Unavailable 1"), "{lines:?}");
    }
    serving.abort();
}

fn request() -> http::Request<CallBody<()>> {
    http::Request::get("/plain").body(CallBody::new(Context::none(), ())).unwrap()
}

#[tokio::test]
async fn plain_tower_with_boxed_errors() {
    let (log, memory) = log("%REQ(:PATH)% %OUTCOME%");
    let service = ServiceBuilder::new()
        .layer(log.results_only())
        .service(service_fn(async |_: http::Request<CallBody<()>>| Ok::<&str, BoxError>("fine")));
    assert_eq!(service.oneshot(request()).await.unwrap(), "fine");
    assert_eq!(lines(&log, &memory), ["/plain success"]);
}

#[derive(Debug)]
enum Error {
    Refused(Rejection),
    Broken,
}
refusal!(Error, Refused);

#[tokio::test]
async fn plain_tower_with_a_typed_error() {
    let (log, memory) = log("%REQ(:PATH)% %OUTCOME%");
    let service = ServiceBuilder::new()
        .layer(log.results_only())
        .service(service_fn(async |_: http::Request<CallBody<()>>| Err::<(), _>(Error::Broken)));
    let error = service.oneshot(request()).await.unwrap_err();
    assert!(matches!(error, Error::Broken), "{error:?}");
    assert_eq!(lines(&log, &memory), ["/plain failure"]);
}
