//! A listener's sockets, and how its connections are served.

use super::{
    config::ListenerConfig,
    newest::Current,
    worker::{WorkerListener, Workers},
};
use crate::spec::{DrainOrder, Forwarded, ListenerProtocol, ListenerSpec, RequestId};
use mesh_codec_http::{
    forward,
    server::{Options, Protocol, Server},
};
use mesh_core::{Name, spec::Node};
use mesh_net::{BindError, Drain, ListenOptions, Listeners};
use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

/// Sockets that are open, one for each worker.
#[derive(Debug)]
pub(super) struct Binding {
    /// The listener they serve at the moment.
    pub(super) name: String,
    /// What the spec says.
    bind: SocketAddr,
    /// Where they really are.
    pub(super) address: SocketAddr,
    pub(super) order: DrainOrder,
    settings: Settings,
    accepting: Drain,
    current: Arc<Current>,
}

/// How the connections of a socket are served. A change of it is for new connections; the old ones end with their
/// requests.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) server: Server,
    pub(super) drain: Drain,
}

/// What of a listener holds for the life of a connection: everything but what each request takes anew, and the socket.
#[derive(Debug, PartialEq)]
struct Settings(Vec<(String, Node)>);

impl Settings {
    fn of(name: &str, node: &Node) -> Self {
        let anew = ["bind", "drain", "pipeline", "routes"];
        let entries = node.entries().iter().filter(|(key, _)| !anew.contains(&key.name.as_str()));
        let mut entries: Vec<_> = entries.map(|(key, node)| (key.name.clone(), node.clone())).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.push((String::new(), Node::from(serde_json::Value::from(name))));
        Self(entries)
    }
}

impl Binding {
    /// Has the workers accept connections.
    pub(super) fn open(
        sockets: Listeners,
        spec: &ListenerSpec,
        node: &Node,
        config: Arc<ListenerConfig>,
        workers: &Workers,
    ) -> Self {
        let (accepting, address) = (Drain::new(), sockets.local_addr());
        let current = Arc::new(Current::new(config, Serving::new(spec)));
        workers.listen(sockets, |socket| WorkerListener {
            name: Name::intern(&spec.name),
            socket,
            current: current.clone(),
            guard: accepting.watch().guard(),
        });
        Self {
            name: spec.name.clone(),
            bind: spec.bind.value,
            address,
            order: spec.drain,
            settings: Settings::of(&spec.name, node),
            accepting,
            current,
        }
    }

    /// Whether a listener can go on with these sockets.
    pub(super) fn fits(&self, spec: &ListenerSpec) -> bool {
        // any free port is the listener's own, any other address whoever has it next
        self.bind == spec.bind.value && (self.bind.port() != 0 || self.name == spec.name)
    }

    /// Takes another configuration. Gives the drain of the connections that were made before, if these have to end:
    /// what holds for their lives has changed.
    #[must_use]
    pub(super) fn follow(&mut self, spec: &ListenerSpec, node: &Node, config: Arc<ListenerConfig>) -> Option<Drain> {
        self.current.set_config(config);
        self.name.clone_from(&spec.name);
        self.order = spec.drain;
        let settings = Settings::of(&spec.name, node);
        if settings == self.settings {
            return None;
        }
        self.settings = settings;
        let before = self.current.serving();
        self.current.set_serving(Serving::new(spec));
        Some(before.drain.clone())
    }

    /// Stops accepting, and has connections end with their requests, or at the end of `timeout`. What is to be waited
    /// for.
    pub(super) fn close(&self, timeout: Duration) -> [Drain; 2] {
        let drains = [self.accepting.clone(), self.current.serving().drain.clone()];
        drains.iter().for_each(|drain| _ = drain.start(timeout));
        drains
    }
}

impl Serving {
    fn new(spec: &ListenerSpec) -> Self {
        Self { server: server(spec), drain: Drain::new() }
    }
}

/// The sockets of a listener.
pub(super) fn bind(spec: &ListenerSpec, workers: NonZeroUsize) -> Result<Listeners, BindError> {
    ListenOptions::default().bind(spec.bind.value, workers)
}

/// The server of a listener: what of it does not change while a connection lives.
fn server(spec: &ListenerSpec) -> Server {
    Server::new(Options {
        listener: Name::intern(&spec.name),
        protocol: match spec.protocol {
            ListenerProtocol::Http => Protocol::Http,
            ListenerProtocol::Http1 => Protocol::Http1,
            ListenerProtocol::Http2 => Protocol::Http2,
            ListenerProtocol::Grpc => Protocol::Grpc,
        },
        forwarded: match spec.forwarded {
            Forwarded::Append => forward::Forwarded::Append,
            Forwarded::Off => forward::Forwarded::Off,
        },
        request_id: match spec.request_id {
            RequestId::Keep => forward::RequestId::Keep,
            RequestId::Off => forward::RequestId::Off,
        },
        ..Options::default()
    })
}
