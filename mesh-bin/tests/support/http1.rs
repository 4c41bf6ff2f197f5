//! A small HTTP/1.1 client that shows exactly what is on the wire.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// A message's head: its first line and the header fields in their order.
#[derive(Debug, Default, Clone)]
pub struct Head {
    pub line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line; an end of input before the first byte is `UnexpectedEof`.
    pub fn read(from: &mut impl BufRead) -> io::Result<Head> {
        let mut head = Head { line: read_line(from)?, headers: Vec::new() };
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| io::Error::other(format!("no header field: {line:?}")))?;
            head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The only field of this name; two are a failure.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.get_all(name);
        assert!(all.len() <= 1, "more than one {name}: {all:?}");
        all.first().copied()
    }

    /// Every field of this name.
    pub fn get_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// A response read to its end.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// Whether the body came in chunks.
    pub chunked: bool,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(port: u16) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one head, be it of an interim response.
    pub fn read_head(&mut self) -> io::Result<Head> {
        Head::read(&mut self.stream)
    }

    /// Reads a response to a request of this method, over interim ones.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        loop {
            let head = self.read_head()?;
            let status = status_of(&head)?;
            if status >= 200 {
                return self.read_body(method, status, head);
            }
        }
    }

    fn read_body(&mut self, method: &str, status: u16, head: Head) -> io::Result<Response> {
        let mut body = Vec::new();
        let chunked = head.get("transfer-encoding") == Some("chunked");
        if method == "HEAD" || status == 204 || status == 304 {
            // No body, whatever the head says.
        } else if chunked {
            body = read_chunks(&mut self.stream)?;
        } else if let Some(length) = head.get("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            body = vec![0; length];
            self.stream.read_exact(&mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(Response { status, head, body, chunked })
    }

    /// Reads so many bytes as they are.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// One exchange: `request` is everything that goes out.
    pub fn exchange(&mut self, request: &str) -> io::Result<Response> {
        self.write(request.as_bytes())?;
        let method = request.split(' ').next().unwrap_or_default();
        self.read_response(method)
    }

    /// Whether the other side has closed, with nothing more to read.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// The three digits of a status line.
pub fn status_of(head: &Head) -> io::Result<u16> {
    head.line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no status line: {:?}", head.line)))
}

/// A body in chunks, its trailer included.
pub fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?;
        let length =
            usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).map_err(io::Error::other)?;
        if length == 0 {
            while !read_line(from)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + length, 0);
        from.read_exact(&mut body[start..])?;
        read_line(from)?;
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// One request on a connection of its own.
pub fn send(port: u16, request: &str) -> Response {
    Connection::open(port)
        .and_then(|mut connection| connection.exchange(request))
        .unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// `GET path`, on a connection of its own.
pub fn get(port: u16, path: &str) -> Response {
    try_get(port, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// As [`get`], where a failure is an answer too.
pub fn try_get(port: u16, path: &str) -> io::Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    Connection::open(port)?.exchange(&request)
}
