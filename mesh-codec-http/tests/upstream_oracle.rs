//! The HTTP/1.1 upstream beside hyper's client: the same bytes of a response, cut into the same pieces, give the same
//! status, fields, body and trailers, or an error in both. What we refuse on purpose and hyper does not is listed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod upstream_support;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use mesh_codec_http::{
    Body,
    upstream::{UpstreamOptions, UpstreamProtocol},
};
use proptest::prelude::*;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use upstream_support::{Client, InMemory, request};

type Fields = Vec<(String, Vec<u8>)>;

/// What is to be seen of a response: its status and fields, and its body with trailers, if it ended well.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    fields: Fields,
    body: Option<(Vec<u8>, Fields)>,
}

const HOP_BY_HOP: [&str; 3] = ["connection", "transfer-encoding", "keep-alive"];

fn fields(headers: &http::HeaderMap) -> Fields {
    let all = headers.iter().map(|(name, value)| {
        // a list of equal lengths is one to us
        let is_length = name == "content-length";
        let first = value.to_str().ok().and_then(|list| list.split(',').next()?.trim().parse::<u64>().ok());
        let value = first.filter(|_| is_length).map_or(value.as_bytes().to_vec(), |length| length.to_string().into());
        (name.to_string(), value)
    });
    let mut all: Vec<_> = all.filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str())).collect();
    // what removes one may move another
    all.sort_by(|a, b| a.0.cmp(&b.0));
    // equal ones that say a length say it once
    all.dedup_by(|a, b| a == b && a.0 == "content-length");
    all
}

async fn seen<B>(response: http::Response<B>) -> Seen
where
    B: http_body::Body<Data = Bytes>,
{
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().map(fields).unwrap_or_default();
            Some((collected.to_bytes().to_vec(), trailers))
        }
        Err(_) => None,
    };
    Seen { status: head.status.as_u16(), fields: fields(&head.headers), body }
}

/// Reads a request's head, answers in pieces, closes.
async fn answer(mut stream: DuplexStream, pieces: Vec<Vec<u8>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let _ = stream.shutdown().await;
    // what is unread must not cut off what was sent
    let _ = stream.read_to_end(&mut head).await;
}

async fn by_us(method: &str, pieces: Vec<Vec<u8>>) -> Option<Seen> {
    let (connector, mut others) = InMemory::new();
    let options = UpstreamOptions { protocol: UpstreamProtocol::Http1, connector, ..UpstreamOptions::default() };
    let client = Client::with("127.0.0.1:1".parse().unwrap(), options);
    let call = client.call(request(method, Body::empty()));
    let answering = tokio::spawn(async move { answer(others.recv().await.unwrap(), pieces).await });
    let seen = match call.await {
        Ok(response) => Some(seen(response).await),
        Err(_) => None,
    };
    answering.abort();
    seen
}

async fn by_hyper(method: &str, pieces: Vec<Vec<u8>>) -> Option<Seen> {
    let (ours, theirs) = duplex(32 * 1024);
    let answering = tokio::spawn(answer(theirs, pieces));
    let (mut sender, mut connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
    let request = http::Request::builder().method(method).uri("/").header("host", "shop").body(Empty::<Bytes>::new());
    let driving = tokio::spawn(async move {
        let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    });
    let seen = match sender.send_request(request.unwrap()).await {
        // asked for by nobody
        Ok(response) if response.status() == 101 => None,
        Ok(response) => Some(seen(response).await),
        Err(_) => None,
    };
    answering.abort();
    driving.abort();
    seen
}

/// What we refuse and hyper does not: a transfer coding that nobody has asked for, and would not be undone here.
fn is_refused_on_purpose(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let codings: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("transfer-encoding:")).map(str::trim).collect();
    codings.len() > 1 || codings.iter().any(|coding| *coding != "chunked")
}

/// Where both a length and chunks are said the length goes: hyper leaves it in the head.
fn says_both(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.contains("transfer-encoding:") && text.contains("content-length:")
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let status = prop::sample::select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 404 Not Here",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 Not Modified",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 101 Switching Protocols",
        "HTTP/2 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1  200 OK",
        "\r\nHTTP/1.1 200 OK",
        "nonsense",
    ]);
    let field = prop::sample::select(vec![
        "content-length: 5",
        "content-length: 5, 5",
        "content-length: 05",
        "content-length: 3",
        "content-length: +5",
        "content-length: 0",
        "Content-Length:5",
        "content-length : 5",
        "transfer-encoding: chunked",
        "transfer-encoding: Chunked",
        "transfer-encoding:\tchunked ",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: x",
        "connection: close",
        "connection: keep-alive",
        "x: y",
        "x:",
        "x: \u{e9}",
        " folded",
        "no colon",
        "x: a\rb",
        "x: a\0b",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hello and more",
        "hel",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nt: 1\r\n\r\n",
        "5;x=1\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n000\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "0\r\n\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "-5\r\nhello\r\n0\r\n\r\n",
    ]);
    let mutation = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (status, prop::collection::vec(field, 0..4), body, mutation).prop_map(|(status, fields, body, mutation)| {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let mut bytes = format!("{status}\r\n{fields}\r\n{body}").into_bytes();
        if let Some((at, byte)) = mutation {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_read_the_same(
        bytes in response(),
        method in prop::sample::select(vec!["GET", "HEAD", "POST"]),
        size in 1_usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pieces: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        let (ours, theirs) = runtime.block_on(async {
            tokio::join!(by_us(method, pieces.clone()), by_hyper(method, pieces))
        });
        if is_refused_on_purpose(&bytes) || says_both(&bytes) {
            // nothing is accepted that hyper refuses
            prop_assert!(ours.is_none() || theirs.is_some(), "{ours:?}");
            return Ok(());
        }
        prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(&bytes));
    }
}
