//! `governed` in an axum router, in memory and behind hyper.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt;
use mesh_core::{
    GateLayer, Kind, Outcome, Pipeline, Protocol, Refusable, Rejection, gate_fn,
    http::{CallBody, GovernedBody, governed},
};
use mesh_test::Spy;
use std::convert::Infallible;
use support::AtOnce;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

/// axum's messages.
struct Axum;

impl Protocol for Axum {
    const NAME: &'static str = "http";
    type Request = http::Request<CallBody<Body>>;
    type Response = http::Response<GovernedBody<Body>>;
    type Error = Refusable<Infallible>;
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route(
            "/stream",
            get(async || Body::from_stream(tokio_stream::iter((0..3).map(|n| Ok::<_, Infallible>(n.to_string()))))),
        )
        .route("/empty", get(async || http::StatusCode::NO_CONTENT))
        .route("/same", get(async || http::StatusCode::NOT_MODIFIED))
        .route("/fail", get(async || http::StatusCode::INTERNAL_SERVER_ERROR))
}

fn ask(path: &str) -> http::Request<Body> {
    http::Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn layers_are_applied_to_each_route_and_share_their_state() {
    let (limit, spy) = (GateLayer::new(AtOnce::new(1)).named("at_once"), GateLayer::new(Spy::default()));
    let robots = gate_fn(|request: &mut http::Request<CallBody<Body>>| match request.headers().get("user-agent") {
        Some(agent) if agent.as_bytes().starts_with(b"robot") => Err(Rejection::new(Kind::Forbidden)),
        _ => Ok(()),
    });
    let app = routes().layer(governed((spy.clone(), GateLayer::new(robots).named("no_robots"), limit.clone())));
    let streaming = app.clone().oneshot(ask("/stream")).await.unwrap();
    assert_eq!(limit.gate().now(), 1, "held by the body, through axum's own boxing of it");
    let refused = app.clone().oneshot(ask("/")).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["x-mesh-rejected-by"]),
        (503, &"at_once".parse().unwrap())
    );
    assert_eq!(streaming.into_body().collect().await.unwrap().to_bytes(), "012");
    assert_eq!(limit.gate().now(), 0);
    let mut robot = ask("/");
    robot.headers_mut().insert("user-agent", "robot/1".parse().unwrap());
    let refused = app.clone().oneshot(robot).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["x-mesh-rejected-by"]),
        (403, &"no_robots".parse().unwrap())
    );
    // a body of known size that nobody reads
    drop(app.oneshot(ask("/")).await.unwrap());
    assert_eq!(spy.gate().outcomes(), [Outcome::Rejected, Outcome::Success, Outcome::Rejected, Outcome::Cancelled]);
}

#[tokio::test]
async fn head_in_memory() {
    let spy = GateLayer::new(Spy::default());
    let app = routes().layer(governed(spy.clone()));
    let request = http::Request::head("/").body(Body::empty()).unwrap();
    drop(app.oneshot(request).await.unwrap());
    assert_eq!(spy.gate().outcomes(), [Outcome::Success]);
}

#[tokio::test]
async fn a_pipeline_in_a_router() {
    let spy = std::sync::Arc::new(Spy::default());
    let pipeline = Pipeline::<Axum>::builder()
        .made("spy", mesh_core::pipeline::Made::Gate(spy.clone()))
        .gate("at_once", AtOnce::new(1))
        .build();
    let app = routes().layer(governed(pipeline));
    let held = app.clone().oneshot(ask("/")).await.unwrap();
    assert_eq!(app.clone().oneshot(ask("/stream")).await.unwrap().status(), 503);
    drop(held);
    assert_eq!(app.oneshot(ask("/stream")).await.unwrap().status(), 200);
    assert_eq!(spy.opened(), 3);
}

#[tokio::test]
async fn behind_hyper_every_answer_ends_as_it_should() {
    let spy = GateLayer::new(Spy::default());
    let app = routes().layer(governed(spy.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let requests = [
        ("GET", "/", Outcome::Success),
        ("HEAD", "/", Outcome::Success),
        ("GET", "/stream", Outcome::Success),
        ("HEAD", "/stream", Outcome::Success),
        ("GET", "/empty", Outcome::Success),
        ("GET", "/same", Outcome::Success),
        ("GET", "/fail", Outcome::Failure),
        ("HEAD", "/fail", Outcome::Failure),
        ("GET", "/nowhere", Outcome::Success),
    ];
    for (index, (method, path, outcome)) in requests.into_iter().enumerate() {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        // the answer's last byte may be read before the server's task has let go of it
        while spy.gate().ends().len() <= index || spy.gate().open() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(spy.gate().outcomes()[index], outcome, "{method} {path}");
    }
    spy.gate().assert_each_ended_once("behind hyper");
}
