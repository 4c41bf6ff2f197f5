//! What a reload does to sockets that are not TCP, to limits, and to connections that are relayed.

use mesh_core::Address;
use mesh_proxy::{Engine, Layers, Plan, read};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

struct Running {
    engine: Engine,
    runtime: Runtime,
}

fn plan(text: &str) -> Plan {
    let document = read::read(text, "t.yaml", &|_| None).expect("YAML");
    Plan::check(&document, &Layers::stock()).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

impl Running {
    fn start(text: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("started");
        let engine = runtime.block_on(async { Engine::start(plan(text)) }).expect("started");
        Self { engine, runtime }
    }

    fn reload(&self, text: &str) {
        self.engine.reload(plan(text)).expect("taken");
    }

    fn address(&self) -> SocketAddr {
        self.engine.listeners().find_map(|(_, address)| address.as_tcp()).expect("one over TCP")
    }

    fn end(self) {
        self.runtime.block_on(self.engine.shutdown(Duration::ZERO, Duration::from_secs(5)));
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn path(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("mesh-proxy-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory.join(name)
}

/// A server that says its name, and then sends back what it gets.
fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                stream.write_all(name.as_bytes())?;
                std::io::copy(&mut stream.try_clone()?, &mut stream)
            });
        }
    });
    address
}

fn says(stream: &mut TcpStream, length: usize) -> String {
    let mut text = vec![0; length];
    stream.read_exact(&mut text).expect("it speaks");
    String::from_utf8(text).expect("text")
}

#[test]
fn a_relayed_connection_outlives_a_change_of_its_cluster() {
    let (one, two) = (named("one"), named("two"));
    let spec = |endpoint: SocketAddr, idle: &str| {
        format!(
            "workers: 2
listeners: {{ relay: {{ bind: 127.0.0.1:0, protocol: tcp, cluster: app, timeouts: {{ idle: {idle} }} }} }}
clusters: {{ app: {{ discovery: {{ static: [ \"{endpoint}\" ] }} }} }}
"
        )
    };
    let running = Running::start(&spec(one, "1h"));
    let address = running.address();
    let mut old = TcpStream::connect(address).expect("it listens");
    assert_eq!(says(&mut old, 3), "one");
    running.reload(&spec(two, "2h"));
    let mut new = TcpStream::connect(address).expect("it listens");
    assert_eq!(says(&mut new, 3), "two");
    old.write_all(b"still here").expect("written");
    assert_eq!(says(&mut old, 10), "still here");
    drop((old, new));
    running.end();
}

#[test]
fn a_limit_of_connections_may_come_and_change() {
    let spec = |limit: &str| {
        format!(
            "workers: 2
listeners: {{ web: {{ bind: 127.0.0.1:0, connection: [ {limit} ], routes: [ {{ respond: {{}} }} ] }} }}
"
        )
    };
    let running = Running::start(&spec(""));
    let address = running.address();
    let answers = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0)
    };
    let open = || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        answers(&mut stream).then_some(stream)
    };
    let mut held: Vec<TcpStream> = (0..3).filter_map(|_| open()).collect();
    assert_eq!(held.len(), 3);
    running.reload(&spec("max_connections: 4"));
    held.extend(open());
    assert_eq!(held.len(), 4);
    assert!(open().is_none());
    // fewer than there are: none is cut, none comes
    running.reload(&spec("max_connections: 1"));
    assert!(held.iter_mut().all(answers));
    assert!(open().is_none());
    running.reload(&spec(""));
    assert!(open().is_some());
    drop(held);
    running.end();
}

#[test]
fn unix_sockets_come_change_their_mode_and_go() {
    let path = path("s");
    let unix = |mode: &str| {
        format!(
            "  local: {{ bind: {{ address: \"unix:{}\", mode: \"{mode}\" }}, routes: [ {{ respond: {{}} }} ] }}\n",
            path.display()
        )
    };
    let spec = |more: &str| {
        format!("workers: 2\nlisteners:\n  web: {{ bind: 127.0.0.1:0, routes: [ {{ respond: {{}} }} ] }}\n{more}")
    };
    let mode = || fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
    let running = Running::start(&spec(""));
    running.reload(&spec(&unix("0600")));
    assert!(running.engine.listeners().any(|(_, address)| address == Address::Unix(path.clone())));
    let mut client = UnixStream::connect(&path).expect("it listens");
    let mut get = || {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
        client.read(&mut [0; 1024]).is_ok_and(|read| read > 0)
    };
    assert!(get());
    assert_eq!(mode(), 0o600);
    running.reload(&spec(&unix("0666")));
    assert_eq!(mode(), 0o666);
    assert!(get());
    running.reload(&spec(""));
    eventually("its file is gone", || !path.exists());
    running.end();
}
