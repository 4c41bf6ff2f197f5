//! The engine as a library: a plan is run, another takes its place, a bad one changes nothing.

use mesh_core::{
    At, Attribute, Gate, Kind, Rejection, Ticket, Watch,
    pipeline::{Fate, NoSettings},
};
use mesh_proxy::{Engine, Layers, Plan, ReloadError, Request, read};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn plan(text: &str, layers: &Layers) -> Result<Plan, Vec<String>> {
    let told = |faults: Vec<read::Diagnostic>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let document = read::read(text, "test.yaml", &|_| None).map_err(told)?;
    Plan::check(&document, layers).map_err(told)
}

/// A connection that is kept over several requests.
struct Client(TcpStream);

impl Client {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Self(stream)
    }

    /// The status and the body of an answer that says how long it is.
    fn get(&mut self, path: &str) -> (u16, String) {
        write!(self.0, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("a head");
            text.push(byte[0] as char);
        }
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        self.0.read_exact(&mut body).expect("a body");
        (text[9..12].parse().expect("a status"), String::from_utf8(body).expect("text"))
    }
}

fn spec(pipeline: &str, body: &str) -> String {
    format!(
        "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    pipeline: {pipeline}
    routes: [ {{ name: all, respond: {{ body: {body} }} }} ]
"
    )
}

async fn on_a_thread<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("no panic")
}

#[tokio::test]
async fn a_reload_reaches_old_connections_and_keeps_state() {
    let layers = Layers::stock();
    let engine = Engine::start(plan(&spec("[ rate_limit: { rate: 1/d, burst: 3 } ]", "one"), &layers).expect("good"))
        .expect("started");
    let address = engine.listeners().next().expect("one").1.as_tcp().expect("TCP");
    let mut client = Client::open(address);
    let client = on_a_thread(move || {
        assert_eq!(client.get("/"), (200, "one".into()));
        assert_eq!(client.get("/"), (200, "one".into()));
        client
    })
    .await;

    // a bad spec changes nothing
    let bad = spec("[ rate_limit: { rate: 1/d, burst: 100 }, timeout: soon ]", "two");
    assert_eq!(plan(&bad, &layers).expect_err("bad").len(), 1);

    let next = spec("[ metrics, rate_limit: { rate: 1/d, burst: 4 } ]", "three");
    let report = engine.reload(plan(&next, &layers).expect("good")).expect("taken").layers;
    assert_eq!((report.count(Fate::Retuned), report.count(Fate::New)), (1, 1));
    let mut client = client;
    let mut client = on_a_thread(move || {
        // two of the burst were taken before; the larger burst gave one more
        assert_eq!(client.get("/"), (200, "three".into()));
        assert_eq!(client.get("/").0, 200);
        assert_eq!(client.get("/").0, 429);
        client
    })
    .await;

    // a restart it needs changes nothing either
    let more = next.replace("workers: 1", "workers: 2");
    let refused = engine.reload(plan(&more, &layers).expect("good"));
    assert!(matches!(refused, Err(ReloadError::Fixed { key: "workers" })), "{refused:?}");
    on_a_thread(move || assert_eq!(client.get("/").0, 429)).await;

    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
    let refused = engine.reload(plan(&next, &layers).expect("good"));
    assert!(matches!(refused, Err(ReloadError::Draining)), "{refused:?}");
}

/// What a layer may ask of its site when the engine makes it.
#[derive(Default)]
struct Curious {
    spawned: Arc<AtomicBool>,
}

impl Watch for Curious {}

impl Gate<Request> for Curious {
    fn admit(&self, _: &mut Request, _: &At) -> Result<Option<Ticket>, Rejection> {
        if self.spawned.load(Ordering::Acquire) { Ok(None) } else { Err(Rejection::new(Kind::Forbidden)) }
    }
}

#[tokio::test]
async fn a_layer_may_spawn_and_call_a_cluster_by_name() {
    let mut layers = Layers::none();
    layers.http.gate("curious", "Spawns", |_: NoSettings, _, site| {
        let curious = Arc::new(Curious::default());
        let spawned = curious.spawned.clone();
        site.spawn(async move { spawned.store(true, Ordering::Release) });
        curious
    });
    layers.http.made(
        "elsewhere",
        "Sends every request to another cluster",
        |_| mesh_core::pipeline::Shape::Layer,
        |_: NoSettings, _, site| {
            let site = site.clone();
            let elsewhere = tower_layer_fn(move || site.cluster("backup").expect("the engine has it"));
            (mesh_core::pipeline::stateless(), mesh_core::pipeline::Made::Layer(elsewhere))
        },
    );
    let text = "workers: 1
listeners:
  web: { bind: \"127.0.0.1:0\", pipeline: [ curious, elsewhere ], routes: [ { respond: { body: here } } ] }
  there: { bind: \"127.0.0.1:PORT\", routes: [ { respond: { body: there } } ] }
clusters:
  backup: { discovery: { static: [ \"127.0.0.1:PORT\" ] } }
";
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let text = text.replace("PORT", &port.to_string());
    let checked = |text: &str, layers: &Layers| plan(text, layers).expect("good");
    let engine = Engine::start(checked(&text, &layers)).expect("started");
    let address = engine.listeners().next().expect("two").1.as_tcp().expect("TCP");
    tokio::task::yield_now().await;
    let mut client = Client::open(address);
    let mut client = on_a_thread(move || {
        assert_eq!(client.get("/"), (200, "there".into()));
        client
    })
    .await;
    // the layer goes on as it is, and finds the cluster that took the place of the one it knew
    let report =
        engine.reload(checked(&text.replace("] } }", "] }, load_balancer: random }"), &layers)).expect("taken");
    assert_eq!(report.clusters.changed, ["backup"]);
    assert_eq!(report.layers.count(Fate::Kept), 2);
    for _ in 0..2 {
        client = on_a_thread(move || {
            assert_eq!(client.get("/"), (200, "there".into()));
            client
        })
        .await;
        // the old one is gone by and by
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
}

/// Lets pass what has the attribute with this value.
struct Only {
    attribute: Attribute<Request>,
    value: &'static [u8],
}

impl Watch for Only {}

impl Gate<Request> for Only {
    fn admit(&self, request: &mut Request, _: &At) -> Result<Option<Ticket>, Rejection> {
        match self.attribute.first(request, |value| value == self.value) {
            Some(true) => Ok(None),
            _ => Err(Rejection::new(Kind::Forbidden)),
        }
    }
}

#[tokio::test]
async fn layers_behind_the_router_see_its_template() {
    let mut layers = Layers::none();
    for (name, attribute, value) in [("only_7", "path.id", "7"), ("only_users", "template", "/users/{id}")] {
        layers.http.gate(name, "Lets pass what a route matched so", move |_: NoSettings, _, site| {
            let attribute = site.attribute(attribute).expect("known behind a router");
            Arc::new(Only { attribute, value: value.as_bytes() })
        });
    }
    let text = "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: { template: \"/users/{id}\" } }, pipeline: [ only_7, only_users ], respond: { body: user } }
      - { pipeline: [ only_users ], respond: { body: other } }
";
    let engine = Engine::start(plan(text, &layers).expect("good")).expect("started");
    let address = engine.listeners().next().expect("one").1.as_tcp().expect("TCP");
    on_a_thread(move || {
        let mut client = Client::open(address);
        assert_eq!(client.get("/users/7"), (200, "user".into()));
        assert_eq!(client.get("/users/8").0, 403);
        // a route without a template, on the same connection
        assert_eq!(client.get("/other").0, 403);
    })
    .await;
    engine.shutdown(Duration::ZERO, Duration::from_secs(5)).await;
}

/// A layer that replaces what is below it.
fn tower_layer_fn(
    stage: impl Fn() -> mesh_core::Stage<mesh_proxy::Http> + Send + Sync + 'static,
) -> Arc<dyn mesh_core::pipeline::ApplyLayer<mesh_proxy::Http>> {
    struct Replace<F>(F);
    impl<F> mesh_core::pipeline::ApplyLayer<mesh_proxy::Http> for Replace<F>
    where
        F: Fn() -> mesh_core::Stage<mesh_proxy::Http> + Send + Sync,
    {
        fn apply(
            &self,
            _: mesh_core::Name,
            _: mesh_core::Stage<mesh_proxy::Http>,
        ) -> mesh_core::Stage<mesh_proxy::Http> {
            (self.0)()
        }
    }
    Arc::new(Replace(stage))
}
