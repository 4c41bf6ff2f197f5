//! The proxy as what it is: a process with sockets, before one server that works and one that does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

/// Answers each connection's one request with this status; counts them.
fn origin(status: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU32::new(0));
    let count = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            count.fetch_add(1, Relaxed);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (address, requests)
}

struct Proxy(Child, SocketAddr);

impl Proxy {
    fn start(targets: &[SocketAddr]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custom-proxy"));
        command.arg("127.0.0.1:0").args(targets.iter().map(ToString::to_string)).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self(child, address)
    }

    fn get(&self) -> String {
        let mut stream = TcpStream::connect(self.1).unwrap();
        stream.write_all(b"GET /x?y=1 HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_fails_is_left_alone() {
    let ((good, answered), (bad, failed)) = (origin("200 OK"), origin("500 Internal Server Error"));
    let proxy = Proxy::start(&[good, bad]);
    let answers: Vec<String> = (0..200).map(|_| proxy.get()).collect();
    let failures = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 500")).count();
    assert!(
        answers.iter().any(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("via: 1.1 custom-proxy"))
    );
    assert!(failures <= 5, "{failures} of 200 failed");
    assert_eq!(answered.load(Relaxed) + failed.load(Relaxed), 200);
}

#[test]
fn nobody_there_is_an_answer_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&[nobody]);
    let statuses: Vec<String> = (0..8).map(|_| proxy.get().lines().next().unwrap().to_owned()).collect();
    // after five failures its breaker is open, but the last endpoint there is goes on being asked
    assert!(statuses.iter().all(|status| status == "HTTP/1.1 502 Bad Gateway"), "{statuses:?}");
}
