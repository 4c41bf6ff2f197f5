//! Upgrades and CONNECT through a running engine: by which routes, and under which limits of time.

use mesh_proxy::{Engine, Layers, Plan, read};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// An upstream that grants the first request of each connection a tunnel, and sends back what comes through it.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let head = read_head(&mut stream);
                let granted = if head.starts_with("CONNECT ") {
                    "HTTP/1.1 200 OK\r\n\r\n"
                } else {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                };
                let _ = stream.write_all(granted.as_bytes());
                let mut bytes = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    let _ = stream.write_all(&bytes[..read]);
                }
            });
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
        head.push(char::from(byte[0]));
    }
    head
}

fn ask(address: SocketAddr, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(request.as_bytes()).expect("written");
    let head = read_head(&mut stream);
    (stream, head)
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

#[tokio::test]
async fn tunnels_obey_their_routes_and_only_idle_timeouts() {
    let text = format!(
        "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    pipeline:
      - metrics
      - timeout: {{ response: 2s, total: 300ms, idle: 1s }}
      - concurrency_limit: {{ max: 1, until_end: true }}
    routes:
      - match: {{ host: db.test, methods: [CONNECT] }}
        cluster: echo
      - match: {{ path: {{ prefix: / }} }}
        pipeline: [ retry: 3 ]
        cluster: echo
      - cluster: echo
clusters:
  echo: {{ discovery: {{ static: [ \"{}\" ] }} }}
",
        upstream()
    );
    let document = read::read(&text, "test.yaml", &|_| None).expect("YAML");
    let plan = Plan::check(&document, &Layers::stock()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let engine = Engine::start(plan).expect("started");
    let address = engine.listeners().next().expect("one").1.as_tcp().expect("TCP");
    let asked = tokio::task::spawn_blocking(move || {
        for (request, status) in [(UPGRADE, "101"), ("CONNECT db.test:1 HTTP/1.1\r\nhost: db.test:1\r\n\r\n", "200")] {
            let (mut tunnel, head) = ask(address, request);
            assert_eq!(&head[9..12], status, "{head}");
            // longer than `total`, and never silent for as long as `idle`
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1500) {
                tunnel.write_all(b"ping").expect("open");
                let mut back = [0; 4];
                tunnel.read_exact(&mut back).expect("open");
                thread::sleep(Duration::from_millis(100));
            }
            let (_, head) = ask(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(&head[9..12], "503", "the tunnel has the one place: {head}");
            // nothing moves
            let begun = Instant::now();
            assert!(matches!(tunnel.read(&mut [0]), Ok(0) | Err(_)));
            assert!((800..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        }
        let (_, head) = ask(address, "CONNECT other.test:1 HTTP/1.1\r\nhost: other.test:1\r\n\r\n");
        assert_eq!(&head[9..12], "404", "no route names CONNECT for it: {head}");
    });
    asked.await.expect("no panic");
    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
}
