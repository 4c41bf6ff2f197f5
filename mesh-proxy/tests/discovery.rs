//! Endpoints that come and go by a source of one's own, and registrations.

use mesh_core::{Address, Target, Update, pipeline::NoSettings};
use mesh_discovery::{Discovery, Leave, Registrar, Registration, Updates, updates};
use mesh_proxy::{Engine, Layers, Plan, read};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::watch;

fn plan(text: &str, layers: &Layers) -> Result<Plan, Vec<String>> {
    let told = |faults: Vec<read::Diagnostic>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let document = read::read(text, "test.yaml", &|_| None).map_err(told)?;
    Plan::check(&document, layers).map_err(told)
}

/// A server that answers with its name, one request per connection.
fn origin(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let length = name.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}");
        }
    });
    address
}

/// The body of an answer; its status where there is none of the servers'.
fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    match text.split_once("\r\n\r\n") {
        Some((_, body)) if !body.is_empty() => body.to_owned(),
        _ => text.get(9..12).unwrap_or("no answer").to_owned(),
    }
}

/// Says what the test says.
#[derive(Clone)]
struct Told(watch::Receiver<Vec<SocketAddr>>, Arc<AtomicU32>);

/// One less search.
struct Searching(Arc<AtomicU32>);

impl Drop for Searching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Discovery for Told {
    fn updates(&self) -> Updates {
        let Told(mut told, searches) = self.clone();
        updates(async move |say| {
            searches.fetch_add(1, SeqCst);
            let _searching = Searching(searches);
            loop {
                let set = told.borrow_and_update().iter().copied().map(Target::new).collect();
                say.update(Update::Set(set));
                if told.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[derive(Clone, Default)]
struct Known(Arc<Mutex<Vec<Address>>>);

impl Registrar for Known {
    fn register(&self, instance: Target) -> Registration {
        let known = self.0.clone();
        Registration::spawn(async move |mut leave: Leave| {
            known.lock().expect("no panic").push(instance.address.clone());
            leave.asked().await;
            known.lock().expect("no panic").retain(|address| *address != instance.address);
        })
    }
}

impl Known {
    fn addresses(&self) -> Vec<String> {
        self.0.lock().expect("no panic").iter().map(ToString::to_string).collect()
    }
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

async fn ask(address: SocketAddr) -> String {
    tokio::task::spawn_blocking(move || get(address)).await.expect("no panic")
}

#[tokio::test]
async fn endpoints_follow_their_source_and_a_registration_its_engine() {
    let (one, two) = (origin("one"), origin("two"));
    let (tell, told) = watch::channel(vec![one]);
    let (searches, known) = (Arc::<AtomicU32>::default(), Known::default());
    let mut layers = Layers::none();
    let source = Told(told, searches.clone());
    layers.discovery.add("told", "what the test says", move |_: NoSettings| source.clone());
    let registrar = known.clone();
    layers.discovery.add_registrar("known", "a list", move |_: NoSettings| registrar.clone());
    let spec = |rest: &str| {
        format!(
            "workers: 1
listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [ {{ cluster: app }} ] }} }}
clusters: {{ app: {{ discovery: {{ told: {{}} }} }} }}
registrations:
  first: {{ with: {{ known: {{}} }}, instance: 10.0.0.1:80 }}
{rest}"
        )
    };
    let engine = Engine::start(plan(&spec(""), &layers).expect("good")).expect("started");
    let address = engine.listeners().next().expect("one").1.as_tcp().expect("TCP");
    assert_eq!(ask(address).await, "one");
    eventually(async || known.addresses() == ["10.0.0.1:80"]).await;

    tell.send_replace(vec![two]);
    eventually(async || ask(address).await == "two").await;
    tell.send_replace(Vec::new());
    eventually(async || ask(address).await == "503").await;
    tell.send_replace(vec![one, two]);
    eventually(async || ask(address).await == "one").await;
    let shown = engine.clusters();
    assert_eq!((shown[0].endpoints.len(), shown[0].resolved), (2, true));

    // a reload goes on with the search and the registration that it does not change
    let more = spec("  second: { with: { known: {} }, instance: { address: 10.0.0.2:80, weight: 3 } }\n");
    engine.reload(plan(&more, &layers).expect("good")).expect("taken");
    eventually(async || known.addresses() == ["10.0.0.1:80", "10.0.0.2:80"]).await;
    assert_eq!((searches.load(SeqCst), engine.clusters()[0].endpoints[0].picks > 0), (1, true));
    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
    assert_eq!(known.addresses(), Vec::<String>::new(), "taken back before the end");
    drop(engine);
    eventually(async || searches.load(SeqCst) == 0).await;
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    let layers = Layers::stock();
    let text = "
clusters:
  app: { discovery: { sttic: [] } }
registrations:
  me: { with: { nowhere: {} }, instance: nobody }
  you: { with: {} }
";
    let faults = plan(text, &layers).expect_err("bad").join("\n");
    for part in [
        "test.yaml:3:23: clusters.app.discovery: unknown source `sttic`",
        "did you mean `static`?",
        "registrations.me.instance",
        "registrations.you: missing key `instance`",
    ] {
        assert!(faults.contains(part), "{part} is not in\n{faults}");
    }
}
