use super::{Faults, LimitsSpec, RouteSpec, TimeoutsSpec};
use mesh_core::{
    pipeline::Place,
    spec::{Invalid, Key, LayerSpec, Node, Position, Spanned, Value},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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
    /// How many proxies before this one have a say in who the client is. Default 0.
    pub trusted_hops: usize,
    /// How much a client may ask for.
    pub limits: LimitsSpec,
    /// How long a client may take.
    pub timeouts: TimeoutsSpec,
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
    /// What a client claims is dropped, and both are written anew.
    Replace,
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
    /// One is made for every request.
    Always,
    /// It is passed on as it is.
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    bind: Node,
    protocol: Option<Node>,
    forwarded: Option<Node>,
    request_id: Option<Node>,
    trusted_hops: Option<Node>,
    limits: Option<Node>,
    timeouts: Option<Node>,
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
        let part = |name: &str| format!("{path}.{name}");
        let protocol = read_or_default(settings.protocol.as_ref(), &part("protocol"), faults);
        let forwarded = read_or_default(settings.forwarded.as_ref(), &part("forwarded"), faults);
        let request_id = read_or_default(settings.request_id.as_ref(), &part("request_id"), faults);
        let trusted_hops = read_or_default(settings.trusted_hops.as_ref(), &part("trusted_hops"), faults);
        let limits = read_or_default(settings.limits.as_ref(), &part("limits"), faults);
        let timeouts = read_or_default(settings.timeouts.as_ref(), &part("timeouts"), faults);
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
            trusted_hops,
            limits,
            timeouts,
            pipeline,
            routes,
        })
    }
}

fn read_or_default<T: Default + DeserializeOwned>(node: Option<&Node>, path: &str, faults: &mut Faults) -> T {
    node.and_then(|node| faults.read(node, path)).unwrap_or_default()
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
