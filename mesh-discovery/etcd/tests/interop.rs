//! Discovery and registration with a real etcd, which each test starts, breaks and stops.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/member.rs"]
#[allow(dead_code, reason = "its `main` reads arguments")]
mod member;
mod support;

use mesh_core::{Address, EndpointSet, Endpoints, Target};
use mesh_discovery::{Discovery, Registrar};
use mesh_discovery_etcd::{Etcd, EtcdRegistrar, EtcdRegistrarSettings, EtcdSettings};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use support::{PATIENCE, Peer, free_port, url};
use tokio::task::JoinHandle;

const PREFIX: &str = "/services/orders/";

/// One who follows the prefix, and never sees the set without `always`.
struct Follower {
    endpoints: Endpoints,
    driver: JoinHandle<()>,
}

impl Follower {
    fn new(settings: EtcdSettings) -> Self {
        let (endpoints, driver) = Endpoints::new(Etcd::new(settings).unwrap().updates());
        Self { endpoints, driver: tokio::spawn(driver) }
    }

    fn of(peer: &Peer) -> Self {
        Self::new(EtcdSettings { grace: Duration::from_secs(1), ..EtcdSettings::new([peer.url()], PREFIX) })
    }

    fn ports(&self) -> BTreeSet<u16> {
        ports(&self.endpoints.load())
    }

    /// Waits until exactly these are known.
    async fn sees(&self, wanted: &[u16]) {
        let wanted = wanted.iter().copied().collect();
        let seen =
            async || until(|| (self.ports() == wanted && self.endpoints.load().is_resolved()).then_some(())).await;
        if tokio::time::timeout(PATIENCE, seen()).await.is_err() {
            panic!("wanted {wanted:?}, have {:?}", self.ports());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn ports(set: &Arc<EndpointSet>) -> BTreeSet<u16> {
    let port = |address: &Address| match address {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => 0,
    };
    set.endpoints().iter().map(|endpoint| port(endpoint.address())).collect()
}

/// Asks until there is an answer; who calls has the patience.
async fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        match ask() {
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}"))
}

fn key(port: u16) -> String {
    format!("{PREFIX}{port}")
}

fn address(port: u16) -> String {
    format!("10.0.0.1:{port}")
}

fn put(peer: &Peer, ports: &[u16]) {
    ports.iter().for_each(|port| peer.put(&key(*port), &address(*port)));
}

/// Short of life, as far as etcd allows.
fn registrar(peer: &Peer) -> EtcdRegistrar {
    let settings =
        EtcdRegistrarSettings { ttl: Duration::from_secs(2), ..EtcdRegistrarSettings::new([peer.url()], PREFIX) };
    EtcdRegistrar::new(settings).unwrap()
}

fn instance(port: u16) -> Target {
    Target::new(address(port).parse::<Address>().unwrap()).with_weight(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_added_changed_and_removed() {
    let peer = Peer::start();
    put(&peer, &[1, 2]);
    peer.put("/services/orders-old/9", "10.0.0.1:9");
    let follower = Follower::of(&peer);
    follower.sees(&[1, 2]).await;

    put(&peer, &[3]);
    follower.sees(&[1, 2, 3]).await;
    let json = r#"{"address":"10.0.0.1:1","weight":7,"zone":"a","metadata":{"version":"2"}}"#;
    peer.put(&key(1), json);
    let changed = until(|| {
        let set = follower.endpoints.load();
        set.endpoints().iter().find(|endpoint| endpoint.weight() == 7).cloned()
    });
    let changed = patiently("a new weight", changed).await;
    assert_eq!(changed.target().zone.as_deref(), Some("a"));
    assert_eq!(changed.target().metadata["version"], "2");

    peer.put(&key(4), "no endpoint");
    peer.put(&key(2), "10.0.0.1:22");
    follower.sees(&[1, 22, 3]).await;
    peer.delete(&key(3));
    follower.sees(&[1, 22]).await;
    peer.ctl(["del", "--prefix", PREFIX]);
    follower.sees(&[]).await;
    put(&peer, &[5]);
    follower.sees(&[5]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_keys_than_one_answer_holds() {
    let peer = Peer::start();
    let ports: Vec<u16> = (1..=2500).collect();
    for chunk in ports.chunks(100) {
        // one transaction: no condition, these puts, no else
        let puts: String = chunk.iter().map(|port| format!("put {} {}\n", key(*port), address(*port))).collect();
        peer.transaction(&format!("\n{puts}\n\n"));
    }
    Follower::of(&peer).sees(&ports).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_set_outlives_a_crash_and_what_changed_meanwhile_is_seen() {
    let mut peer = Peer::start();
    put(&peer, &[1, 2, 3]);
    let follower = Follower::of(&peer);
    follower.sees(&[1, 2, 3]).await;
    let version = follower.endpoints.load().version();

    peer.kill();
    peer.restart();
    assert_eq!(follower.endpoints.load().version(), version, "nothing has changed");
    peer.delete(&key(2));
    put(&peer, &[4]);
    let revision = peer.revision().to_string();
    peer.ctl(["compact", &revision]);
    follower.sees(&[1, 3, 4]).await;
    put(&peer, &[5]);
    follower.sees(&[1, 3, 4, 5]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_comes_back_empty_takes_nothing_away() {
    let mut peer = Peer::start();
    put(&peer, &[1, 2, 3]);
    let follower = Follower::of(&peer);
    follower.sees(&[1, 2, 3]).await;
    let version = follower.endpoints.load().version();

    peer.restart_empty();
    put(&peer, &[4]);
    follower.sees(&[1, 2, 3, 4]).await; // so it has heard of the empty one
    assert_eq!(follower.endpoints.load().version(), version + 1, "nothing went in between");
    put(&peer, &[1]);
    follower.sees(&[1, 4]).await; // the others after the grace
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_changes_nothing_and_ends() {
    let peer = Peer::start();
    put(&peer, &[1, 2]);
    let follower = Follower::of(&peer);
    follower.sees(&[1, 2]).await;
    let version = follower.endpoints.load().version();

    peer.pause();
    let newcomer = Follower::of(&peer);
    // longer than the ping, so the connection is given up; it is the time itself that is tested
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert_eq!(follower.endpoints.load().version(), version);
    assert!(!newcomer.endpoints.load().is_resolved(), "silence is no answer");
    peer.resume();
    put(&peer, &[3]);
    follower.sees(&[1, 2, 3]).await;
    newcomer.sees(&[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_member_of_a_cluster_hangs_changes_are_seen() {
    let cluster = Peer::cluster();
    let follower = Follower::new(EtcdSettings::new(cluster.iter().map(Peer::url), PREFIX));
    follower.sees(&[]).await;
    for (at, member) in cluster.iter().enumerate() {
        let (other, port) = (&cluster[(at + 1) % cluster.len()], at as u16 + 1);
        member.pause();
        let begun = std::time::Instant::now();
        put(other, &[port]);
        follower.sees(&(1..=port).collect::<Vec<_>>()).await;
        member.resume();
        if begun.elapsed() > Duration::from_secs(5) {
            break; // it was the one in use; the others would only take their time
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_asked_when_one_is_dead() {
    let peer = Peer::start();
    put(&peer, &[1]);
    for _ in 0..4 {
        let servers = [url(free_port()), peer.url(), url(free_port())];
        Follower::new(EtcdSettings::new(servers, PREFIX)).sees(&[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_logs_in() {
    let peer = Peer::start();
    put(&peer, &[1]);
    peer.ctl(["user", "add", "root:secret"]);
    peer.ctl(["user", "grant-role", "root", "root"]);
    peer.ctl(["auth", "enable"]);
    let login = EtcdSettings {
        user: Some("root".into()),
        password: Some("secret".into()),
        ..EtcdSettings::new([peer.url()], PREFIX)
    };
    let stranger = Follower::of(&peer);
    let follower = Follower::new(login);
    follower.sees(&[1]).await;
    let settings = EtcdRegistrarSettings {
        user: Some("root".into()),
        password: Some("secret".into()),
        ..EtcdRegistrarSettings::new([peer.url()], PREFIX)
    };
    let registration = EtcdRegistrar::new(settings).unwrap().register(instance(2));
    follower.sees(&[1, 2]).await;
    registration.deregister().await;
    follower.sees(&[1]).await;
    assert!(!stranger.endpoints.load().is_resolved(), "a refusal is no answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_appears_stays_and_goes() {
    let peer = Peer::start();
    let follower = Follower::of(&peer);
    follower.sees(&[]).await;
    let registration = registrar(&peer).register(instance(1));
    follower.sees(&[1]).await;
    assert_eq!(follower.endpoints.load().endpoints()[0].weight(), 3);
    assert_eq!(peer.value(&format!("{PREFIX}10.0.0.1:1")).unwrap(), r#"{"address":"10.0.0.1:1","weight":3}"#);
    let lease = peer.leases();
    assert_eq!(lease.len(), 1, "{lease:?}");

    // three lives of the lease: it is the time itself that is tested
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((follower.ports(), peer.leases()), ([1].into(), lease));
    registration.deregister().await;
    assert_eq!(peer.value(&format!("{PREFIX}10.0.0.1:1")), None, "it is out when that is done");
    assert!(peer.leases().is_empty());
    follower.sees(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_dies_goes_with_the_lease() {
    let peer = Peer::start();
    let follower = Follower::of(&peer);
    let (settings, url) = (registrar(&peer), peer.url());
    let dying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registration = settings.register(instance(1));
            let seen = Follower::new(EtcdSettings::new([url], PREFIX));
            seen.sees(&[1]).await;
            std::mem::forget(registration);
        });
        // the runtime ends, and with it the task that would take it out
    });
    follower.sees(&[1]).await;
    dying.join().unwrap();
    follower.sees(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_comes_back_by_itself() {
    let mut peer = Peer::start();
    let registration = registrar(&peer).register(instance(1));
    let key = format!("{PREFIX}10.0.0.1:1");
    let there = async |peer: &Peer, what: &str| {
        patiently(what, until(|| peer.value(&key))).await;
    };
    there(&peer, "registered").await;
    peer.restart();
    there(&peer, "after a crash").await;
    peer.restart_empty();
    there(&peer, "after a loss of all data").await;

    let lease = peer.leases().remove(0);
    peer.ctl(["lease", "revoke", &lease]);
    there(&peer, "after its lease was taken").await;

    peer.kill();
    let begun = std::time::Instant::now();
    registration.deregister().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "leaving is bounded");
}

#[tokio::test]
async fn the_example_runs() {
    let peer = Peer::start();
    let url = peer.url();
    patiently("the example ends", member::run(&url, PREFIX, instance(1).address, 1)).await.unwrap();
    assert_eq!(peer.value(&format!("{PREFIX}10.0.0.1:1")), None, "it has left");
}
