//! A cluster: where its endpoints come from, and the ways to them.

use super::{
    config::AllStates,
    connections::ProcessLimit,
    way::{Entrance, Way},
};
use crate::{
    plan::{PlannedCluster, Use},
    spec::{ClusterSpec, UpstreamProtocol},
};
use mesh_codec_dubbo::{
    Dubbo,
    client::{self, Client},
};
use mesh_codec_http::{
    Http,
    upstream::{self, Upstream, UpstreamOptions},
};
use mesh_core::{
    Endpoint, Endpoints, Name, Target,
    pipeline::{Fate, LayerReport, Spawn, State},
};
use mesh_discovery::{CheckedSource, Discovery as _};
use mesh_net::{Connection, Connector, Dial};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: Name,
    source: Arc<Source>,
    /// As the spec says it.
    load_balancer: serde_json::Value,
    usage: Use,
    /// Of requests over HTTP, where it speaks that.
    http: Option<Way<Http>>,
    /// Of calls, where it speaks Dubbo.
    dubbo: Option<Way<Dubbo>>,
    /// Of connections that are relayed to it.
    tcp: Option<Way<Connection>>,
}

/// Where the endpoints of a cluster come from, and what is known of them. A reload that leaves it as it is shares it.
#[derive(Debug)]
struct Source {
    /// `None`: a spec that is no good is never made.
    checked: Option<CheckedSource>,
    endpoints: Endpoints,
    /// Dropped with the last cluster that has this source, it ends the search.
    _search: Option<oneshot::Sender<()>>,
}

impl Source {
    /// Begins to look, on the control thread. In place of another source it begins with the endpoints of that one.
    fn begin(checked: Option<CheckedSource>, before: Option<&Source>, spawn: &dyn Spawn) -> Self {
        let before = before.map(|before| &before.endpoints);
        let fixed = |targets: &[Target]| match before {
            Some(before) => Endpoints::fixed_after(targets.iter().cloned(), before),
            None => Endpoints::fixed(targets.iter().cloned()),
        };
        let (endpoints, search) = match &checked {
            None => (fixed(&[]), None),
            Some(source) => match source.fixed_targets() {
                Some(targets) => (fixed(targets), None),
                None => {
                    let updates = source.discovery().updates();
                    let (endpoints, driver) = match before {
                        Some(before) => Endpoints::new_after(updates, before),
                        None => Endpoints::new(updates),
                    };
                    let (search, ended) = oneshot::channel::<()>();
                    spawn.spawn(Box::pin(async move {
                        tokio::select! {
                            () = driver => {}
                            _ = ended => {}
                        }
                    }));
                    (endpoints, Some(search))
                }
            },
        };
        Self { checked, endpoints, _search: search }
    }
}

impl Cluster {
    /// Makes a cluster of its spec. What the one of this name `before` had is taken over: its endpoints, those at the same
    /// addresses where they come from elsewhere now, with the state of their layers. The state of its own layers comes
    /// from `previous` and is noted in `next`.
    pub(super) fn make(
        spec: &ClusterSpec,
        planned: &PlannedCluster,
        before: Option<&Cluster>,
        previous: &AllStates,
        next: &mut AllStates,
        spawn: &dyn Spawn,
        process: &Arc<ProcessLimit>,
    ) -> Self {
        let name = Name::intern(&spec.name);
        let source = match before.map(|before| &before.source) {
            Some(source) if source.checked == planned.discovery => source.clone(),
            before => Arc::new(Source::begin(planned.discovery.clone(), before.map(|before| &**before), spawn)),
        };
        let endpoints = &source.endpoints;
        let http_before = before.and_then(|before| before.http.as_ref());
        let http = planned.http.as_ref().map(|planned| {
            let options = upstream_options(spec, name, process);
            let upstream = move |endpoint: &Arc<Endpoint>| Upstream::new(endpoint, options.clone());
            Way::make(spec, planned, endpoints, http_before, &previous.http, &mut next.http, upstream)
        });
        if let (None, Some(gone)) = (&http, http_before) {
            next.http.add_to_report(gone.endpoint_layers(Fate::Removed));
        }
        let dubbo_before = before.and_then(|before| before.dubbo.as_ref());
        let dubbo = planned.dubbo.as_ref().map(|planned| {
            let options = dubbo_options(spec, process);
            let upstream = move |endpoint: &Arc<Endpoint>| Client::new(endpoint, options.clone());
            Way::make(spec, planned, endpoints, dubbo_before, &previous.dubbo, &mut next.dubbo, upstream)
        });
        if let (None, Some(gone)) = (&dubbo, dubbo_before) {
            next.dubbo.add_to_report(gone.endpoint_layers(Fate::Removed));
        }
        let tcp_before = before.and_then(|before| before.tcp.as_ref());
        let timeout = spec.connect.timeout;
        let dial = move |endpoint: &Arc<Endpoint>| Dial::new(endpoint, Connector::default(), timeout);
        let tcp = planned
            .tcp
            .as_ref()
            .map(|planned| Way::make(spec, planned, endpoints, tcp_before, &previous.tcp, &mut next.tcp, dial));
        if let (None, Some(gone)) = (&tcp, tcp_before) {
            next.tcp.add_to_report(gone.endpoint_layers(Fate::Removed));
        }
        let load_balancer = serde_json::to_value(spec.load_balancer).unwrap_or_default();
        Self { name, source, load_balancer, usage: planned.usage, http, dubbo, tcp }
    }

    /// Its name.
    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// Its endpoints.
    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.source.endpoints
    }

    /// How one of them is chosen, as the spec says it.
    pub(super) fn load_balancer(&self) -> &serde_json::Value {
        &self.load_balancer
    }

    /// Who comes to it: its layers are theirs.
    pub(super) fn usage(&self) -> Use {
        self.usage
    }

    /// What a report says of the layers of its endpoints where all have one fate.
    pub(super) fn endpoint_layers(&self, fate: Fate) -> Vec<LayerReport> {
        let http = self.http.iter().flat_map(|way| way.endpoint_layers(fate));
        let dubbo = self.dubbo.iter().flat_map(|way| way.endpoint_layers(fate));
        let tcp = self.tcp.iter().flat_map(|way| way.endpoint_layers(fate));
        http.chain(dubbo).chain(tcp).collect()
    }

    /// The states of its endpoints' layers, to be dropped after all that uses them.
    pub(super) fn endpoint_states(&self) -> Vec<Arc<State>> {
        let http = self.http.iter().flat_map(Way::endpoint_states);
        let dubbo = self.dubbo.iter().flat_map(Way::endpoint_states);
        http.chain(dubbo).chain(self.tcp.iter().flat_map(Way::endpoint_states)).collect()
    }

    /// Where requests over HTTP enter it, if it speaks that.
    pub(super) fn http(self: &Arc<Self>) -> Option<Entrance<Http>> {
        Some(Entrance::new(self.http.as_ref()?.stage(), self.clone()))
    }

    /// Where calls enter it, if it speaks Dubbo.
    pub(super) fn dubbo(self: &Arc<Self>) -> Option<Entrance<Dubbo>> {
        Some(Entrance::new(self.dubbo.as_ref()?.stage(), self.clone()))
    }

    /// Where connections enter it, if there are listeners that relay to it.
    pub(super) fn tcp(self: &Arc<Self>) -> Option<Entrance<Connection>> {
        Some(Entrance::new(self.tcp.as_ref()?.stage(), self.clone()))
    }
}

fn upstream_options(spec: &ClusterSpec, cluster: Name, process: &Arc<ProcessLimit>) -> UpstreamOptions {
    UpstreamOptions {
        protocol: match spec.protocol {
            None => upstream::UpstreamProtocol::AsDownstream,
            Some(UpstreamProtocol::Http1) => upstream::UpstreamProtocol::Http1,
            Some(UpstreamProtocol::Http2) => upstream::UpstreamProtocol::Http2,
            // another way leads to it
            Some(UpstreamProtocol::Dubbo) => upstream::UpstreamProtocol::AsDownstream,
        },
        connect_timeout: spec.connect.timeout,
        idle: spec.connect.idle,
        max_age: spec.connect.max_age,
        max_connections: spec.connect.max_connections.get(),
        max_pending: spec.connect.max_pending,
        cluster,
        connector: process.connector(),
    }
}

fn dubbo_options(spec: &ClusterSpec, process: &Arc<ProcessLimit>) -> client::Options {
    client::Options {
        connect_timeout: spec.connect.timeout,
        max_pending: spec.connect.max_pending as usize,
        connector: process.connector(),
        ..client::Options::default()
    }
}
