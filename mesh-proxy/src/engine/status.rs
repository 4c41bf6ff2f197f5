//! What the endpoints are like at the moment: the page `/clusters`.

use super::cluster::Cluster;
use mesh_core::{Endpoint, HealthFlag, time, units::format_duration};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
