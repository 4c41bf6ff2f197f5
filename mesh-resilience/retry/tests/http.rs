//! HTTP and gRPC: conditions, methods, bodies, pushback, and what tickets hear.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use mesh_core::{
    Cause, GateLayer, Outcome,
    http::{CallBody, governed},
    time,
    units::Size,
};
use mesh_retry::{Condition, RetryLayer};
use mesh_test::Spy;
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{Layer, ServiceExt, service_fn};

type Answers = Vec<Response<Body>>;

fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::from("why")).unwrap()
}

fn grpc_head(status: &str) -> Response<Body> {
    let builder = Response::builder().header("content-type", "application/grpc").header("grpc-status", status);
    builder.body(Body::empty()).unwrap()
}

fn with(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn request(method: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri("http://shop/orders").body(body.into()).unwrap()
}

fn grpc() -> Request<Body> {
    let builder = Request::post("http://shop/shop.Orders/Find").header("content-type", "application/grpc");
    builder.body(Body::from("a message")).unwrap()
}

/// Sends a request and gives the answer, and the body that each attempt read.
async fn ask(layer: RetryLayer, request: Request<Body>, answers: Answers) -> (Response<Body>, Vec<String>) {
    let mut answers = answers;
    answers.reverse();
    let (answers, seen) = (Arc::new(Mutex::new(answers)), Arc::new(Mutex::new(Vec::new())));
    let log = seen.clone();
    let service = service_fn(move |request: Request<Body>| {
        let answer = answers.lock().unwrap().pop().unwrap();
        let log = log.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            log.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
            Ok::<_, Infallible>(answer)
        }
    });
    let answer = governed(layer.bodies(Body::new)).layer(service).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (answer.map(Body::new), seen)
}

async fn attempts(layer: RetryLayer, request: Request<Body>, answers: Answers) -> usize {
    ask(layer, request, answers).await.1.len()
}

fn on(condition: Condition) -> RetryLayer {
    RetryLayer::new().on([condition])
}

#[tokio::test(start_paused = true)]
async fn by_method_and_condition() {
    let unavailable = || vec![status(503), status(503), status(200)];
    for (method, expected) in [("GET", 3), ("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)] {
        assert_eq!(
            attempts(on(Condition::GatewayError), request(method, ""), unavailable()).await,
            expected,
            "{method}"
        );
    }
    let posts = on(Condition::GatewayError).methods(["POST"]);
    assert_eq!(attempts(posts, request("POST", "order"), unavailable()).await, 3);
    assert_eq!(attempts(RetryLayer::new(), request("GET", ""), unavailable()).await, 1, "not among the defaults");
    assert_eq!(attempts(on(Condition::ServerError), request("GET", ""), vec![status(404)]).await, 1);
    assert_eq!(attempts(on(Condition::Retriable4xx), request("GET", ""), vec![status(409), status(200)]).await, 2);
}

#[tokio::test(start_paused = true)]
async fn grpc_by_the_status_in_the_head_whatever_the_method() {
    let unavailable = || vec![grpc_head("14"), grpc_head("14"), grpc_head("0")];
    assert_eq!(attempts(RetryLayer::new(), grpc(), unavailable()).await, 3);
    assert_eq!(attempts(on(Condition::Internal), grpc(), unavailable()).await, 1);
    assert_eq!(attempts(on(Condition::Internal), grpc(), vec![grpc_head("13"), grpc_head("0")]).await, 2);
    // what stands before a server may speak plain HTTP
    assert_eq!(attempts(RetryLayer::new(), grpc(), vec![status(503), grpc_head("0")]).await, 2);
    // messages have been handed out, or may be: it is too late
    let streamed = Response::builder().header("content-type", "application/grpc").body(Body::from("m")).unwrap();
    assert_eq!(attempts(RetryLayer::new(), grpc(), vec![streamed]).await, 1);
}

/// As Envoy does: what has its status in trailers has its head out, without a single message, too.
#[tokio::test(start_paused = true)]
async fn grpc_by_no_status_in_trailers() {
    let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "14".parse().unwrap())]);
    let body = http_body_util::Empty::new().with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
    let head = Response::builder().header("content-type", "application/grpc");
    let answer = head.body(Body::new(body)).unwrap();
    let (answer, seen) = ask(on(Condition::Unavailable), grpc(), vec![answer, grpc_head("0")]).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(answer.into_body().collect().await.unwrap().trailers(), Some(&trailers));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_same_body_up_to_what_is_kept() {
    let failing = || vec![status(503), status(503), status(200)];
    let layer = |max_body| on(Condition::GatewayError).max_body(Size::from_bytes(max_body));
    let (answer, bodies) = ask(layer(5), request("PUT", "order"), failing()).await;
    assert_eq!((answer.status().as_u16(), &bodies[..]), (200, &["order", "order", "order"].map(String::from)[..]));
    // one byte more went through, and is not kept
    let (answer, bodies) = ask(layer(4), request("PUT", "order"), failing()).await;
    assert_eq!((answer.status().as_u16(), &bodies[..]), (503, &["order".to_owned()][..]));
    // what nobody has read can be sent on, whatever its size
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let unread = service_fn(move |request: Request<Body>| {
        *counted.lock().unwrap() += 1;
        let last = *counted.lock().unwrap() == 3;
        async move {
            if last {
                assert_eq!(request.into_body().collect().await.unwrap().to_bytes().len(), 100_000);
            }
            Ok::<_, Infallible>(status(if last { 200 } else { 503 }))
        }
    });
    let service = governed(layer(1).bodies(Body::new)).layer(unread);
    let answer = service.oneshot(request("PUT", vec![7; 100_000])).await.unwrap();
    assert_eq!((answer.status().as_u16(), *calls.lock().unwrap()), (200, 3));
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_back() {
    let pushed = |status: Response<Body>, name, value: &str, last| vec![with(status, name, value), last];
    let timed = async |request: Request<Body>, answers| {
        let start = time::now();
        let number = attempts(
            on(Condition::GatewayError).on([Condition::GatewayError, Condition::Unavailable]),
            request,
            answers,
        )
        .await;
        (number, time::now().since(start).as_millis())
    };
    let (number, waited) = timed(request("GET", ""), pushed(status(503), "retry-after", "2", status(200))).await;
    assert!(number == 2 && (2000..2005).contains(&waited), "{number} {waited}");
    let (number, waited) = timed(request("GET", ""), pushed(status(503), "retry-after", "6", status(200))).await;
    assert_eq!((number, waited), (1, 0), "longer than anybody without a deadline waits");
    let date = "Tue, 24 Nov 2026 10:00:00 GMT";
    let (number, waited) = timed(request("GET", ""), pushed(status(503), "retry-after", date, status(200))).await;
    assert!(number == 2 && waited < 30, "{number} {waited}");

    let grpc_until = |timeout: &str| {
        let mut request = grpc();
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        request
    };
    let head = || grpc_head("14");
    let push = "grpc-retry-pushback-ms";
    let (number, waited) = timed(grpc_until("9S"), pushed(head(), push, "7000", grpc_head("0"))).await;
    assert!(number == 2 && (7000..7005).contains(&waited), "{number} {waited}");
    let (number, waited) = timed(grpc_until("6S"), pushed(head(), push, "7000", grpc_head("0"))).await;
    assert_eq!((number, waited), (1, 0), "it would be too late");
    for never in ["-1", "soon"] {
        assert_eq!(timed(grpc(), pushed(head(), push, never, grpc_head("0"))).await, (1, 0), "{never}");
    }
}

/// A layer further in hears each attempt, one further out the call; nothing is left open.
#[tokio::test(start_paused = true)]
async fn tickets_hear_that_an_attempt_failed() {
    let (above, below) = (Arc::new(Spy::default()), Arc::new(Spy::default()));
    let calls = Arc::new(Mutex::new(vec![status(200), status(409), status(503)]));
    let service = service_fn(move |_: Request<Body>| {
        let answer = calls.lock().unwrap().pop().unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    let layers = (
        GateLayer::shared(above.clone()),
        RetryLayer::new().on([Condition::ServerError, Condition::Retriable4xx]).bodies(Body::new),
        GateLayer::shared(below.clone()),
    );
    let answer = governed(layers).layer(service).oneshot(request("GET", "")).await.unwrap();
    assert_eq!(below.outcomes(), [Outcome::Failure, Outcome::Success], "a 409 blames the client");
    assert_eq!(above.outcomes(), []);
    answer.into_body().collect().await.unwrap();
    assert_eq!(below.outcomes(), [Outcome::Failure, Outcome::Success, Outcome::Success]);
    assert_eq!(above.outcomes(), [Outcome::Success]);
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_service() {
    let ask = async |method: &'static str, kind: io::ErrorKind| {
        let calls = Arc::new(Mutex::new(0));
        let counted = calls.clone();
        let service = service_fn(move |_: Request<Body>| {
            *counted.lock().unwrap() += 1;
            async move { Err::<Response<Body>, _>(io::Error::from(kind)) }
        });
        let layer = RetryLayer::new().bodies(Body::new).causes(|error: &io::Error| Cause::of(error));
        let error = governed(layer).layer(service).oneshot(request(method, "order")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        *calls.lock().unwrap()
    };
    assert_eq!(ask("POST", io::ErrorKind::ConnectionRefused).await, 3, "nothing was sent");
    assert_eq!(ask("POST", io::ErrorKind::ConnectionReset).await, 1);
    assert_eq!(ask("GET", io::ErrorKind::ConnectionReset).await, 3);
}

/// The record of the call counts attempts, and the request has not ended while another reads it.
#[tokio::test(start_paused = true)]
async fn the_record_is_that_of_one_call() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let note = mesh_core::gate_fn(move |request: &mut Request<CallBody<Body>>| {
        let context = request.body().context();
        log.lock().unwrap().push((context.clone(), context.attempts(), context.request_ended().is_none()));
        Ok(())
    });
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(status(503)));
    let retry = on(Condition::GatewayError).bodies(Body::new);
    governed((retry, GateLayer::new(note))).layer(service).oneshot(request("PUT", "order")).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen.iter().map(|(_, attempts, open)| (*attempts, *open)).collect::<Vec<_>>(),
        [(0, true), (1, true), (2, true)]
    );
    assert_eq!(seen[0].0.attempts(), 3);
}

/// A request stream that ends nowhere is given up with the call.
#[tokio::test(start_paused = true)]
async fn dropped_while_it_waits() {
    let (body, feed) = mesh_test::TestBody::fed();
    let service = service_fn(async |request: Request<Body>| {
        drop(request);
        Ok::<_, Infallible>(status(503))
    });
    let service = governed(on(Condition::GatewayError).bodies(Body::new)).layer(service);
    let call = service.oneshot(request("PUT", Body::new(body)));
    assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err(), "a first retry is waited for");
    assert!(feed.is_dropped());
}
