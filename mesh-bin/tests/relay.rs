//! A listener that relays bytes.

mod support;

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::origin::{Origin, ok, read_request};
use support::{Mesh, PATIENCE, eventually, free_port};

/// A relay with these further keys before endpoints at these addresses.
fn relay(listener: &str, endpoints: &str, cluster: &str) -> (Mesh, u16) {
    let port = free_port();
    let mesh = Mesh::start(&format!(
        r#"
workers: 2
listeners:
  relay:
    bind: "127.0.0.1:{port}"
    protocol: tcp
    cluster: app
{listener}
clusters:
  app:
    discovery: {{ static: [ {endpoints} ] }}
{cluster}
"#
    ));
    (mesh, port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// A server that sends back all it gets, and then ends. How many connections it has had.
fn echo() -> (u16, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = connections.clone();
    let origin = Origin::raw(move |mut stream| {
        seen.fetch_add(1, Ordering::Relaxed);
        io::copy(&mut stream.try_clone()?, &mut stream)?;
        stream.shutdown(Shutdown::Write)
    });
    (origin.port, connections)
}

fn says(port: u16, text: &str) -> String {
    try_says(port, text).expect("relayed")
}

fn try_says(port: u16, text: &str) -> io::Result<String> {
    let mut stream = connect(port);
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether a connection is closed without a byte.
fn is_refused(port: u16) -> bool {
    match connect(port).read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn bytes_go_both_ways_and_are_spread_over_the_endpoints() {
    let (one, at_one) = echo();
    let (two, at_two) = echo();
    let endpoints = format!("\"127.0.0.1:{one}\", \"127.0.0.1:{two}\"");
    let (mesh, port) = relay("    pipeline: [ metrics ]", &endpoints, "    load_balancer: round_robin");
    for _ in 0..10 {
        assert_eq!(says(port, "there and back"), "there and back");
    }
    assert_eq!(at_one.load(Ordering::Relaxed) + at_two.load(Ordering::Relaxed), 10);
    assert!(at_one.load(Ordering::Relaxed) >= 3 && at_two.load(Ordering::Relaxed) >= 3);

    let labels = ["listener=\"relay\"", "cluster=\"app\"", "protocol=\"tcp\"", "outcome=\"success\""];
    eventually("all are counted", || mesh.metric("mesh_requests_total", &labels) == 10.0);
    assert!(mesh.page("/clusters").contains("\"picks\": "), "{}", mesh.page("/clusters"));
    let open = connect(port);
    eventually("it is shown", || mesh.metric("mesh_upstream_connections", &["cluster=\"app\""]) == 1.0);
    assert_eq!(mesh.metric("mesh_downstream_connections", &["listener=\"relay\""]), 1.0);
    drop(open);
    eventually("it is gone", || mesh.metric("mesh_upstream_connections", &["cluster=\"app\""]) == 0.0);
    mesh.stop();
}

/// From where it listens to where it leads, over Unix sockets.
#[test]
fn over_unix_sockets() {
    let directory = std::env::temp_dir().join(format!("mesh-bin-{}-relay", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let [near, far] = ["near", "far"].map(|name| directory.join(name));
    let listener = UnixListener::bind(&far).expect("a free path");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"hello").and_then(|()| stream.read_to_end(&mut Vec::new()));
        }
    });
    let mesh = Mesh::start(&format!(
        "listeners: {{ relay: {{ bind: \"unix:{}\", protocol: tcp, cluster: app }} }}\n\
         clusters: {{ app: {{ discovery: {{ static: [ \"unix:{}\" ] }} }} }}\n",
        near.display(),
        far.display()
    ));
    let mut stream = UnixStream::connect(&near).expect("it listens");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("read");
    assert_eq!(&hello, b"hello");
    stream.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(stream.read(&mut hello).expect("the end"), 0);
    mesh.stop();
}

#[test]
fn a_gigabyte_arrives_intact() {
    arrive_intact(1);
}

#[test]
#[ignore = "run by `cargo xtask soak`"]
fn soak_gigabytes() {
    arrive_intact(8);
}

fn arrive_intact(gigabytes: usize) {
    const BLOCK: usize = 1 << 20;
    let blocks = gigabytes << 10;
    // each block is of another number
    let origin = Origin::raw(move |mut stream| {
        let (mut block, mut right) = (vec![0; BLOCK], 0u32);
        for number in 0..blocks {
            stream.read_exact(&mut block)?;
            let expected = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            right += u32::from(block.chunks_exact(8).all(|word| word == expected));
        }
        stream.write_all(&right.to_le_bytes())
    });
    let (mesh, port) = relay("", &format!("\"127.0.0.1:{}\"", origin.port), "");
    let mut stream = connect(port);
    for number in 0..blocks {
        let word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        stream.write_all(&word.repeat(BLOCK / 8)).expect("written");
    }
    let mut right = [0; 4];
    stream.read_exact(&mut right).expect("an answer");
    assert_eq!(u32::from_le_bytes(right) as usize, blocks);
    println!("soak: a relay of {gigabytes} GiB | arrived intact");
    drop(stream);
    mesh.stop();
}

#[test]
fn an_idle_connection_is_closed() {
    let (port_of_echo, _) = echo();
    let (mesh, port) = relay("    timeouts: { idle: 500ms }", &format!("\"127.0.0.1:{port_of_echo}\""), "");
    let mut stream = connect(port);
    stream.write_all(b"a").expect("written");
    stream.read_exact(&mut [0]).expect("back");
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    mesh.stop();
}

/// The layer has a timeout for what is idle, too, as of a body. Its total one is for what has an end that can be foreseen.
#[test]
fn a_timeout_cuts_idle_connections_off() {
    let (port_of_echo, _) = echo();
    let endpoint = format!("\"127.0.0.1:{port_of_echo}\"");
    let (mesh, port) = relay("    pipeline: [ metrics, timeout: { total: 300ms, idle: 1s } ]", &endpoint, "");
    let mut stream = connect(port);
    for _ in 0..10 {
        stream.write_all(b"a").expect("written");
        stream.read_exact(&mut [0]).expect("back");
        thread::sleep(Duration::from_millis(50));
    }
    let start = Instant::now();
    assert!(
        stream.read(&mut [0]).map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |read| read == 0)
    );
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    eventually("it is counted", || mesh.metric("mesh_requests_total", &["outcome=\"timed_out\""]) == 1.0);
    mesh.stop();
}

#[test]
fn its_layers_refuse_connections() {
    let (port_of_echo, seen) = echo();
    let endpoint = format!("\"127.0.0.1:{port_of_echo}\"");
    let limit = "    pipeline: [ concurrency_limit: { max: 2, until_end: true } ]";
    let (mesh, port) = relay(limit, &endpoint, "");
    let mut open = [connect(port), connect(port)];
    for stream in &mut open {
        stream.write_all(b"a").expect("written");
        stream.read_exact(&mut [0]).expect("back");
    }
    assert!(is_refused(port));
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    assert_eq!(mesh.metric("mesh_rejections_total", &["layer=\"concurrency_limit\""]), 1.0);
    drop(open);
    eventually("there is room again", || try_says(port, "again").is_ok_and(|answer| answer == "again"));
    mesh.stop();
}

/// An endpoint nobody listens at is left alone, and another one is tried at once.
#[test]
fn a_dead_endpoint_is_passed_over() {
    let (alive, _) = echo();
    let dead = free_port();
    let (mesh, port) = relay(
        "    pipeline: [ retry: { attempts: 2, budget: 100% } ]",
        &format!("\"127.0.0.1:{alive}\", \"127.0.0.1:{dead}\""),
        "    load_balancer: round_robin\n    endpoint_pipeline: [ circuit_breaker: { consecutive_failures: 1, open_for: 5m } ]",
    );
    for _ in 0..10 {
        assert_eq!(says(port, "hello"), "hello");
    }
    assert!(mesh.page("/clusters").contains("circuit_open"), "{}", mesh.page("/clusters"));
    mesh.stop();
}

#[test]
fn without_an_endpoint_the_connection_is_closed() {
    let (mesh, port) = relay("", &format!("\"127.0.0.1:{}\"", free_port()), "");
    assert!(is_refused(port));
    mesh.stop();
}

/// HTTP and a relay on one cluster: the endpoints are the same, and what is known of them.
#[test]
fn a_cluster_serves_both() {
    let origin = Origin::raw(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            read_request(&mut reader, &mut stream)?;
            stream.write_all(ok("here").as_bytes())?;
        }
    });
    let (web, port) = (free_port(), free_port());
    let mesh = Mesh::start(&format!(
        "listeners:\n  web: {{ bind: \"127.0.0.1:{web}\", routes: [ {{ cluster: app }} ] }}\n  \
         relay: {{ bind: \"127.0.0.1:{port}\", protocol: tcp, cluster: app }}\n\
         clusters: {{ app: {{ discovery: {{ static: [ \"127.0.0.1:{}\" ] }} }} }}\n",
        origin.port
    ));
    for port in [web, port] {
        assert_eq!(support::http1::get(port, "/").text(), "here");
    }
    assert!(mesh.page("/clusters").contains("\"picks\": 2"), "{}", mesh.page("/clusters"));
    mesh.stop();
}

#[test]
fn a_relay_goes_on_until_the_end_of_the_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("\"{}\"", listener.local_addr().expect("bound"));
    let (mut mesh, port) = relay("", &endpoint, "");
    let mut client = connect(port);
    let (mut upstream, _) = listener.accept().expect("relayed");
    mesh.terminate();
    eventually("new connections are refused", || TcpStream::connect(("127.0.0.1", port)).is_err());
    client.write_all(b"late").expect("written");
    let mut late = [0; 4];
    upstream.read_exact(&mut late).expect("relayed");
    // with the connections that came before it was closed, which nobody has accepted
    drop((client, upstream, listener));
    assert!(mesh.wait().success());
}
