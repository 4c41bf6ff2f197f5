use crate::harness::{connect_fn, ok, options, response};
use mesh_codec_http::{
    Body, HttpError, UpstreamError, UpstreamErrorKind,
    server::{Ended, Options, Protocol},
};
use mesh_core::{Answer, Code, Kind, Name, Rejection, http::GovernedBody};
use tokio::io::AsyncReadExt;

const CLOSE: &str = "connection: close\r\n\r\n";

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let mut connected = connect_fn(options(Protocol::Http), ok);
    for _ in 0..3 {
        connected.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = connected.read_until("\r\n\r\nok").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 2\r\n"), "{answer}");
    }
    connected.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    connected.read_until("\r\n\r\nok").await;
    connected.read_until("\r\n\r\nok").await;
    drop(connected.io);
    assert!(matches!(connected.server.await.unwrap(), Ok(Ended::Closed)));
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_keeps_the_connection_only_if_it_says_so() {
    let streamed = |_| async {
        let body = http_body_util::StreamBody::new(tokio_stream::iter(["a", "b"].map(|chunk| {
            Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from_static(chunk.as_bytes())))
        })));
        Ok::<_, HttpError>(response(Body::boxed(body)))
    };
    let answer = connect_fn(options(Protocol::Http), streamed).talk("GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nab"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");

    let mut connected = connect_fn(options(Protocol::Http), ok);
    connected.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = connected.read_until("\r\n\r\nok").await;
    assert!(answer.contains("connection: keep-alive\r\n"), "{answer}");
    let answer = connected.talk("GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn an_upstream_of_http_1_0_or_2_answers_in_http_1_1() {
    for version in [http::Version::HTTP_10, http::Version::HTTP_2] {
        let versioned = move |_| async move {
            let mut response = response(Body::full("ok"));
            *response.version_mut() = version;
            response.headers_mut().insert("date", "Tue, 15 Nov 1994 08:12:31 GMT".parse().unwrap());
            Ok::<_, HttpError>(response)
        };
        let answer =
            connect_fn(options(Protocol::Http), versioned).talk(&format!("GET / HTTP/1.1\r\nhost: a\r\n{CLOSE}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"), "an upstream's date is kept: {answer}");
    }
}

#[tokio::test]
async fn what_is_not_http_or_too_large_is_refused_by_hyper() {
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(70_000));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100));
    for (request, status) in [
        ("GARBAGE\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nho st: a\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", "400"),
        (&large, "431"),
        (&many, "431"),
        (&long, "414"),
    ] {
        let answer = connect_fn(options(Protocol::Http), ok).talk(request).await;
        assert_eq!(answer.get(9..12), Some(status), "{}", &request[..request.len().min(60)]);
    }
}

#[tokio::test]
async fn a_larger_head_may_be_allowed_but_no_longer_uri() {
    let options = Options { header_bytes: 256 * 1024, ..options(Protocol::Http1) };
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(70_000));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n{CLOSE}", "a".repeat(70_000));
    assert!(connect_fn(options.clone(), ok).talk(&long).await.starts_with("HTTP/1.1 414"));
    assert!(connect_fn(options, ok).talk(&large).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_limit_of_fields_may_be_any_number() {
    let options = Options { headers: 3, ..options(Protocol::Http1) };
    let three = format!("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n{CLOSE}");
    assert!(connect_fn(options.clone(), ok).talk(&three).await.starts_with("HTTP/1.1 200"));
    let four = format!("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\nx: z\r\n{CLOSE}");
    assert!(connect_fn(options, ok).talk(&four).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn refusals_and_failures_become_answers() {
    let failing = |request: mesh_codec_http::Request| async move {
        Err(match request.uri().path() {
            "/limited" => {
                let mut rejection = Rejection::new(Kind::RateLimited).retry_after(std::time::Duration::from_secs(3));
                rejection.stamp(Name::intern("rate_limit"));
                rejection.into()
            }
            "/fault" => Rejection::fault(Answer::Code(Code::Http(418))).into(),
            "/connect" => UpstreamError::new(UpstreamErrorKind::ConnectTimeout, "slow").into(),
            _ => HttpError::from(UpstreamError::new(UpstreamErrorKind::Reset, "gone")),
        })
    };
    for (path, line) in [
        ("/limited", "HTTP/1.1 429 Too Many Requests\r\n"),
        ("/fault", "HTTP/1.1 418 I'm a teapot\r\n"),
        ("/connect", "HTTP/1.1 502 Bad Gateway\r\n"),
        ("/reset", "HTTP/1.1 502 Bad Gateway\r\n"),
    ] {
        let answer = connect_fn(options(Protocol::Http), failing)
            .talk(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n{CLOSE}"))
            .await;
        assert!(answer.starts_with(line), "{path}: {answer}");
        assert_eq!(answer.contains("x-mesh-rejected-by: rate_limit\r\n"), path == "/limited");
        assert_eq!(answer.contains("retry-after: 3\r\n"), path == "/limited");
    }
}

#[tokio::test]
async fn an_injected_reset_gives_the_connection_back_without_an_answer() {
    let mut connected = connect_fn(options(Protocol::Http), async |_| {
        Err::<mesh_codec_http::Response, _>(Rejection::fault(Answer::Reset).into())
    });
    connected.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let Ok(Ended::Reset(io)) = connected.server.await.unwrap() else { panic!("no reset") };
    drop(io);
    let mut nothing = Vec::new();
    connected.io.read_to_end(&mut nothing).await.unwrap();
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_body() {
    for own in [false, true] {
        let answering = move |_| async move {
            Ok::<_, HttpError>(if own {
                http::Response::new(GovernedBody::own("12345"))
            } else {
                response(Body::full("12345"))
            })
        };
        let answer = connect_fn(options(Protocol::Http), answering)
            .talk(&format!("HEAD / HTTP/1.1\r\nhost: a\r\n{CLOSE}"))
            .await;
        assert!(answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}
