//! Limits and timeouts of a listener, over real sockets: what they are answered with, and that a reload changes them.

use mesh_proxy::{Engine, Layers, Plan, read};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

fn plan(settings: &str) -> Plan {
    let text = format!(
        "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    {settings}
    routes: [ {{ respond: {{ body: ok }} }} ]
"
    );
    let document = read::read(&text, "test.yaml", &|_| None).expect("YAML");
    Plan::check(&document, &Layers::stock()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// The status of the answer on a connection of its own; what is not answered is 0.
fn status(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let _ = stream.write_all(request.as_bytes());
    let mut head = [0; 12];
    if stream.read_exact(&mut head).is_err() {
        return 0;
    }
    String::from_utf8_lossy(&head[9..]).parse().expect("a status")
}

async fn status_of(address: SocketAddr, request: String) -> u16 {
    tokio::task::spawn_blocking(move || status(address, &request)).await.expect("no panic")
}

#[tokio::test]
async fn each_limit_has_its_status_and_a_reload_changes_it() {
    let small = "limits: { headers: 3, header_bytes: 8KiB, body: 4 }\n    timeouts: { header: 100ms, idle: 200ms }";
    let engine = Engine::start(plan(small)).expect("started");
    let address = engine.listeners().next().expect("one").1.as_tcp().expect("TCP");
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    let requests = [
        (format!("{head}content-length: 4\r\n\r\nbody"), 200, 200),
        (format!("{head}content-length: 5\r\n\r\nbody!"), 413, 200),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(9000)), 414, 200),
        (format!("{head}a: {}\r\n\r\n", "a".repeat(9000)), 431, 200),
        (format!("{head}a: 1\r\nb: 1\r\nc: 1\r\n\r\n"), 431, 200),
    ];
    for (request, limited, _) in &requests {
        assert_eq!(status_of(address, request.clone()).await, *limited, "{request:.60}");
    }
    assert_eq!(status_of(address, head.into()).await, 408);
    assert_eq!(status_of(address, String::new()).await, 0, "an idle one is closed");

    engine.reload(plan("")).expect("taken");
    for (request, _, unlimited) in &requests {
        assert_eq!(status_of(address, request.clone()).await, *unlimited, "{request:.60}");
    }
    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
}
