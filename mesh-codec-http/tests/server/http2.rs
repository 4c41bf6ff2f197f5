use crate::harness::{connect_fn, full, get, grpc, mirror, ok, options, response};
use http_body_util::BodyExt;
use mesh_codec_http::{
    Body, HttpError, Request, UpstreamError, UpstreamErrorKind,
    server::{Options, Protocol},
};
use mesh_core::{Answer, Kind, Rejection, http::GovernedBody};
use std::{error::Error, time::Duration};

#[tokio::test]
async fn the_preface_decides() {
    let mut client = connect_fn(options(Protocol::Http), mirror).http2().await;
    let answer = client.send(get("/x?y=1"), "").await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"GET http://shop.local/x?y=1 HTTP/2.0\n"), "{body:?}");
}

#[tokio::test]
async fn one_protocol_only() {
    let http1 = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut refused = connect_fn(options(Protocol::Http2), ok);
    refused.send(http1).await;
    assert!(refused.server.await.unwrap().is_err());
    let answer = connect_fn(options(Protocol::Http1), ok).talk("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connection_fields_do_not_reach_http_2() {
    let answering = |_| async {
        let mut response = response(Body::full("ok"));
        response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
        Ok::<_, HttpError>(response)
    };
    let mut client = connect_fn(options(Protocol::Http2), answering).http2().await;
    let answer = client.send(get("/"), "").await;
    assert!(!answer.headers().contains_key("keep-alive"));
}

#[tokio::test]
async fn grpc_answers() {
    let failing = |request: Request| async move {
        Err::<mesh_codec_http::Response, _>(match request.uri().path() {
            "/s.S/limited" => Rejection::new(Kind::RateLimited).into(),
            _ => HttpError::from(UpstreamError::new(UpstreamErrorKind::Connect, "refused")),
        })
    };
    let mut client = connect_fn(options(Protocol::Http), failing).http2().await;
    for (path, status) in [("/s.S/limited", "8"), ("/s.S/connect", "14")] {
        let answer = client.send(grpc(path), "").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["grpc-status"]),
            (200, &status.parse().unwrap()),
            "{path}"
        );
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    // a grpc listener answers so whatever it was asked
    let mut client = connect_fn(options(Protocol::Grpc), failing).http2().await;
    let answer = client.send(get("/s.S/limited"), "").await;
    assert_eq!(answer.headers()["grpc-status"], "8");
    // any other one by the request
    let mut client = connect_fn(options(Protocol::Http2), failing).http2().await;
    assert_eq!(client.send(get("/s.S/limited"), "").await.status(), 429);
}

#[tokio::test]
async fn an_injected_reset_resets_the_stream_alone() {
    let faulty = |request: Request| async move {
        if request.uri().path() == "/bad" { Err(Rejection::fault(Answer::Reset).into()) } else { ok(request).await }
    };
    let mut client = connect_fn(options(Protocol::Http), faulty).http2().await;
    let error = client.try_send(get("/bad"), full("")).await.unwrap_err();
    let reset: &h2::Error = error.source().unwrap().downcast_ref().unwrap();
    assert!(reset.is_reset() && reset.is_remote(), "{reset}");
    assert_eq!(client.send(get("/good"), "").await.status(), 200);
}

#[tokio::test]
async fn head_has_no_body_and_says_how_long_it_would_be() {
    let own = |_| async { Ok::<_, HttpError>(http::Response::new(GovernedBody::own("12345"))) };
    let mut client = connect_fn(options(Protocol::Http), own).http2().await;
    let answer = client.send(http::Request::head("http://a/"), "").await;
    assert_eq!(answer.headers()["content-length"], "5");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn limits() {
    let options = Options { headers: 3, ..options(Protocol::Http) };
    let mut client = connect_fn(options.clone(), ok).http2().await;
    let many = (0..4).fold(get("/"), |request, index| request.header(format!("x-{index}"), "y"));
    assert_eq!(client.send(many, "").await.status(), 431);
    let large = get("/").header("x", "a".repeat(70_000));
    assert_eq!(client.send(large, "").await.status(), 431);
    // no more streams than allowed at once: the third waits for one of two
    let slow = |_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, HttpError>(response(Body::full("ok")))
    };
    tokio::time::pause();
    let mut client = connect_fn(Options { streams: 2, ..options }, slow).http2().await;
    let warm_up = client.send(get("/"), "").await;
    assert_eq!(warm_up.status(), 200);
    let start = tokio::time::Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut sender = client.sender.clone();
        calls.spawn(async move { sender.send_request(get("/").body(full("")).unwrap()).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}
