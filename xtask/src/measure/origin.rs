//! An HTTP/1.1 endpoint and a client, no more than what a measurement needs.
//!
//! Both run in this process, so that only the program under measurement is counted.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// What the endpoint answers: a body of 128 bytes.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/plain\r\n\
    content-length: 128\r\n\r\n\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the client asks: five header fields.
const REQUEST: &[u8] = b"GET /api/v1/users/42 HTTP/1.1\r\n\
    host: app.local\r\n\
    user-agent: measure/1\r\n\
    accept: */*\r\n\
    accept-language: en\r\n\
    x-tenant: blue\r\n\r\n";

/// Starts the endpoint and gives its port. It lives as long as this process.
pub(crate) fn start() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An error is the proxy's closing of the connection.
            thread::spawn(move || serve(stream));
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Head::default();
    loop {
        head.read(&mut stream)?;
        stream.write_all(ANSWER)?;
    }
}

/// Sends `rounds` requests on each of `connections`: in each round one on every connection, then
/// their answers. So the proxy always finds the same amount of work waiting.
pub(crate) fn fire(port: u16, connections: usize, rounds: usize) -> io::Result<()> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        streams.push((stream, Head::default()));
    }
    for _ in 0..rounds {
        for (stream, _) in &mut streams {
            stream.write_all(REQUEST)?;
        }
        for (stream, head) in &mut streams {
            head.read_answer(stream, 128)?;
        }
    }
    Ok(())
}

/// Reads to the end of a head and keeps what came behind it.
#[derive(Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    rest: Vec<u8>,
}

impl Head {
    /// Reads a good answer with a body of so many bytes, at the most 128.
    pub(super) fn read_answer(&mut self, stream: &mut TcpStream, length: usize) -> io::Result<()> {
        self.read(stream)?;
        if !self.bytes.starts_with(b"HTTP/1.1 200 ") {
            let text = String::from_utf8_lossy(&self.bytes).into_owned();
            return Err(io::Error::other(format!("the answer is {text:?}")));
        }
        let mut body = [0; 128];
        let have = self.rest.len().min(length);
        self.rest.clear();
        stream.read_exact(&mut body[have..length])
    }

    pub(super) fn read(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.bytes = std::mem::take(&mut self.rest);
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                self.rest = self.bytes.split_off(end + 4);
                return Ok(());
            }
            match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.bytes.extend_from_slice(&chunk[..read]),
            }
        }
    }
}
