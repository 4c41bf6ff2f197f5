//! What is too much, and what it is answered with.

use crate::harness::{Connected, connect_fn, connect_through, get, ok, options, response};
use http_body_util::{BodyExt, StreamBody};
use mesh_codec_http::{
    Body, HttpError, Request, Response, UpstreamError, UpstreamErrorKind,
    server::{Options, Protocol},
};
use tower::service_fn;

/// As an upstream does it: a request whose body fails has failed.
async fn count(request: Request) -> Result<Response, HttpError> {
    match request.into_body().collect().await {
        Ok(body) => Ok(response(Body::full(format!("{} bytes", body.to_bytes().len())))),
        Err(error) => Err(UpstreamError::new(UpstreamErrorKind::RequestBody, error).into()),
    }
}

fn counting() -> Connected {
    connect_fn(Options { body: Some(10), ..options(Protocol::Http) }, count)
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_with_413() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let answer = counting().talk(&format!("{head}content-length: 10\r\n\r\n0123456789")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("10 bytes"), "{answer}");
    let answer = counting().talk(&format!("{head}content-length: 11\r\nexpect: 100-continue\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "unsent: {answer}");
    let chunks = |chunks: &str| format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let answer = counting().talk(&chunks("5\r\n01234\r\n5\r\n01234\r\n")).await;
    assert!(answer.ends_with("10 bytes"), "{answer}");
    let answer = counting().talk(&chunks("5\r\n01234\r\n6\r\n012345\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_stream_that_is_too_large_is_answered_with_413() {
    let mut client = counting().http2().await;
    let post = || http::Request::post("http://shop.local/");
    assert_eq!(client.send(post(), "0123456789").await.status(), 200);
    assert_eq!(client.send(post(), "0123456789a").await.status(), 413);
    let frames = tokio_stream::iter(["012345", "67890"].map(|data| Ok(http_body::Frame::data(data.into()))));
    assert_eq!(client.try_send(post(), StreamBody::new(frames).boxed()).await.unwrap().status(), 413);
    assert_eq!(client.send(get("/"), "").await.status(), 200, "the connection goes on");
}

/// The first line of the answer to these pieces of a head, each sent when the one before was read.
async fn answer_to(pieces: &[&str]) -> String {
    let options = Options { header_bytes: 8 * 1024, ..options(Protocol::Http1) };
    let mut connected = connect_through(options, 1024, service_fn(ok));
    for piece in pieces {
        connected.send(piece).await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    connected.talk("").await.lines().next().unwrap_or("").into()
}

#[tokio::test(start_paused = true)]
async fn a_first_line_that_is_too_long_is_another_matter_than_a_head() {
    let long = "a".repeat(1024);
    let piece = long.as_str();
    let too_long = [&["GET /"][..], &[piece; 8]].concat();
    assert!(answer_to(&too_long).await.starts_with("HTTP/1.1 414 URI Too Long"));
    let too_large = [&["GET / HTTP/1.1\r\nx: "][..], &[piece; 8]].concat();
    assert_eq!(answer_to(&too_large).await, "HTTP/1.1 431 Request Header Fields Too Large");
    let in_two = [&["GET /", " HTTP/1.1\r", "\nx: "][..], &[piece; 8]].concat();
    assert_eq!(answer_to(&in_two).await, "HTTP/1.1 431 Request Header Fields Too Large");
    // a head before it makes no difference
    let second = [&["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET /"][..], &[piece; 8]].concat();
    let options = Options { header_bytes: 8 * 1024, ..options(Protocol::Http1) };
    let answer = connect_fn(options, ok).talk(&second.concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 414"), "{answer}");
}
