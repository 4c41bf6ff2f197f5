use super::{
    Discovery, Faults, Pipeline,
    limits::{positive, positive_option},
};
use mesh_core::{
    pipeline::Place,
    spec::{Key, LayerSpec, Node, Position},
    units::{self, Ratio},
};
use mesh_lb::{PANIC_THRESHOLD, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// `clusters.NAME`
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Its name.
    pub name: String,
    /// Where the name is written.
    pub position: Position,
    /// Where its endpoints come from; a plan has it checked.
    pub discovery: Node,
    /// How one of them is chosen.
    pub load_balancer: Policy,
    /// The part of them that must be healthy for health to count. Default 50%.
    pub panic_threshold: Ratio,
    /// What they speak. Default: as the request came.
    pub protocol: Option<UpstreamProtocol>,
    /// How connections to them are made and kept.
    pub connect: ConnectSpec,
    /// The layers before the balancer.
    pub pipeline: Vec<LayerSpec>,
    /// The layers before each endpoint.
    pub endpoint_pipeline: Vec<LayerSpec>,
}

/// `protocol` of a cluster
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in clear text, with prior knowledge.
    Http2,
    /// Dubbo2.
    Dubbo,
}

/// `connect`, per endpoint
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectSpec {
    /// How long a connection may take to be ready. Default 5s.
    #[serde(serialize_with = "units::duration::serialize", deserialize_with = "positive")]
    #[schemars(schema_with = "units::duration::schema")]
    pub timeout: Duration,
    /// How long an unused connection is kept. Default 60s.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub idle: Duration,
    /// How old a connection may become, give or take a tenth. Default any age.
    #[serde(
        serialize_with = "units::duration::option::serialize",
        deserialize_with = "positive_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "units::duration::schema")]
    pub max_age: Option<Duration>,
    /// The most connections at once, over all workers, at least 1. Default 1024.
    pub max_connections: NonZeroU32,
    /// The most requests that wait for one at once, over all workers. Default 1024.
    pub max_pending: u32,
}

impl Default for ConnectSpec {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            max_age: None,
            max_connections: const { NonZeroU32::new(1024).unwrap() },
            max_pending: 1024,
        }
    }
}

/// A cluster: endpoints that do the same.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cluster")]
pub(super) struct Settings {
    /// Where its endpoints come from: exactly one source.
    #[schemars(with = "Discovery")]
    discovery: Node,
    /// How one of them is chosen. Default `p2c`.
    #[schemars(with = "Option<Policy>")]
    load_balancer: Option<Node>,
    /// The part of healthy endpoints below which all are picked from. Default 50%.
    #[schemars(with = "Option<Ratio>")]
    panic_threshold: Option<Node>,
    /// What they speak. Default: as the request came.
    #[schemars(with = "Option<UpstreamProtocol>")]
    protocol: Option<Node>,
    /// How connections to them are made and kept.
    #[schemars(with = "Option<ConnectSpec>")]
    connect: Option<Node>,
    /// The layers before the balancer.
    #[schemars(with = "Option<Pipeline>")]
    pipeline: Option<Node>,
    /// The layers before each endpoint, with a state of their own for each.
    #[schemars(with = "Option<Pipeline>")]
    endpoint_pipeline: Option<Node>,
}

impl ClusterSpec {
    pub(super) fn read(key: &Key, node: &Node, faults: &mut Faults) -> Option<Self> {
        let path = format!("clusters.{}", key.name);
        let settings: Settings = match node.deserialize() {
            Ok(settings) => settings,
            Err(invalid) => {
                faults.found.push(invalid.in_path(&path));
                for (place, key) in [(Place::Cluster, "pipeline"), (Place::Endpoint, "endpoint_pipeline")] {
                    let path = format!("{path}.{key}");
                    let layers = faults.layers(node.get(key), &path);
                    faults.orphan(place, layers, path);
                }
                return None;
            }
        };
        let load_balancer =
            settings.load_balancer.as_ref().and_then(|node| faults.read(node, &format!("{path}.load_balancer")));
        let panic_threshold =
            settings.panic_threshold.as_ref().and_then(|node| faults.read(node, &format!("{path}.panic_threshold")));
        let protocol = settings.protocol.as_ref().and_then(|node| faults.read(node, &format!("{path}.protocol")));
        let connect = settings.connect.as_ref().and_then(|node| faults.read(node, &format!("{path}.connect")));
        let pipeline = faults.layers(settings.pipeline.as_ref(), &format!("{path}.pipeline"));
        let endpoint_pipeline =
            faults.layers(settings.endpoint_pipeline.as_ref(), &format!("{path}.endpoint_pipeline"));
        Some(Self {
            name: key.name.clone(),
            position: key.position,
            discovery: settings.discovery,
            load_balancer: load_balancer.unwrap_or_default(),
            panic_threshold: panic_threshold.unwrap_or(PANIC_THRESHOLD),
            protocol,
            connect: connect.unwrap_or_default(),
            pipeline,
            endpoint_pipeline,
        })
    }
}
