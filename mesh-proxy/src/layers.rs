use mesh_codec_dubbo::Dubbo;
use mesh_codec_http::Http;
use mesh_core::{Protocol, Registry};
use mesh_discovery::Sources;
use mesh_net::Connection;

/// The layers that specs may name, for each protocol, and the sources of endpoints. A layer of one's own is one line:
///
/// ```
/// use mesh_core::{Kind, Rejection, gate_fn, pipeline::NoSettings};
/// use mesh_proxy::{Layers, Request};
/// use std::sync::Arc;
///
/// let mut layers = Layers::stock();
/// layers.http.gate("no_robots", "Refuses robots", |_: NoSettings, _, _| {
///     Arc::new(gate_fn(|request: &mut Request| match request.headers().get("user-agent") {
///         Some(agent) if agent.as_bytes().starts_with(b"robot") => Err(Rejection::new(Kind::Forbidden)),
///         _ => Ok(()),
///     }))
/// });
/// ```
#[derive(Debug, Default)]
pub struct Layers {
    /// For HTTP, gRPC included.
    pub http: Registry<Http>,
    /// For Dubbo.
    pub dubbo: Registry<Dubbo>,
    /// For connections that are relayed.
    pub tcp: Registry<Connection>,
    /// Where endpoints may come from.
    pub discovery: Sources,
}

impl Layers {
    /// No layers, and the sources that need nothing but the spec.
    pub fn none() -> Self {
        let mut layers = Self::default();
        mesh_discovery::register(&mut layers.discovery);
        #[cfg(feature = "file")]
        mesh_discovery::register_file(&mut layers.discovery, |text| crate::read::read_node(text)?.deserialize());
        layers
    }

    /// The stock layers and sources that this crate was built with; each is a feature.
    pub fn stock() -> Self {
        let mut layers = Self::none();
        #[cfg(feature = "dns")]
        mesh_discovery_dns::register(&mut layers.discovery);
        #[cfg(feature = "etcd")]
        mesh_discovery_etcd::register(&mut layers.discovery);
        register(&mut layers.http);
        register(&mut layers.dubbo);
        // those that need nothing of a request but that it comes and ends
        let tcp = &mut layers.tcp;
        #[cfg(feature = "access-log")]
        mesh_access_log::register(tcp);
        #[cfg(feature = "circuit-breaker")]
        mesh_circuit_breaker::register(tcp);
        #[cfg(feature = "concurrency-limit")]
        mesh_concurrency_limit::register(tcp);
        #[cfg(feature = "metrics")]
        mesh_metrics::register(tcp);
        #[cfg(feature = "rate-limit")]
        mesh_rate_limit::register(tcp);
        #[cfg(feature = "retry")]
        mesh_retry::register(tcp);
        #[cfg(feature = "timeout")]
        mesh_timeout::register(tcp);
        let _ = tcp;
        layers
    }
}

/// Those for requests, of whatever protocol.
fn register<P: Protocol>(layers: &mut Registry<P>) {
    #[cfg(feature = "access-log")]
    mesh_access_log::register(layers);
    #[cfg(feature = "circuit-breaker")]
    mesh_circuit_breaker::register(layers);
    #[cfg(feature = "concurrency-limit")]
    mesh_concurrency_limit::register(layers);
    #[cfg(feature = "fault-injection")]
    mesh_fault_injection::register(layers);
    #[cfg(feature = "metrics")]
    mesh_metrics::register(layers);
    #[cfg(feature = "rate-limit")]
    mesh_rate_limit::register(layers);
    #[cfg(feature = "retry")]
    mesh_retry::register(layers);
    #[cfg(feature = "timeout")]
    mesh_timeout::register(layers);
    #[cfg(feature = "trace")]
    mesh_trace::register(layers);
    let _ = layers;
}
