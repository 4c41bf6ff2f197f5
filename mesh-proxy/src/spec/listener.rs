use super::{Faults, RouteSpec};
use mesh_core::{
    pipeline::Place,
    spec::{Invalid, Key, LayerSpec, Node, Position, Spanned, Value},
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// `listeners.NAME`
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub position: Position,
    /// Where it listens. Port 0: any free one, which is logged.
    pub bind: Spanned<SocketAddr>,
    /// What it speaks. Default `http`.
    pub protocol: ListenerProtocol,
    /// What becomes of `x-forwarded-*`. Default `append`.
    pub forwarded: Forwarded,
    /// What becomes of `x-request-id`. Default `keep`.
    pub request_id: RequestId,
    /// When it ends among the others. Default `normal`.
    pub drain: DrainOrder,
    /// The layers before the router.
    pub pipeline: Vec<LayerSpec>,
    /// The routes; the first that matches wins.
    pub routes: Vec<RouteSpec>,
}

/// `protocol` of a listener
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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
}

/// `forwarded`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarded {
    /// The peer's address is appended to `x-forwarded-for`; `x-forwarded-proto` is set where it is absent.
    #[default]
    Append,
    /// They are passed on as they are.
    Off,
}

/// `request_id`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestId {
    /// One is made where there is none.
    #[default]
    Keep,
    /// It is passed on as it is.
    Off,
}

/// `drain`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainOrder {
    /// At once.
    #[default]
    Normal,
    /// When the connections of all listeners that are `normal` have ended, such as those by which an application
    /// reaches others: it may need them to answer what has come in.
    Last,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    bind: Node,
    protocol: Option<Node>,
    forwarded: Option<Node>,
    request_id: Option<Node>,
    drain: Option<Node>,
    pipeline: Option<Node>,
    routes: Option<Node>,
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
                RouteSpec::read_list(node.get("routes"), &path, faults)
                    .into_iter()
                    .for_each(|route| route.orphan(faults));
                return None;
            }
        };
        let bind = read_bind(&settings.bind).map_err(|invalid| invalid.at(&settings.bind));
        let bind = faults.take(bind, &format!("{path}.bind"));
        let of = |part: Option<Node>, name: &str| (part, format!("{path}.{name}"));
        let (protocol, forwarded, request_id, drain) = (
            of(settings.protocol, "protocol"),
            of(settings.forwarded, "forwarded"),
            of(settings.request_id, "request_id"),
            of(settings.drain, "drain"),
        );
        let protocol = read_or_default(&protocol, faults);
        let forwarded = read_or_default(&forwarded, faults);
        let request_id = read_or_default(&request_id, faults);
        let drain = read_or_default(&drain, faults);
        let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
        let routes = RouteSpec::read_list(settings.routes.as_ref(), &path, faults);
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
            forwarded,
            request_id,
            drain,
            pipeline,
            routes,
        })
    }
}

fn read_or_default<T: Default + serde::de::DeserializeOwned>(part: &(Option<Node>, String), faults: &mut Faults) -> T {
    match part {
        (Some(node), path) => faults.read(node, path).unwrap_or_default(),
        (None, _) => T::default(),
    }
}

fn read_bind(node: &Node) -> Result<Spanned<SocketAddr>, Invalid> {
    if let Value::String(text) = &node.value {
        if text.starts_with("unix:") {
            return Err(Invalid::new("listeners on Unix sockets are not built yet; expected `IP:PORT`"));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return Err(Invalid::new(format!("expected `IP:PORT`, found {}", node.describe()))
                .with_suggestion(format!("did you mean `127.0.0.1:{port}`?")));
        }
        if let Some(port) = text.strip_prefix(':') {
            return Err(Invalid::new(format!("expected `IP:PORT`, found {}", node.describe()))
                .with_suggestion(format!("did you mean `0.0.0.0:{port}`?")));
        }
    }
    node.deserialize()
}
