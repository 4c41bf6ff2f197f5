//! Against a real server, dnsmasq (feature `interop`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::{DriverHandle, EndpointSet, Endpoints};
use mesh_discovery::Discovery;
use mesh_discovery_dns::{Dns, DnsSettings, Family};
use std::{
    env, fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long something is waited for that has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// dnsmasq on a port of its own, with one zone; its hosts are in a file.
struct Server {
    child: Option<Child>,
    address: SocketAddr,
    hosts: PathBuf,
    /// What it knows all of.
    zone: &'static str,
}

impl Server {
    fn new() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        assert!(
            dirs.any(|dir| dir.join("dnsmasq").is_file()),
            "dnsmasq is missing: run `cargo xtask setup`, which installs the peers"
        );
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mesh-dns-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        Self { child: None, address: free_port(), hosts: env::temp_dir().join(name), zone: "test" }
    }

    /// Starts it, or starts it anew with other records, at the same address.
    fn start(&mut self, hosts: &str, options: &[&str]) {
        self.stop();
        fs::write(&self.hosts, hosts).unwrap();
        let mut command = Command::new("dnsmasq");
        command
            .env("PATH", format!("{}:/usr/sbin", env::var("PATH").unwrap_or_default()))
            .args(["--keep-in-foreground", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-resolv"])
            .args(["--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1"])
            .arg(format!("--local=/{}/", self.zone))
            .arg(format!("--port={}", self.address.port()))
            .arg(format!("--addn-hosts={}", self.hosts.display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// Other hosts, read without a restart.
    fn reload(&self, hosts: &str) {
        fs::write(&self.hosts, hosts).unwrap();
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn settings(&self, settings: DnsSettings) -> DnsSettings {
        let timeout = Duration::from_millis(500);
        DnsSettings { server: Some(self.address), min_ttl: Duration::from_millis(100), timeout, ..settings }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_file(&self.hosts);
    }
}

/// Free for UDP and for TCP.
fn free_port() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A set that is waited for.
struct Seen {
    endpoints: Endpoints,
    changes: watch::Receiver<Arc<EndpointSet>>,
    _subscription: mesh_core::Subscription,
    _driver: DriverHandle,
}

impl Seen {
    fn of(settings: DnsSettings) -> Self {
        let (endpoints, driver) = Endpoints::new(Dns::new(settings).updates());
        let (tell, changes) = watch::channel(endpoints.load());
        let _subscription = endpoints.subscribe(move |set| drop(tell.send(set.clone())));
        Self { endpoints, changes, _subscription, _driver: driver.spawn() }
    }

    /// Waits until the endpoints are these, as `ADDRESS*WEIGHT`.
    async fn until(&mut self, expected: &[&str]) {
        let reached = self.changes.wait_for(|set| set.is_resolved() && shown(set) == expected);
        let reached = tokio::time::timeout(PATIENCE, reached).await.map(drop);
        assert!(reached.is_ok(), "{:?}, not {expected:?}", shown(&self.endpoints.load()));
    }

    fn now(&self) -> Vec<String> {
        shown(&self.endpoints.load())
    }
}

fn shown(set: &EndpointSet) -> Vec<String> {
    let one = |endpoint: &Arc<mesh_core::Endpoint>| match endpoint.weight() {
        1 => endpoint.address().to_string(),
        weight => format!("{}*{weight}", endpoint.address()),
    };
    set.endpoints().iter().map(one).collect()
}

#[tokio::test]
async fn addresses_that_change() {
    let mut server = Server::new();
    server.start("127.0.0.3 orders.test\n127.0.0.2 orders.test\n", &["--local-ttl=1"]);
    let mut seen = Seen::of(server.settings(DnsSettings::host("orders.test", 8080)));
    seen.until(&["127.0.0.2:8080", "127.0.0.3:8080"]).await;
    let kept = seen.endpoints.load().endpoints()[0].id();
    server.reload("127.0.0.4 orders.test\n127.0.0.2 orders.test\n");
    seen.until(&["127.0.0.2:8080", "127.0.0.4:8080"]).await;
    assert_eq!(seen.endpoints.load().endpoints()[0].id(), kept);
    let many: Vec<String> = (1..=100).map(|n| format!("127.0.1.{n}")).collect();
    // too long for UDP: by TCP
    server.reload(&many.iter().map(|ip| format!("{ip} orders.test\n")).collect::<String>());
    let expected: Vec<String> = many.iter().map(|ip| format!("{ip}:8080")).collect();
    seen.until(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn both_families() {
    let mut server = Server::new();
    server.start("127.0.0.2 orders.test\nfd00::2 orders.test\nfd00::3 six.test\n", &["--local-ttl=1"]);
    let settings = |name: &str, family| server.settings(DnsSettings { family, ..DnsSettings::host(name, 80) });
    Seen::of(settings("orders.test", Family::Both)).until(&["127.0.0.2:80", "[fd00::2]:80"]).await;
    Seen::of(settings("orders.test", Family::PreferIp4)).until(&["127.0.0.2:80"]).await;
    Seen::of(settings("orders.test", Family::Ip6)).until(&["[fd00::2]:80"]).await;
    Seen::of(settings("six.test", Family::PreferIp4)).until(&["[fd00::3]:80"]).await;
    Seen::of(settings("six.test", Family::Ip4)).until(&[]).await;
}

#[tokio::test]
async fn services_that_change() {
    let mut server = Server::new();
    let hosts = "127.0.0.2 a.test\n127.0.0.3 b.test\n127.0.0.4 c.test\n";
    let first = [
        "--local-ttl=1",
        "--srv-host=_grpc._tcp.orders.test,a.test,50051,10,5",
        "--srv-host=_grpc._tcp.orders.test,b.test,50052,10,1",
        "--srv-host=_grpc._tcp.orders.test,c.test,50053,20,1",
    ];
    server.start(hosts, &first);
    let mut seen = Seen::of(server.settings(DnsSettings::srv("_grpc._tcp.orders.test")));
    seen.until(&["127.0.0.2:50051*5", "127.0.0.3:50052"]).await;
    // the address of a target
    server.reload("127.0.0.9 a.test\n127.0.0.3 b.test\n127.0.0.4 c.test\n");
    seen.until(&["127.0.0.3:50052", "127.0.0.9:50051*5"]).await;
    // the records themselves; in between nobody answers
    server.start(hosts, &["--local-ttl=1", "--srv-host=_grpc._tcp.orders.test,c.test,50053,20,7"]);
    seen.until(&["127.0.0.4:50053*7"]).await;
}

#[tokio::test]
async fn a_server_that_is_down_hangs_or_refuses_changes_nothing() {
    let failures = Failures::default();
    let _guard = tracing::subscriber::set_default(failures.clone());
    let mut server = Server::new();
    // an answer that there are none would show at once
    let settings = DnsSettings { grace: Duration::ZERO, ..DnsSettings::host("orders.test", 80) };
    let mut seen = Seen::of(server.settings(settings));
    failures.until(1).await;
    server.start("127.0.0.2 orders.test\n", &["--local-ttl=1"]);
    seen.until(&["127.0.0.2:80"]).await;
    server.stop();
    failures.until(2).await;
    assert_eq!(seen.now(), ["127.0.0.2:80"]);
    server.start("127.0.0.3 orders.test\n", &["--local-ttl=1"]);
    seen.until(&["127.0.0.3:80"]).await;
    server.signal("-STOP");
    failures.until(3).await;
    assert_eq!(seen.now(), ["127.0.0.3:80"]);
    server.reload("127.0.0.4 orders.test\n");
    server.signal("-CONT");
    seen.until(&["127.0.0.4:80"]).await;
    // one that knows nothing of the zone, and nobody whom it could ask
    server.zone = "elsewhere";
    server.start("127.0.0.4 orders.elsewhere\n", &["--local-ttl=1"]);
    failures.until(4).await;
    assert_eq!(seen.now(), ["127.0.0.4:80"]);
    server.zone = "test";
    server.start("127.0.0.5 orders.test\n", &["--local-ttl=1"]);
    seen.until(&["127.0.0.5:80"]).await;
}

/// Counts how often the source says that DNS begins to fail.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicU32>);

impl Failures {
    async fn until(&self, count: u32) {
        let reached = async {
            while self.0.load(Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{} failures, not {count}", self.0.load(Relaxed));
    }
}

impl tracing::Subscriber for Failures {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("mesh_discovery_dns")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().fields().field("error").is_some() {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_name_that_goes_keeps_its_endpoints_for_the_grace() {
    let mut server = Server::new();
    server.start("127.0.0.2 orders.test\n", &["--local-ttl=1", "--neg-ttl=1"]);
    let grace = Duration::from_secs(3);
    let settings = DnsSettings { grace, ..DnsSettings::host("orders.test", 80) };
    let mut seen = Seen::of(server.settings(settings));
    seen.until(&["127.0.0.2:80"]).await;
    let gone = Instant::now();
    server.reload("");
    seen.until(&[]).await;
    assert!(gone.elapsed() >= grace);
    server.reload("127.0.0.2 orders.test\n");
    seen.until(&["127.0.0.2:80"]).await;
    // and one that never was there has none at once
    let settings = DnsSettings { grace: 100 * PATIENCE, ..DnsSettings::host("nobody.test", 80) };
    Seen::of(server.settings(settings)).until(&[]).await;
}

#[tokio::test]
async fn the_ttl_says_when_it_is_asked_again() {
    let mut server = Server::new();
    let start = |server: &mut Server, ip: &str, ttl: u32| {
        server.start(&format!("{ip} orders.test\n"), &[&format!("--local-ttl={ttl}")]);
    };
    start(&mut server, "127.0.0.2", 3);
    let began = Instant::now();
    let mut seen = Seen::of(server.settings(DnsSettings::host("orders.test", 80)));
    seen.until(&["127.0.0.2:80"]).await;
    // what changes meanwhile is seen when the TTL is over, not earlier
    server.reload("127.0.0.3 orders.test\n");
    seen.until(&["127.0.0.3:80"]).await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    // the ceiling holds against a long one
    start(&mut server, "127.0.0.4", 3600);
    let settings = DnsSettings { max_ttl: Duration::from_secs(1), ..DnsSettings::host("orders.test", 80) };
    let mut short = Seen::of(server.settings(settings));
    short.until(&["127.0.0.4:80"]).await;
    server.reload("127.0.0.5 orders.test\n");
    short.until(&["127.0.0.5:80"]).await;
}
