//! An HTTP/1.1 upstream that shows what arrived and answers what a test says.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::http1::{Head, read_chunks};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Request {
    pub fn method(&self) -> &str {
        self.head.line.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.head.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// A server on a port of its own. It lives as long as the test process.
pub struct Origin {
    pub port: u16,
}

impl Origin {
    /// Answers each request with all the bytes of a response that the function returns.
    pub fn start(answer: impl Fn(Request) -> String + Send + Sync + 'static) -> Origin {
        Origin::raw(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            loop {
                let request = read_request(&mut reader, &mut stream)?;
                stream.write_all(answer(request).as_bytes())?;
            }
        })
    }

    /// Hands each connection to the function, which says what happens on it.
    pub fn raw(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the origin");
        let port = listener.local_addr().expect("bound").port();
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = serve.clone();
                let _ = stream.set_nodelay(true);
                // An error is the other side's going away, which each test sees on its own side.
                thread::spawn(move || serve(stream));
            }
        });
        Origin { port }
    }

    /// Answers every request with its own head as text, `name: value` a line, and its body.
    pub fn echo() -> Origin {
        Origin::start(|request| {
            let mut text = format!("{}\n", request.head.line);
            for (name, value) in &request.head.headers {
                text.push_str(&format!("{name}: {value}\n"));
            }
            text.push('\n');
            text.push_str(&String::from_utf8_lossy(&request.body));
            if request.method() == "HEAD" { head_of(text.len()) } else { ok(&text) }
        })
    }
}

/// A 200 with this body.
pub fn ok(body: &str) -> String {
    head_of(body.len()) + body
}

fn head_of(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n")
}

/// Reads one request, having said that it may continue where it waits for that.
pub fn read_request(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream) -> io::Result<Request> {
    let head = Head::read(reader)?;
    if head.get("expect") == Some("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if head.get("transfer-encoding") == Some("chunked") {
        body = read_chunks(reader)?;
    } else if let Some(length) = head.get("content-length") {
        body = vec![0; length.parse().map_err(io::Error::other)?];
        reader.read_exact(&mut body)?;
    }
    Ok(Request { head, body })
}
