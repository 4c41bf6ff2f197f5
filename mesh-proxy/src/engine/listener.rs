//! A listener's sockets, and how its connections are served.

use super::{
    config::ListenerConfig,
    newest::Current,
    worker::{WorkerListener, Workers},
};
use crate::spec::{BindSpec, DrainOrder, DubboSpec, Forwarded, ListenerProtocol, ListenerSpec, RequestId};
use mesh_codec_dubbo::server as dubbo;
use mesh_codec_http::{
    forward,
    server::{Options, Protocol, Server},
};
use mesh_core::{Address, Name, spec::Node, units::Size};
use mesh_net::{BindError, Drain, ListenOptions, Listener};
use std::{
    fs::{Permissions, set_permissions},
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Weak},
    time::Duration,
};

/// The sockets of a listener, which listen.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Where; the port is never 0.
    pub(crate) address: Address,
    /// One for each worker; of a Unix socket one.
    pub(crate) sockets: Vec<Listener>,
}

/// Opens the sockets of a listener.
pub(crate) fn bind(spec: &BindSpec, workers: NonZeroUsize) -> Result<Bound, BindError> {
    let options = ListenOptions::default();
    match &spec.address {
        Address::Tcp(address) => {
            let listeners = options.bind(*address, workers)?;
            let address = listeners.local_addr().into();
            Ok(Bound { address, sockets: listeners.into_iter().map(Listener::from).collect() })
        }
        Address::Unix(path) => {
            let socket = options.bind_unix(path, spec.mode)?;
            Ok(Bound { address: spec.address.clone(), sockets: vec![socket.into()] })
        }
    }
}

/// Sockets that are open, one for each worker.
#[derive(Debug)]
pub(super) struct Binding {
    /// The listener they serve at the moment.
    pub(super) name: String,
    /// What the spec says.
    bind: BindSpec,
    /// Where they really are.
    pub(super) address: Address,
    pub(super) order: DrainOrder,
    settings: Settings,
    accepting: Drain,
    current: Arc<Current>,
}

/// How the connections of a socket are served. A change of it is for new connections; the old ones end with their
/// requests.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) serves: Serves,
    pub(super) drain: Drain,
}

/// What is done with a connection.
#[derive(Debug)]
pub(super) enum Serves {
    Http(Server),
    Dubbo(dubbo::Server),
    /// It is relayed.
    Relay,
}

/// What of a listener holds for the life of a connection: everything but what each request takes anew, and the socket.
#[derive(Debug, PartialEq)]
struct Settings(Vec<(String, Node)>);

impl Settings {
    fn of(name: &str, node: &Node) -> Self {
        let relays = node.get("protocol").and_then(Node::as_str) == Some("tcp");
        let mut anew = vec!["bind", "connection", "drain", "pipeline", "routes"];
        if relays {
            // of each connection as it begins
            anew.extend(["cluster", "timeouts"]);
        }
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
        bound: Bound,
        spec: &ListenerSpec,
        node: &Node,
        config: Arc<ListenerConfig>,
        workers: &Workers,
    ) -> Self {
        let (accepting, Bound { address, sockets }) = (Drain::new(), bound);
        let current = Arc::new_cyclic(|current| Current::new(config, Serving::new(spec, current)));
        workers.listen(sockets, |socket| WorkerListener {
            name: Name::intern(&spec.name),
            socket,
            current: current.clone(),
            guard: accepting.watch().guard(),
        });
        Self {
            name: spec.name.clone(),
            bind: spec.bind.value.clone(),
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
        let is_any = matches!(self.bind.address, Address::Tcp(address) if address.port() == 0);
        self.bind.address == spec.bind.address && (!is_any || self.name == spec.name)
    }

    /// Takes another configuration. Gives the drain of the connections that were made before, if these have to end:
    /// what holds for their lives has changed.
    #[must_use]
    pub(super) fn follow(&mut self, spec: &ListenerSpec, node: &Node, config: Arc<ListenerConfig>) -> Option<Drain> {
        self.current.set_config(config);
        self.name.clone_from(&spec.name);
        self.order = spec.drain;
        if let Address::Unix(path) = &self.address
            && self.bind.mode != spec.bind.mode
        {
            if let Err(error) = set_permissions(path, Permissions::from_mode(spec.bind.mode)) {
                tracing::warn!(listener = spec.name, %error, "the mode of its socket could not be changed");
            }
            self.bind.mode = spec.bind.mode;
        }
        let settings = Settings::of(&spec.name, node);
        if settings == self.settings {
            return None;
        }
        self.settings = settings;
        let before = self.current.serving();
        self.current.set_serving(Serving::new(spec, &Arc::downgrade(&self.current)));
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
    fn new(spec: &ListenerSpec, current: &Weak<Current>) -> Self {
        let serves = match (spec.protocol, &spec.dubbo) {
            (ListenerProtocol::Tcp, _) => Serves::Relay,
            (_, Some(of_dubbo)) => Serves::Dubbo(dubbo_server(spec, of_dubbo)),
            (ListenerProtocol::Http1, _) => Serves::Http(http_server(spec, Protocol::Http1, current)),
            (ListenerProtocol::Http2, _) => Serves::Http(http_server(spec, Protocol::Http2, current)),
            (ListenerProtocol::Grpc, _) => Serves::Http(http_server(spec, Protocol::Grpc, current)),
            _ => Serves::Http(http_server(spec, Protocol::Http, current)),
        };
        Self { serves, drain: Drain::new() }
    }
}

fn dubbo_server(spec: &ListenerSpec, of_dubbo: &DubboSpec) -> dubbo::Server {
    dubbo::Server::new(dubbo::Options {
        listener: Name::intern(&spec.name),
        max_body: of_dubbo.limits.body.as_usize(),
        max_in_flight: of_dubbo.limits.calls.get() as usize,
        heartbeat: Some(of_dubbo.timeouts.heartbeat),
        ..dubbo::Options::default()
    })
}

/// What of the server does not change while a connection lives.
fn http_server(spec: &ListenerSpec, protocol: Protocol, current: &Weak<Current>) -> Server {
    let current = current.clone();
    let server = Server::new(Options {
        listener: Name::intern(&spec.name),
        protocol,
        forwarded: match spec.forwarded {
            Forwarded::Append => forward::Forwarded::Append,
            Forwarded::Replace => forward::Forwarded::Replace,
            Forwarded::Off => forward::Forwarded::Off,
        },
        request_id: match spec.request_id {
            RequestId::Keep => forward::RequestId::Keep,
            RequestId::Always => forward::RequestId::Always,
            RequestId::Off => forward::RequestId::Off,
        },
        trusted_hops: spec.trusted_hops,
        headers: spec.limits.headers,
        header_bytes: spec.limits.header_bytes.as_usize(),
        streams: spec.limits.streams,
        body: spec.limits.body.map(Size::bytes),
        header_timeout: spec.timeouts.header,
        idle_timeout: spec.timeouts.idle,
        max_age: spec.timeouts.max_age,
    });
    server.on_refusal(move |request, rejection| {
        if let Some(current) = current.upgrade() {
            current.refused(request, rejection);
        }
    })
}
