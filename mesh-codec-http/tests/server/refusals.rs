//! Who is told of requests that are refused before the service has seen them.

use crate::harness::{Connected, connect_fn, ok, options, peer};
use mesh_codec_http::server::{Options, Protocol, Server};
use mesh_core::{Name, RequestView as _};
use mesh_net::Drain;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::service_fn;

type Told = Arc<Mutex<Vec<String>>>;

/// A connection, and a line for each refusal.
fn telling(options: Options) -> (Connected, Told) {
    let told = Told::default();
    let lines = told.clone();
    let server = Server::new(options).on_refusal(move |request, rejection| {
        let (context, head) = (request.context(), request.http().unwrap());
        let from = context.peer().address.map(|address| address.port());
        let line = format!("{} {} {} {from:?}", rejection.kind().as_str(), head.method, head.path);
        assert!(context.arrived().is_some() && context.protocol() == Name::HTTP);
        lines.lock().unwrap().push(line);
    });
    let (io, server_io) = tokio::io::duplex(64 * 1024);
    let drain = Drain::new();
    let serving = server.serve(server_io, Arc::new(peer()), service_fn(ok), drain.watch());
    (Connected { io, server: tokio::spawn(serving), drain }, told)
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_here_is_told() {
    let many = "x: y\r\n".repeat(101);
    let long = "a".repeat(9000);
    for (request, status, line) in [
        ("GET /a HTTP/1.1\r\n\r\n".to_owned(), "400", "malformed GET /a"),
        ("PUT /b HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), "400", "malformed PUT /b"),
        ("POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n".to_owned(), "413", "body_too_large POST /c"),
        // hyper's own answers: nothing is known of the request
        ("\u{1}\r\n\r\n".to_owned(), "400", "malformed - "),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431", "headers_too_large - "),
        (format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"), "431", "headers_too_large - "),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "414", "uri_too_long - "),
        ("GET / HTTP/1.1\r\nhost".to_owned(), "408", "header_timeout - "),
    ] {
        let limits = Options { header_bytes: 8 * 1024, body: Some(10), ..options(Protocol::Http1) };
        let (connected, told) = telling(limits);
        let answer = connected.talk(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
        assert_eq!(*told.lock().unwrap(), [format!("{line} Some(4567)")], "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_http2_too() {
    let (connected, told) = telling(Options { headers: 3, ..options(Protocol::Http) });
    let mut client = connected.http2().await;
    let get = |path: &str| http::Request::get(format!("http://shop.local{path}"));
    let many = get("/many").header("a", "1").header("b", "2").header("c", "3").header("d", "4");
    assert_eq!(client.send(many, "").await.status(), 431);
    assert_eq!(client.send(get("/"), "").await.status(), 200);
    assert_eq!(*told.lock().unwrap(), ["headers_too_large GET /many Some(4567)"]);
}

/// A client that says nothing at all has asked for nothing, and one that goes away in the middle is not refused.
#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_not_told() {
    let (connected, told) = telling(options(Protocol::Http1));
    assert_eq!(connected.talk("").await, "");
    let (mut connected, again) = telling(options(Protocol::Http1));
    connected.send("GET / HT").await;
    drop(connected.io);
    assert!(connected.server.await.unwrap().is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(told.lock().unwrap().is_empty() && again.lock().unwrap().is_empty());
    // nobody need be told
    let answer = connect_fn(options(Protocol::Http), ok).talk("GET / HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
