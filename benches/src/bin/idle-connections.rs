//! Opens connections, sends a request on each and keeps them: `idle-connections HOST:PORT PATH NUMBER`.
//!
//! Prints `open` when each had its answer, and closes them when its standard input ends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// No answer takes this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, number] = arguments.as_slice() else {
        eprintln!("usage: idle-connections HOST:PORT PATH NUMBER");
        return ExitCode::FAILURE;
    };
    let number = number.parse().unwrap_or(0);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(number);
    for _ in 0..number {
        match exchange(address, path) {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                eprintln!("idle-connections: after {} connections: {error}", streams.len());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("open");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

/// A connection that had one answer of 200 with a `content-length`.
fn exchange(address: &str, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // in one piece: the kernel would hold back the second of two until the first is acknowledged
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&answer) {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(stream)
    } else {
        Err(io::Error::other(format!("the answer is {:?}", String::from_utf8_lossy(&answer))))
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    answer.len() >= end + 4 + length.unwrap_or(0)
}
