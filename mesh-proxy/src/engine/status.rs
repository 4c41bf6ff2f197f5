//! What runs at the moment: the pages `/clusters` and `/listeners`.

use super::cluster::Cluster;
use crate::spec::{ActionSpec, DrainOrder, ListenerProtocol, ListenerSpec, RouteSpec};
use mesh_core::{Address, Endpoint, HealthFlag, time, units::format_duration};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A listener at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The address it really has.
    pub address: String,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// When it ends among the others.
    pub drain: DrainOrder,
    /// The names of the layers before its router, outermost first.
    pub pipeline: Vec<String>,
    /// The cluster that it relays to; absent where it has routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its routes; the first that matches wins.
    pub routes: Vec<RouteStatus>,
}

/// A route of a listener.
#[derive(Clone, Debug, Serialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// What it does: `cluster`, `split`, `redirect` or `respond`.
    pub action: &'static str,
    /// The clusters that its requests go to.
    pub clusters: Vec<String>,
    /// The status that it answers with; absent where there are clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl ListenerStatus {
    pub(super) fn of(spec: &ListenerSpec, address: &Address) -> Self {
        Self {
            name: spec.name.clone(),
            address: address.to_string(),
            protocol: spec.protocol,
            drain: spec.drain,
            pipeline: spec.pipeline.iter().map(|layer| layer.name.clone()).collect(),
            cluster: spec.relay.as_ref().map(|relay| relay.cluster.value.clone()),
            routes: spec.routes.iter().map(RouteStatus::of).collect(),
        }
    }
}

impl RouteStatus {
    fn of(route: &RouteSpec) -> Self {
        let status = match &route.action {
            ActionSpec::Cluster(_) | ActionSpec::Split(_) => None,
            ActionSpec::Redirect(redirect) => Some(redirect.status.as_u16()),
            ActionSpec::Respond(respond) => Some(respond.status.as_u16()),
        };
        let clusters = route.action.clusters().map(|name| name.value.clone()).collect();
        Self { name: route.name.clone(), action: route.action.key(), clusters, status }
    }
}

/// A cluster and its endpoints at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// Its name.
    pub name: String,
    /// How an endpoint is chosen, as the spec says it.
    pub load_balancer: serde_json::Value,
    /// Whether discovery has said anything yet.
    pub resolved: bool,
    /// Its endpoints, in the order discovery gave.
    pub endpoints: Vec<EndpointStatus>,
}

/// An endpoint at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Where it listens.
    pub address: String,
    /// Its share of the load beside the others.
    pub weight: u32,
    /// The zone it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What else discovery says of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Calls that have not ended, bodies included.
    pub in_flight: u32,
    /// How often it was picked.
    pub picks: u64,
    /// How many calls ended in a failure of its own.
    pub failures: u64,
    /// Whether it may be picked.
    pub eligible: bool,
    /// What speaks against it: why not, but in panic.
    pub out_because: Vec<Reason>,
}

/// Why an endpoint is left alone.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// Its name: `circuit_open`, `ejected`, `check_failed`, `draining`, `pushback`.
    pub reason: &'static str,
    /// For how much longer, where that is known, such as `4s200ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
}

impl ClusterStatus {
    pub(super) fn of(name: &str, cluster: &Cluster) -> Self {
        let set = cluster.endpoints().load();
        Self {
            name: name.to_owned(),
            load_balancer: cluster.load_balancer().clone(),
            resolved: set.is_resolved(),
            endpoints: set.endpoints().iter().map(EndpointStatus::of).collect(),
        }
    }
}

impl EndpointStatus {
    fn of(endpoint: &Arc<Endpoint>) -> Self {
        let target = endpoint.target();
        let out_because: Vec<Reason> = endpoint.health().reasons().map(|flag| Reason::of(endpoint, flag)).collect();
        Self {
            address: target.address.to_string(),
            weight: target.weight,
            zone: target.zone.clone(),
            metadata: target.metadata.clone(),
            in_flight: endpoint.in_flight(),
            picks: endpoint.picks(),
            failures: endpoint.failures(),
            eligible: endpoint.health().is_eligible(),
            out_because,
        }
    }
}

impl Reason {
    fn of(endpoint: &Endpoint, flag: HealthFlag) -> Self {
        let remaining = endpoint.health().until(flag).map(|until| {
            // to a person: whole milliseconds
            let millis = until.since(time::now()).as_millis();
            format_duration(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
        });
        Self { reason: flag.as_str(), remaining }
    }
}
