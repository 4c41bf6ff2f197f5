use super::{
    BindSpec, ConnectionLayer, DubboSpec, Faults, LimitsSpec, Pipeline, RelaySpec, RouteSpec, TimeoutsSpec, dubbo,
    limits::{Limits, Timeouts},
    route::AnyRoute,
};
use mesh_core::{
    pipeline::Place,
    spec::{Key, LayerSpec, Node, Position, Spanned},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `listeners.NAME`
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub position: Position,
    /// Where it listens.
    pub bind: Spanned<BindSpec>,
    /// What it speaks. Default `http`.
    pub protocol: ListenerProtocol,
    /// What a connection passes before anything is read of it.
    pub connection: Vec<ConnectionLayer>,
    /// What becomes of `x-forwarded-*`. Default `append`, on Unix sockets `off`.
    pub forwarded: Forwarded,
    /// What becomes of `x-request-id`. Default `keep`.
    pub request_id: RequestId,
    /// How many proxies before this one have a say in who the client is. Default 0.
    pub trusted_hops: usize,
    /// How much a client may ask for over HTTP.
    pub limits: LimitsSpec,
    /// How long a client may take over HTTP.
    pub timeouts: TimeoutsSpec,
    /// What becomes of slashes that follow each other in a path. Default `off`.
    pub merge_slashes: MergeSlashes,
    /// When it ends among the others. Default `normal`.
    pub drain: DrainOrder,
    /// Where it relays to, where its protocol is `tcp`.
    pub relay: Option<RelaySpec>,
    /// Its limits, where its protocol is `dubbo`.
    pub dubbo: Option<DubboSpec>,
    /// The layers before the router, or before the cluster it relays to.
    pub pipeline: Vec<LayerSpec>,
    /// The routes; the first that matches wins.
    pub routes: Vec<RouteSpec>,
}

/// `protocol` of a listener
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 in clear text, told apart by the preface.
    #[default]
    Http,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 in clear text only.
    Http2,
    /// HTTP/2 whose own answers are always gRPC.
    Grpc,
    /// Bytes, relayed to a cluster.
    Tcp,
    /// Calls of Dubbo2.
    Dubbo,
}

/// `forwarded`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forwarded {
    /// The peer's address is appended to `x-forwarded-for`; `x-forwarded-proto` is set where it is absent.
    #[default]
    Append,
    /// What a client claims is dropped, and both are written anew.
    Replace,
    /// They are passed on as they are.
    Off,
}

/// `request_id`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestId {
    /// One is made where there is none.
    #[default]
    Keep,
    /// One is made for every request.
    Always,
    /// It is passed on as it is.
    Off,
}

/// `drain`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainOrder {
    /// At once.
    #[default]
    Normal,
    /// When the connections of all listeners that are `normal` have ended, such as those by which an application
    /// reaches others: it may need them to answer what has come in.
    Last,
}

/// `merge_slashes`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeSlashes {
    /// They stay.
    #[default]
    Off,
    /// They become one before routes are matched, and the upstream gets the path so.
    On,
}

/// A listener: where requests come in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(super) struct Settings {
    /// Where it listens.
    #[schemars(with = "BindSpec")]
    bind: Node,
    /// What it speaks. Default `http`.
    #[schemars(with = "Option<ListenerProtocol>")]
    protocol: Option<Node>,
    /// What a connection passes before anything is read of it.
    #[schemars(with = "Option<Vec<ConnectionLayer>>")]
    connection: Option<Node>,
    /// What becomes of `x-forwarded-*`. Default `append`, on Unix sockets `off`.
    #[schemars(with = "Option<Forwarded>")]
    forwarded: Option<Node>,
    /// What becomes of `x-request-id`. Default `keep`.
    #[schemars(with = "Option<RequestId>")]
    request_id: Option<Node>,
    /// How many of the last addresses in `x-forwarded-for` decide who the client is. Default 0.
    #[schemars(with = "Option<u32>")]
    trusted_hops: Option<Node>,
    /// How large what may be.
    #[schemars(with = "Option<Limits>")]
    limits: Option<Node>,
    /// How long what may take.
    #[schemars(with = "Option<Timeouts>")]
    timeouts: Option<Node>,
    /// What becomes of slashes that follow each other in a path. Default `off`.
    #[schemars(with = "Option<MergeSlashes>")]
    merge_slashes: Option<Node>,
    /// When it ends among the others. Default `normal`.
    #[schemars(with = "Option<DrainOrder>")]
    drain: Option<Node>,
    /// The layers before the router, or before the cluster it relays to.
    #[schemars(with = "Option<Pipeline>")]
    pipeline: Option<Node>,
    /// The routes; the first that matches wins.
    #[schemars(with = "Option<Vec<AnyRoute>>")]
    routes: Option<Node>,
    // read with a relay
    /// The cluster that it relays to, where its protocol is `tcp`.
    #[serde(rename = "cluster")]
    #[schemars(with = "Option<String>")]
    _cluster: Option<Node>,
}

impl ListenerSpec {
    pub(super) fn read(key: &Key, node: &Node, faults: &mut Faults) -> Option<Self> {
        let path = format!("listeners.{}", key.name);
        let settings: Settings = match node.deserialize() {
            Ok(settings) => settings,
            Err(invalid) => {
                faults.found.push(invalid.in_path(&path));
                // its pipeline and routes are told about all the same
                let pipeline = format!("{path}.pipeline");
                let layers = faults.layers(node.get("pipeline"), &pipeline);
                faults.orphan(Place::Listener, layers, pipeline);
                let protocol = node.get("protocol").and_then(|node| node.deserialize().ok()).unwrap_or_default();
                read_routes(protocol, node.get("routes"), &path, faults)
                    .into_iter()
                    .for_each(|route| route.orphan(faults));
                return None;
            }
        };
        let bind = faults.take(BindSpec::read(&settings.bind), &format!("{path}.bind"));
        let of = |part: Option<Node>, name: &str| (part, format!("{path}.{name}"));
        let (protocol, forwarded, request_id, drain, merge_slashes, trusted_hops, limits, timeouts) = (
            of(settings.protocol, "protocol"),
            of(settings.forwarded, "forwarded"),
            of(settings.request_id, "request_id"),
            of(settings.drain, "drain"),
            of(settings.merge_slashes, "merge_slashes"),
            of(settings.trusted_hops, "trusted_hops"),
            of(settings.limits, "limits"),
            of(settings.timeouts, "timeouts"),
        );
        let protocol = read_or_default(&protocol, faults);
        // the peer of a Unix socket has no address to append
        let is_unix = bind.as_ref().is_some_and(|bind| bind.is_unix());
        let forwarded = match forwarded {
            (None, _) if is_unix => Forwarded::Off,
            forwarded => read_or_default(&forwarded, faults),
        };
        let request_id = read_or_default(&request_id, faults);
        let merge_slashes = read_or_default(&merge_slashes, faults);
        let drain = read_or_default(&drain, faults);
        let trusted_hops = read_or_default(&trusted_hops, faults);
        let connection =
            ConnectionLayer::read_list(settings.connection.as_ref(), &format!("{path}.connection"), faults);
        let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
        let is_http = !matches!(protocol, ListenerProtocol::Tcp | ListenerProtocol::Dubbo);
        let routes = read_routes(protocol, settings.routes.as_ref(), &path, faults);
        let (limits, timeouts) = if is_http {
            (read_or_default(&limits, faults), read_or_default(&timeouts, faults))
        } else {
            (LimitsSpec::default(), TimeoutsSpec::default())
        };
        let dubbo = (protocol == ListenerProtocol::Dubbo).then(|| DubboSpec::read(node, &path, faults));
        let relay = (protocol == ListenerProtocol::Tcp).then(|| RelaySpec::read(node, &path, faults)).flatten();
        if protocol != ListenerProtocol::Tcp {
            RelaySpec::refuse(node, &path, faults);
        }
        let Some(bind) = bind else {
            faults.orphan(Place::Listener, pipeline, format!("{path}.pipeline"));
            routes.into_iter().for_each(|route| route.orphan(faults));
            return None;
        };
        Some(Self {
            name: key.name.clone(),
            position: key.position,
            bind,
            protocol,
            connection,
            forwarded,
            request_id,
            trusted_hops,
            limits,
            timeouts,
            merge_slashes,
            drain,
            relay,
            dubbo,
            pipeline,
            routes,
        })
    }
}

fn read_routes(protocol: ListenerProtocol, list: Option<&Node>, path: &str, faults: &mut Faults) -> Vec<RouteSpec> {
    match protocol {
        ListenerProtocol::Dubbo => dubbo::read_routes(list, path, faults),
        _ => RouteSpec::read_list(list, path, faults),
    }
}

fn read_or_default<T: Default + serde::de::DeserializeOwned>(part: &(Option<Node>, String), faults: &mut Faults) -> T {
    match part {
        (Some(node), path) => faults.read(node, path).unwrap_or_default(),
        (None, _) => T::default(),
    }
}
