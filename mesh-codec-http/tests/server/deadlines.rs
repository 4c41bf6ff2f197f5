use crate::harness::{Ends, connect, connect_fn, full, grpc, options};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{Body, HttpError, Request, Response, server::Protocol};
use mesh_core::{BoxError, Outcome, Side, http::GovernedBody};
use std::time::Duration;
use tokio::time::Instant;
use tower::service_fn;

async fn never(_: Request) -> Result<Response, HttpError> {
    std::future::pending().await
}

/// A stream of messages, one a second.
async fn ticking(_: Request) -> Result<Response, HttpError> {
    let ticks = tokio_stream::StreamExt::throttle(
        tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"tick"))))),
        Duration::from_secs(1),
    );
    let mut response = http::Response::new(GovernedBody::new(Body::boxed(StreamBody::new(ticks))).grpc(true));
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    Ok(response)
}

#[tokio::test(start_paused = true)]
async fn no_head_in_time() {
    let ends = Ends::default();
    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(never))).http2().await;
    let start = Instant::now();
    let answer = client.send(grpc("/s.S/m").header("grpc-timeout", "250m"), "").await;
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(250) && elapsed < Duration::from_millis(260), "{elapsed:?}");
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"4".parse().unwrap()));
    let (outcome, side, ..) = ends.next().await;
    assert_eq!((outcome, side), (Outcome::TimedOut, Side::Upstream));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_gets_trailers() {
    let ends = Ends::default();
    let mut client = connect(options(Protocol::Http), ends.watch(service_fn(ticking))).http2().await;
    let start = Instant::now();
    let mut body = client.send(grpc("/s.S/m").header("grpc-timeout", "3500m"), "").await.into_body();
    let mut messages = 0;
    let trailers = loop {
        match body.frame().await.unwrap().unwrap().into_data() {
            Ok(_) => messages += 1,
            Err(frame) => break frame.into_trailers().unwrap(),
        }
    };
    assert_eq!((messages, &trailers["grpc-status"]), (4, &"4".parse().unwrap()));
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(3500) && elapsed < Duration::from_millis(3510), "{elapsed:?}");
    assert_eq!(ends.next().await.0, Outcome::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_nothing_is_answered_at_once() {
    let unreachable = async |_| -> Result<Response, HttpError> { panic!("it was called") };
    let mut client = connect_fn(options(Protocol::Http), unreachable).http2().await;
    let answer = client.try_send(grpc("/s.S/m").header("grpc-timeout", "0n"), full("")).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
}

#[tokio::test(start_paused = true)]
async fn the_record_carries_it_and_other_requests_have_none() {
    let telling = |request: Request| async move {
        let context = request.body().context();
        let left = context.deadline().map(|deadline| deadline.since(context.arrived().unwrap()));
        Ok::<_, HttpError>(crate::harness::response(Body::full(format!("{left:?}"))))
    };
    let mut client = connect_fn(options(Protocol::Http), telling).http2().await;
    for (request, expected) in [
        (grpc("/").header("grpc-timeout", "2S"), "Some(2s)"),
        (grpc("/"), "None"),
        (crate::harness::get("/").header("grpc-timeout", "2S"), "None"),
    ] {
        let answer = client.send(request, "").await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, expected);
    }
}
