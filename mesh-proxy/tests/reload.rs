//! A plan in place of another: what goes on, what comes and goes, and what of the old is left.

use mesh_core::{
    At, Gate, Rejection, Ticket, Watch,
    pipeline::{Fate, NoSettings},
};
use mesh_proxy::{ClusterStatus, Engine, Layers, Plan, ReloadError, ReloadReport, Request, read};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn checked(text: &str) -> Plan {
    checked_with(text, &Layers::stock())
}

fn checked_with(text: &str, layers: &Layers) -> Plan {
    let told = |faults: Vec<read::Diagnostic>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let document = read::read(text, "test.yaml", &|_| None).map_err(told).expect("good");
    Plan::check(&document, layers).map_err(told).expect("good")
}

/// An engine on a control thread of its own, as in the program; what is asked of it comes from the test's thread.
struct Running {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn start(text: &str) -> Self {
        Self::start_plan(checked(text))
    }

    fn start_plan(plan: Plan) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("started");
        let engine = runtime.block_on(async { Engine::start(plan) }).expect("started");
        Self { engine, runtime }
    }

    fn reload(&self, text: &str) -> ReloadReport {
        self.engine.reload(checked(text)).expect("taken")
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.engine.listeners().find(|listener| listener.0 == name).expect("it is there").1.as_tcp().expect("TCP")
    }

    fn cluster(&self, name: &str) -> ClusterStatus {
        self.engine.clusters().into_iter().find(|cluster| cluster.name == name).expect("it is there")
    }

    fn end(self) {
        self.runtime.block_on(self.engine.shutdown(Duration::ZERO, Duration::from_secs(5)));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

fn eventually(name: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {name}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A connection that is kept over several requests.
struct Client(TcpStream);

impl Client {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Self(stream)
    }

    /// The head and the body of an answer.
    fn exchange(&mut self) -> (String, String) {
        write!(self.0, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
        let mut head = String::new();
        let mut byte = [0];
        while !head.ends_with("\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("a head");
            head.push(byte[0] as char);
        }
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    fn status(&mut self) -> u16 {
        self.exchange().0[9..12].parse().expect("a status")
    }

    fn body(&mut self) -> String {
        self.exchange().1
    }

    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn what_is_written_as_before_goes_on_as_it_is() {
    let text = "
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    pipeline: [ metrics, rate_limit: { rate: 1/d, burst: 2 } ]
    routes:
      - { name: app, match: { path: { prefix: /app } }, cluster: app, pipeline: [ timeout: 1s ] }
      - { name: all, respond: { body: one } }
clusters:
  app: { discovery: { static: [ \"127.0.0.1:1\" ] }, endpoint_pipeline: [ circuit_breaker: 5 ] }
";
    let running = Running::start(text);
    let mut client = Client::open(running.address("web"));
    assert_eq!(client.body(), "one");
    // only positions have changed
    let report = running.reload(&format!("\n# moved\n{text}"));
    assert_eq!(report.listeners.kept, ["web"]);
    assert_eq!(report.routes.kept, ["web/app", "web/all"]);
    assert_eq!(report.clusters.kept, ["app"]);
    let kept: Vec<String> = report.layers.with(Fate::Kept).map(ToString::to_string).collect();
    let layers = [
        "clusters.app.endpoints: circuit_breaker",
        "listeners.web.routes.app: timeout",
        "listeners.web: metrics",
        "listeners.web: rate_limit",
    ];
    assert_eq!(kept, layers);
    assert_eq!(report.layers.0.len(), layers.len(), "{report}");
    // the tokens are not refilled, however often
    assert_eq!(client.status(), 200);
    running.reload(text);
    assert_eq!(client.status(), 429);
    running.end();
}

#[test]
fn what_changes_is_reported() {
    let text = "
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    pipeline: [ rate_limit: { rate: 1/d, burst: 1, id: quota }, timeout: 1s ]
    routes: [ { name: a, cluster: app }, { name: b, cluster: app } ]
clusters:
  app: { discovery: { static: [ \"127.0.0.1:1\" ] }, endpoint_pipeline: [ concurrency_limit: 5 ] }
  other: { discovery: { static: [ \"127.0.0.1:1\" ] }, endpoint_pipeline: [ circuit_breaker: 5 ], pipeline: [ timeout: 1s ] }
";
    let running = Running::start(text);
    let report = running.reload(
        "
workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    pipeline: [ timeout: 2s, metrics ]
    routes: [ { name: a, respond: {} }, { name: c, cluster: app, pipeline: [ rate_limit: { rate: 2/d, id: quota } ] } ]
clusters:
  app: { discovery: { static: [ \"127.0.0.1:1\" ] }, endpoint_pipeline: [ concurrency_limit: 6 ] }
  new: { discovery: { static: [ \"127.0.0.1:1\" ] }, endpoint_pipeline: [ circuit_breaker: 5 ] }
",
    );
    assert_eq!((report.listeners.changed, report.listeners.removed), (vec!["web".to_owned()], vec![]));
    assert_eq!(report.routes.changed, ["web/a"]);
    assert_eq!(report.routes.new, ["web/c"]);
    assert_eq!(report.routes.removed, ["web/b"]);
    assert_eq!(report.clusters.changed, ["app"]);
    assert_eq!(report.clusters.new, ["new"]);
    assert_eq!(report.clusters.removed, ["other"]);
    let with = |fate| report.layers.with(fate).map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        with(Fate::Retuned),
        [
            "clusters.app.endpoints: concurrency_limit",
            "listeners.web.routes.c: rate_limit (quota)",
            "listeners.web: timeout"
        ]
    );
    assert_eq!(with(Fate::New), ["clusters.new.endpoints: circuit_breaker", "listeners.web: metrics"]);
    assert_eq!(with(Fate::Removed), ["clusters.other.endpoints: circuit_breaker", "clusters.other: timeout"]);
    assert_eq!(with(Fate::Reset), [""; 0]);
    running.end();
}

#[test]
fn an_open_breaker_stays_open() {
    let text = |breaker: &str| {
        format!(
            "
workers: 1
listeners:
  web: {{ bind: \"127.0.0.1:0\", routes: [ {{ cluster: app }} ] }}
clusters:
  app:
    discovery: {{ static: [ \"127.0.0.1:1\" ] }}
    pipeline: [ circuit_breaker: {{ consecutive_failures: 1, open_for: {breaker} }} ]
"
        )
    };
    let running = Running::start(&text("4m"));
    let mut client = Client::open(running.address("web"));
    assert_eq!(client.status(), 502, "nobody listens there");
    let (head, _) = client.exchange();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-mesh-rejected-by: circuit_breaker"), "{head}");
    let report = running.reload(&text("5m"));
    assert_eq!(report.layers.count(Fate::Retuned), 1);
    let (head, _) = client.exchange();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-mesh-rejected-by: circuit_breaker"), "{head}");
    running.end();
}

#[test]
fn an_endpoint_that_is_out_stays_out_whatever_becomes_of_the_list() {
    let text = |endpoints: &str, open_for: &str| {
        format!(
            "
workers: 1
listeners:
  web: {{ bind: \"127.0.0.1:0\", routes: [ {{ cluster: app }} ] }}
  origin: {{ bind: \"127.0.0.1:0\", routes: [ {{ respond: {{ body: ok }} }} ] }}
clusters:
  app:
    discovery: {{ static: [ {endpoints} ] }}
    endpoint_pipeline: [ circuit_breaker: {{ consecutive_failures: 1, open_for: {open_for} }} ]
"
        )
    };
    let running = Running::start(&text("\"127.0.0.1:1\"", "4m"));
    let mut client = Client::open(running.address("web"));
    assert_eq!(client.status(), 502);
    let failures = |status: &ClusterStatus| status.endpoints[0].failures;
    let before = running.cluster("app");
    assert!(!before.endpoints[0].eligible);
    let origin = running.address("origin");
    let report = running.reload(&text(&format!("\"127.0.0.1:1\", \"{origin}\""), "5m"));
    let fates: Vec<_> = report.layers.0.iter().map(|layer| layer.fate).collect();
    assert_eq!(fates, [Fate::Retuned, Fate::New], "{report}");
    let status = running.cluster("app");
    assert!(!status.endpoints[0].eligible, "{status:?}");
    assert_eq!(failures(&status), failures(&before));
    for _ in 0..10 {
        assert_eq!(client.body(), "ok", "only the other one is asked");
    }
    // away and back again
    running.reload(&text(&format!("\"{origin}\""), "5m"));
    running.reload(&text(&format!("\"127.0.0.1:1\", \"{origin}\""), "5m"));
    assert!(!running.cluster("app").endpoints[0].eligible);
    running.end();
}

#[test]
fn endpoints_stay_until_their_new_source_has_spoken() {
    let text = |discovery: &str, origin: SocketAddr| {
        format!(
            "
workers: 1
listeners:
  web: {{ bind: \"127.0.0.1:0\", routes: [ {{ cluster: app }} ] }}
  origin: {{ bind: \"{origin}\", routes: [ {{ respond: {{ body: ok }} }} ] }}
clusters: {{ app: {{ discovery: {discovery} }} }}
"
        )
    };
    let origin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let running = Running::start(&text(&format!("{{ static: [ \"{origin}\" ] }}"), origin));
    let mut client = Client::open(running.address("web"));
    assert_eq!(client.body(), "ok");
    // a file that is not there says nothing
    running.reload(&text("{ file: /nowhere/endpoints.yaml }", origin));
    assert_eq!(client.body(), "ok");
    assert!(running.cluster("app").resolved);
    running.end();
}

fn listeners(list: &str) -> String {
    let body = "routes: [ { respond: { body: ok } } ]";
    format!("workers: 2\nlisteners:\n{}", list.replace("BODY", body))
}

#[test]
fn listeners_come_and_go() {
    let running = Running::start(&listeners("  one: { bind: \"127.0.0.1:0\", BODY }\n"));
    let one = running.address("one");
    let mut old = Client::open(one);
    assert_eq!(old.body(), "ok");

    let two = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let text = format!("  one: {{ bind: \"127.0.0.1:0\", BODY }}\n  two: {{ bind: \"{two}\", BODY }}\n");
    let report = running.reload(&listeners(&text));
    assert_eq!((report.listeners.kept, report.listeners.new), (vec!["one".to_owned()], vec!["two".to_owned()]));
    assert_eq!(running.address("one"), one, "any free port is the one it has");
    let mut client = Client::open(two);
    assert_eq!((client.body(), old.body()), ("ok".into(), "ok".into()));

    let report = running.reload(&listeners(&format!("  two: {{ bind: \"{two}\", BODY }}\n")));
    assert_eq!(report.listeners.removed, ["one"]);
    assert!(old.is_closed(), "idle connections of a listener that is gone are closed");
    eventually("it does not listen any more", || TcpStream::connect(one).is_err());
    assert_eq!(client.body(), "ok");
    running.end();
}

#[test]
fn an_address_that_cannot_be_had_refuses_the_whole() {
    let running = Running::start(&listeners("  one: { bind: \"127.0.0.1:0\", BODY }\n"));
    let mut client = Client::open(running.address("one"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let text = format!("  two: {{ bind: \"{address}\", BODY }}\n  three: {{ bind: \"127.0.0.1:0\", BODY }}\n");
    match running.engine.reload(checked(&listeners(&text))) {
        Err(ReloadError::Bind { listener, .. }) => assert_eq!(listener, "two"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.body(), "ok");
    assert_eq!(running.engine.listeners().count(), 1);
    running.end();
}

#[test]
fn sockets_stay_where_a_listener_changes_its_name_or_settings() {
    let bind = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let running = Running::start(&listeners(&format!("  one: {{ bind: \"{bind}\", BODY }}\n")));
    // what a request takes anew leaves connections alone
    let mut client = Client::open(bind);
    assert_eq!(client.body(), "ok");
    running.reload(&listeners(&format!("  one: {{ bind: \"{bind}\", drain: last, pipeline: [ metrics ], BODY }}\n")));
    assert_eq!(client.body(), "ok");
    for next in ["one: { request_id: off,", "other: { request_id: off,", "other: { request_id: off, protocol: http1,"] {
        let mut before = Client::open(bind);
        assert_eq!(before.body(), "ok");
        let holding = TcpStream::connect(bind);
        running.reload(&listeners(&format!("  {next} bind: \"{bind}\", BODY }}\n")));
        assert!(before.is_closed(), "{next}: what holds for its life has changed");
        assert!(holding.is_ok());
        assert_eq!(Client::open(bind).body(), "ok", "{next}");
    }
    // two listeners that change places
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let pair = |one: SocketAddr, two: SocketAddr| {
        format!(
            "workers: 2\nlisteners:\n  one: {{ bind: \"{one}\", routes: [ {{ respond: {{ body: one }} }} ] }}\n  two: {{ \
             bind: \"{two}\", routes: [ {{ respond: {{ body: two }} }} ] }}\n"
        )
    };
    running.reload(&pair(bind, other));
    assert_eq!(Client::open(bind).body(), "one");
    running.reload(&pair(other, bind));
    assert_eq!((Client::open(bind).body(), Client::open(other).body()), ("two".into(), "one".into()));
    running.end();
}

/// A layer that can be counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watch for Counted {}

impl Gate<Request> for Counted {
    fn admit(&self, _: &mut Request, _: &At) -> Result<Option<Ticket>, Rejection> {
        Ok(None)
    }
}

#[test]
fn nothing_old_is_left_though_connections_idle() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut layers = Layers::stock();
    let count = alive.clone();
    layers.http.gate("counted", "Counts itself", move |_: NoSettings, _, _| {
        count.fetch_add(1, Ordering::AcqRel);
        Arc::new(Counted(count.clone()))
    });
    let text = |counted: &str| {
        format!(
            "
workers: 2
listeners:
  web: {{ bind: \"127.0.0.1:0\", pipeline: {counted}, routes: [ {{ name: all, cluster: app, pipeline: {counted} }} ] }}
  origin: {{ bind: \"127.0.0.1:0\", routes: [ {{ respond: {{ body: ok }} }} ] }}
clusters:
  app: {{ discovery: {{ static: [ ENDPOINT ] }}, pipeline: {counted}, endpoint_pipeline: {counted} }}
"
        )
    };
    let origin = {
        let port = free_port();
        SocketAddr::from(([127, 0, 0, 1], port))
    };
    let with = |counted: &str| {
        let text = text(counted).replace("ENDPOINT", &format!("\"{origin}\""));
        checked_with(
            &text.replacen("origin: { bind: \"127.0.0.1:0\"", &format!("origin: {{ bind: \"{origin}\""), 1),
            &layers,
        )
    };
    let running = Running::start_plan(with("[ counted ]"));
    let address = running.address("web");
    let mut clients: Vec<Client> = (0..8).map(|_| Client::open(address)).collect();
    for client in &mut clients {
        assert_eq!(client.body(), "ok");
    }
    assert_eq!(alive.load(Ordering::Acquire), 4);
    let report = running.engine.reload(with("[]")).expect("taken");
    assert_eq!(report.layers.count(Fate::Removed), 4, "{report}");
    eventually("all are dropped", || alive.load(Ordering::Acquire) == 0);
    for client in &mut clients {
        assert_eq!(client.body(), "ok");
    }
    running.end();
}
