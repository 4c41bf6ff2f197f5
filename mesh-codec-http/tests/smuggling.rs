//! Requests that two parsers could take for different ones, over sockets: each is refused, or it is forwarded in one way
//! that can be read. `docs/smuggling.md` lists them; this test holds it to that.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use mesh_codec_http::{
    forward::{Forwarded, RequestId},
    server::{Options, Protocol, Server},
    upstream::{Upstream, UpstreamOptions, UpstreamProtocol},
};
use mesh_core::{Endpoint, Peer, Target};
use mesh_net::Drain;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What becomes of a request.
enum Fate {
    /// This is the answer's status, the upstream sees no whole request, and nothing behind it is read.
    Refused(u16),
    /// The upstream sees this, and nothing behind it is read.
    Closes(&'static str),
    /// The upstream sees this, and what is behind it is the next request, in the same place for all.
    Goes(&'static str),
    /// HTTP/2: the stream or the connection is reset, and the upstream sees nothing.
    Reset,
}

use Fate::{Closes, Goes, Refused, Reset};

/// What stands behind each request, and must never be taken for a part of it, nor the other way round.
const BEHIND: &str = "GET /behind HTTP/1.1\r\nhost: a\r\n\r\n";
/// The head of most.
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

#[rustfmt::skip]
const HTTP1: &[(&str, &str, Fate)] = &[
    // two lengths
    ("CL.TE", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
     Closes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
    ("CL.TE", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     Closes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ("TE.CL", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n",
     Closes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n12\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n")),
    ("CL.TE, invalid CL", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("CL.0", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("GET with a body", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
     Goes("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("duplicate CL, equal", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("duplicate CL, different", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 0\r\n\r\nhello", Refused(400)),
    ("CL as a list", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello", Refused(400)),
    ("CL with a sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello", Refused(400)),
    ("CL with a sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\nhello", Refused(400)),
    ("CL in hex", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello", Refused(400)),
    ("CL in two parts", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5 5\r\n\r\nhello", Refused(400)),
    ("CL empty", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \r\n\r\nhello", Refused(400)),
    ("CL overflows", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551621\r\n\r\nhello", Refused(400)),
    // TE.TE: transfer codings that one parser takes and another does not
    ("TE.TE, two fields", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, two fields", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: cow\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, two fields", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, unknown coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, unknown coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, unknown coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, list of codings", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, list of codings", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, list of codings", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.TE, list of codings", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE identity", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: identity\r\n\r\nhello", Refused(400)),
    ("TE empty", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding:\r\n\r\nhello", Refused(400)),
    ("TE in upper case", "POST / HTTP/1.1\r\nhost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ("TE behind a tab", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ("TE behind a control character", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE before NUL", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\0\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE before a space and colon", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding : chunked\r\n\r\nhello", Refused(400)),
    ("TE with an underscore", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer_encoding: chunked\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer_encoding: chunked\r\n\r\nhello")),
    ("TE in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    // lines
    ("obs-fold", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("obs-fold", "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\n\tcontent-length: 5\r\n\r\nhello", Refused(400)),
    ("space before the first field", "POST / HTTP/1.1\r\n transfer-encoding: chunked\r\nhost: a\r\n\r\n0\r\n\r\n", Refused(400)),
    ("bare LF", "POST / HTTP/1.1\nhost: a\ncontent-length: 5\n\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("bare CR", "POST / HTTP/1.1\r\nhost: a\r\nx: y\rcontent-length: 5\r\n\r\nhello", Refused(400)),
    ("NUL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: y\0z\r\n\r\n", Refused(400)),
    ("no colon", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length\r\n\r\n", Refused(400)),
    ("no name", "GET / HTTP/1.1\r\nhost: a\r\n: 5\r\n\r\n", Refused(400)),
    ("characters in a name", "GET / HTTP/1.1\r\nhost: a\r\ncontent-length\x0b: 5\r\n\r\n", Refused(400)),
    ("characters in a name", "GET / HTTP/1.1\r\nhost: a\r\n(content-length): 5\r\n\r\n", Refused(400)),
    ("empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", Goes("GET / HTTP/1.1\r\nhost: a\r\n\r\n")),
    // the first line
    ("spaces in the first line", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
    ("spaces in the first line", "GET / x HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
    ("spaces in the first line", "GET\t/\tHTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
    ("other versions", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", Refused(400)),
    ("other versions", "GET / HTTP/2.0\r\nhost: a\r\n\r\n", Refused(400)),
    ("other versions", "GET / http/1.1\r\nhost: a\r\n\r\n", Refused(400)),
    ("other versions", "GET /\r\nhost: a\r\n\r\n", Refused(400)),
    ("method that is none", "G(T / HTTP/1.1\r\nhost: a\r\n\r\n", Refused(400)),
    // who it is for
    ("no host, two hosts", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("no host, two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", Refused(400)),
    ("absolute form and another host", "GET http://a/x HTTP/1.1\r\nhost: b\r\n\r\n", Goes("GET /x HTTP/1.1\r\nhost: a\r\n\r\n")),
    // chunks
    ("chunk size with a sign or prefix", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size with a sign or prefix", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size with a sign or prefix", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size empty", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size empty", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n;x\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size overflows", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size in two parts", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3 3\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk size with zeros", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ("chunk extension", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0;z\r\n\r\n",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ("chunk extension with bare LF", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;\nxx\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk extension with bare CR", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x\ry\r\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk line that ends in bare LF", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", Refused(400)),
    ("chunk longer than it says", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", Refused(400)),
    ("chunk longer than it says", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", Refused(400)),
    ("trailers that frame or route", "POST / HTTP/1.1\r\nhost: a\r\ntrailer: content-length, host\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ncontent-length: 9\r\nhost: b\r\ntransfer-encoding: gzip\r\n\r\n",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ntrailer: content-length, host\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    // hop by hop
    ("connection names what frames or routes", "POST / HTTP/1.1\r\nhost: a\r\nconnection: content-length, host\r\ncontent-length: 5\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("upgrade to h2c", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
     Goes("GET / HTTP/1.1\r\nhost: a\r\n\r\n")),
    ("upgrade with a body", "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
    ("CONNECT with a body", "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ncontent-length: 5\r\n\r\nhello", Refused(400)),
    ("CONNECT with a body", "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("expectations", "POST / HTTP/1.1\r\nhost: a\r\nexpect: y 100-continue\r\ncontent-length: 5\r\n\r\nhello",
     Goes("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")),
];

/// Its name, the header fields, the body, and what becomes of it.
type Http2Case = (&'static str, &'static [(&'static str, &'static str)], &'static str, Fate);

/// Fields of an HTTP/2 request behind `:method`, `:scheme` and `:path`, its body, and what becomes of it.
#[rustfmt::skip]
const HTTP2: &[Http2Case] = &[
    ("H2, as it should be", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("content-length", "5")], "hello",
     Goes("POST / HTTP/1.1\r\ncontent-length: 5\r\nhost: a\r\n\r\nhello")),
    ("H2.CL", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("content-length", "0")], "hello", Reset),
    ("H2.CL", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("content-length", "3")], "hello", Reset),
    ("H2.CL", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("content-length", "9")], "hello", Reset),
    ("H2.CL", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("content-length", "5, 5")], "hello", Reset),
    ("H2.TE", &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("transfer-encoding", "chunked")], "0\r\n\r\n", Reset),
    ("H2, fields of a connection", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("connection", "transfer-encoding")], "", Reset),
    ("H2, fields of a connection", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("upgrade", "h2c")], "", Reset),
    ("H2, CRLF in a value", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("x", "y\r\ntransfer-encoding: chunked")], "", Reset),
    ("H2, CRLF in a value", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("x", "y\ntransfer-encoding: chunked")], "", Reset),
    ("H2, CRLF in a name", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("x: y\r\ntransfer-encoding", "chunked")], "", Reset),
    ("H2, CRLF in a name", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("transfer-encoding: chunked\r\nx", "y")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y\r\n"), (":authority", "a")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET"), (":scheme", "http"), (":path", "/a b"), (":authority", "a")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET / HTTP/1.1\r\nx: y\r\n"), (":scheme", "http"), (":path", "/"), (":authority", "a")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET /x"), (":scheme", "http"), (":path", "/"), (":authority", "a")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a\r\nx: y")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a/b")], "", Reset),
    ("H2, CRLF or space in a pseudo field", &[(":method", "GET"), (":scheme", "http://b/x?"), (":path", "/"), (":authority", "a")], "", Reset),
    ("H2, upper case or colon in a name", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("Transfer-Encoding", "chunked")], "", Reset),
    ("H2, upper case or colon in a name", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("transfer-encoding:", "chunked")], "", Reset),
    ("H2, pseudo fields twice", &[(":method", "GET"), (":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")], "", Reset),
    ("H2, pseudo fields twice", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":path", "/b"), (":authority", "a")], "", Reset),
    ("H2, authority and another host", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("host", "b")], "",
     Goes("GET / HTTP/1.1\r\nhost: a\r\n\r\n")),
    ("H2, TE: trailers only", &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("te", "chunked")], "", Reset),
];

/// What the upstream has seen, connection by connection.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// An upstream that keeps all it reads and answers each request with its length, in the plainest of framings.
async fn upstream() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let all = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let number = {
                let mut all = all.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let all = all.clone();
            tokio::spawn(async move {
                let (mut bytes, mut answered) = ([0; 4096], 0);
                while let Ok(read @ 1..) = io.read(&mut bytes).await {
                    let requests = {
                        let mut all = all.lock().unwrap();
                        all[number].extend_from_slice(&bytes[..read]);
                        requests(&all[number])
                    };
                    for _ in answered..requests.len() {
                        let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    }
                    answered = requests.len();
                }
            });
        }
    });
    (address, seen)
}

/// The whole requests at the start of `text`, read by the letter of RFC 9112 and by nothing else.
fn requests(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut text = &*text;
    let mut whole = Vec::new();
    while let Some(head) = text.find("\r\n\r\n") {
        let lines = text[..head].split("\r\n").skip(1);
        let fields: Vec<_> = lines.map(|line| line.split_once(": ").expect("a field")).collect();
        let one = |name: &str| {
            let values: Vec<_> =
                fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1).collect();
            assert!(values.len() < 2, "{name} more than once: {text}");
            values.first().copied()
        };
        let length = match (one("content-length"), one("transfer-encoding")) {
            (None, None) => 0,
            (Some(length), None) => length.parse().expect("a length"),
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked");
                match text[head + 4..].find("0\r\n\r\n") {
                    Some(end) => end + 5,
                    None => return whole,
                }
            }
            (Some(_), Some(_)) => panic!("two lengths: {text}"),
        };
        if text.len() < head + 4 + length {
            return whole;
        }
        let (request, rest) = text.split_at(head + 4 + length);
        whole.push(request.to_owned());
        text = rest;
    }
    whole
}

/// A connection to a proxy before this upstream.
async fn connect(upstream: SocketAddr) -> TcpStream {
    let options = Options {
        forwarded: Forwarded::Off,
        request_id: RequestId::Off,
        protocol: Protocol::Http,
        ..Options::default()
    };
    let protocol = UpstreamOptions { protocol: UpstreamProtocol::Http1, ..UpstreamOptions::default() };
    let upstream = Upstream::new(&Endpoint::new(Target::new(upstream)), protocol);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let io = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let serving = Server::new(options).serve(accepted, Arc::new(Peer::UNKNOWN), upstream, Drain::new().watch());
    tokio::spawn(serving);
    io
}

/// All that comes until the other side closes; ends with a word of ours where it does not.
async fn read_to_end(io: &mut TcpStream) -> String {
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match tokio::time::timeout(Duration::from_secs(5), io.read(&mut bytes)).await {
            Ok(Ok(read @ 1..)) => answer.extend_from_slice(&bytes[..read]),
            // unread bytes make the close a reset
            Ok(Ok(0) | Err(_)) => return String::from_utf8_lossy(&answer).into_owned(),
            Err(_) => return String::from_utf8_lossy(&answer).into_owned() + "HTTP/1.1 000 open still",
        }
    }
}

fn seen_requests(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().flat_map(|bytes| requests(bytes)).collect()
}

#[tokio::test]
async fn over_http_1() {
    let mut wrong = Vec::new();
    for (name, request, fate) in HTTP1 {
        let (address, seen) = upstream().await;
        let mut io = connect(address).await;
        let _ = io.write_all(format!("{request}{BEHIND}").as_bytes()).await;
        if matches!(fate, Goes(_)) {
            let _ = io.write_all(b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        }
        let answer = read_to_end(&mut io).await;
        let requests = seen_requests(&seen);
        let statuses: Vec<u16> =
            answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap()).collect();
        let good = match fate {
            Refused(status) => statuses == [*status] && requests.is_empty(),
            Closes(forwarded) => {
                statuses == [200] && answer.contains("connection: close\r\n") && requests == [*forwarded]
            }
            Goes(forwarded) => {
                let last = "GET /last HTTP/1.1\r\nhost: a\r\n\r\n";
                statuses == [200; 3] && requests == [*forwarded, BEHIND, last]
            }
            Reset => panic!("{name} is not of HTTP/1"),
        };
        if !good {
            wrong.push(format!("{name}: {request:?}\nanswer: {answer:?}\nupstream: {requests:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// An upstream that answers before it has read the body takes what is left of it for the next request (CL.0, TE.0): no
/// other request may follow on that connection.
#[tokio::test]
async fn an_upstream_that_does_not_read_the_body_gets_no_other_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut io = connect(listener.local_addr().unwrap()).await;
    io.write_all(format!("{POST}content-length: 50\r\n\r\nGET /smuggled").as_bytes()).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    let mut bytes = [0; 4096];
    let read = first.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(POST.as_bytes()));
    first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let mut answer = [0; 15];
    io.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    // the rest of the body and another request
    let rest = format!("{:37}{BEHIND}", " HTTP/1.1");
    let _ = io.write_all(rest.as_bytes()).await;
    let elsewhere = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    let mut more = Vec::new();
    drop(io);
    let _ = first.read_to_end(&mut more).await;
    assert!(!String::from_utf8_lossy(&more).contains("/behind"), "{more:?}");
    // either the connection was closed with the answer, or the request went elsewhere
    drop(elsewhere);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK without compression: every field literal and never indexed.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            assert!(text.len() < 127);
            block.extend(text.as_bytes());
        }
    }
    block
}

#[tokio::test]
async fn over_http_2() {
    const GOOD: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":path", "/behind"), (":authority", "a")];
    for (name, fields, body, fate) in HTTP2 {
        let (address, seen) = upstream().await;
        let mut io = connect(address).await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(frame(1, if body.is_empty() { 5 } else { 4 }, 1, &block(fields)));
        if !body.is_empty() {
            bytes.extend(frame(0, 1, 1, body.as_bytes()));
        }
        bytes.extend(frame(1, 5, 3, &block(GOOD)));
        let _ = io.write_all(&bytes).await;
        // until both streams, or the connection, have ended
        let (mut read, mut ended, mut statuses) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut chunk = [0; 4096];
        'reading: while ended.len() < 2 {
            let come = tokio::time::timeout(Duration::from_secs(20), io.read(&mut chunk)).await.expect("it ends");
            let Ok(come @ 1..) = come else { break };
            read.extend_from_slice(&chunk[..come]);
            while let Some(header) = read.first_chunk::<9>().copied() {
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
                if read.len() < 9 + length {
                    break;
                }
                let payload: Vec<u8> = read.drain(..9 + length).skip(9).collect();
                let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
                match header[3] {
                    1 => statuses.push((stream, payload[0])),
                    3 => _ = ended.insert(stream),
                    7 if payload[4..8] != [0; 4] => break 'reading,
                    _ => {}
                }
                if matches!(header[3], 0 | 1) && header[4] & 1 == 1 {
                    ended.insert(stream);
                }
            }
        }
        drop(io);
        let requests = seen_requests(&seen);
        let shown = format!("{name}: {fields:?}\nstatuses: {statuses:?}\nupstream: {seen:?}");
        let others: Vec<_> = requests.iter().filter(|request| !request.starts_with("GET /behind ")).collect();
        match fate {
            // 0x88 is `:status: 200`
            Goes(forwarded) => {
                assert!(statuses.contains(&(1, 0x88)) && statuses.contains(&(3, 0x88)), "{shown}");
                assert_eq!(others, [*forwarded], "{shown}");
            }
            Reset => {
                assert!(statuses.iter().all(|(stream, status)| *stream != 1 || *status != 0x88), "{shown}");
                assert!(others.is_empty(), "{shown}");
            }
            Refused(_) | Closes(_) => panic!("{name} is of HTTP/2"),
        }
    }
}

/// Every case of the tests is a row of the table, and every row a case of the tests.
#[test]
fn the_table_is_complete() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/smuggling.md");
    // a published crate comes without the documents
    let Ok(table) = std::fs::read_to_string(path) else { return };
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let rows: BTreeSet<&str> = rows.filter(|name| !matches!(*name, "case" | "---")).collect();
    let cases = HTTP1.iter().map(|case| case.0).chain(HTTP2.iter().map(|case| case.0));
    let cases: BTreeSet<&str> = cases.chain(["CL.0, TE.0 against the next client"]).collect();
    assert_eq!(rows, cases);
}
