use crate::{
    pair,
    upstream_support::{Client, OK, Raw, get, text},
};
use mesh_codec_http::upstream::{Upstream, UpstreamOptions, connections, sweep};
use mesh_core::{Endpoint, Name, Target, time};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::join;
use tower::Service as _;

#[tokio::test]
async fn idle_connections_grow_old() {
    let (server, client) = pair().await;
    let start = time::now();
    let (response, peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(response.unwrap()).await, "ok");
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    sweep(at(1));
    sweep(at(60));
    assert_eq!(client.connections(), (1, 1));
    sweep(at(61));
    assert_eq!(client.connections(), (0, 0));
    assert_eq!(peer.closed().await, b"");
}

/// Changed options close nothing, and hold from their first use on.
#[tokio::test]
async fn options_change_under_a_connection() {
    let server = Raw::bind().await;
    let endpoint = Endpoint::new(Target::new(server.address()));
    let mut upstream = Upstream::new(&endpoint, UpstreamOptions::default());
    let start = time::now();
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let (response, mut peer) = join!(upstream.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer(OK).await;
        peer
    });
    drop(response.unwrap());
    sweep(at(1));
    sweep(at(31));
    assert_eq!(connections(endpoint.id()), (1, 1));
    let options = UpstreamOptions { idle: Duration::from_secs(10), ..UpstreamOptions::default() };
    let mut upstream = Upstream::new(&endpoint, options);
    let (response, _) = join!(upstream.call(get()), peer.answer(OK));
    drop(response.unwrap());
    sweep(at(32));
    assert_eq!(connections(endpoint.id()), (1, 1));
    sweep(at(42));
    assert_eq!(connections(endpoint.id()), (0, 0));
}

#[tokio::test]
async fn an_endpoint_that_left_loses_its_idle_connections() {
    let (server, client) = pair().await;
    let (a, b, (first, mut second)) = join!(client.call(get()), client.call(get()), async {
        let (mut first, mut second) = (server.accept().await, server.accept().await);
        join!(first.head(), second.head());
        first.send(OK).await;
        second.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        (first, second)
    });
    let (a, b) = (a.unwrap(), b.unwrap());
    let (small, large) = if a.headers()["content-length"] == "2" { (a, b) } else { (b, a) };
    assert_eq!(text(small).await, "ok");
    sweep(time::now());
    assert_eq!(client.connections(), (2, 1));
    client.endpoint_leaves();
    assert_eq!(client.connections(), (1, 0));
    first.closed().await;
    let (whole, ()) = join!(text(large), second.send("def"));
    assert_eq!(whole, "abcdef", "what is in flight goes on");
    sweep(time::now());
    assert_eq!(client.connections(), (0, 0));
    second.closed().await;
}

/// The gauges follow the sweeps.
#[tokio::test]
async fn gauges() {
    let recorder = Gauges::default();
    let server = Raw::bind().await;
    let options = UpstreamOptions { cluster: Name::intern("orders"), ..UpstreamOptions::default() };
    let client = metrics::with_local_recorder(&recorder, || Client::with(server.address(), options));
    let at_sweep = || {
        sweep(time::now());
        let gauge = |state| recorder.read(&format!("mesh_upstream_connections cluster=orders state={state}"));
        (gauge("active"), gauge("idle"))
    };
    let (response, mut peer) = join!(client.call(get()), async {
        let mut peer = server.accept().await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc").await;
        peer
    });
    let response = response.unwrap();
    assert_eq!(at_sweep(), (1.0, 0.0));
    let (whole, ()) = join!(text(response), peer.send("def"));
    assert_eq!(whole, "abcdef");
    assert_eq!(at_sweep(), (0.0, 1.0));
    client.endpoint_leaves();
    assert_eq!(at_sweep(), (0.0, 0.0));
}

#[derive(Default)]
struct Gauges(std::sync::Mutex<std::collections::HashMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn read(&self, name: &str) -> f64 {
        f64::from_bits(self.0.lock().unwrap()[name].load(Ordering::Relaxed))
    }
}

impl metrics::Recorder for Gauges {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        let labels: String = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
        let gauge = self.0.lock().unwrap().entry(key.name().to_owned() + &labels).or_default().clone();
        metrics::Gauge::from_arc(gauge)
    }
    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}
