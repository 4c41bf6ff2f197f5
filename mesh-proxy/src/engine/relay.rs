//! Listeners that relay bytes: the way of a connection through the layers of its listener and its cluster to an
//! endpoint.

use super::{config::ListenerConfig, way::Entrance};
use crate::{plan::PlannedRelay, spec::RelaySpec};
use mesh_core::{
    Name, Peer,
    pipeline::{Stage, StageHandle, States},
};
use mesh_net::{Connection, ConnectionRequest, RelayOptions, Stream, relay};
use std::sync::Arc;
use tower_service::Service as _;

/// A listener's part of the way.
#[derive(Debug)]
pub(super) struct RelayListener {
    stage: StageHandle<Connection>,
    options: RelayOptions,
    cluster: Name,
}

impl RelayListener {
    pub(super) fn make(
        spec: &RelaySpec,
        planned: &PlannedRelay,
        cluster: Entrance<Connection>,
        previous: &States<Connection>,
        next: &mut States<Connection>,
    ) -> Self {
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let options = RelayOptions::default().idle(spec.timeouts.idle);
        let name = cluster.cluster().name();
        Self { stage: StageHandle::new(move || pipeline.apply(Stage::new(cluster.clone()))), options, cluster: name }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, peer: Arc<Peer>, listener: Name, config: Arc<ListenerConfig>) {
    let Some(way) = config.relay() else { return };
    let (options, cluster) = (way.options, way.cluster);
    let connecting = way.stage.stage().call(ConnectionRequest::new(peer.clone(), listener));
    let connected = match connecting.await {
        Ok(connected) => connected,
        Err(error) => {
            return tracing::debug!(listener = listener.as_str(), ?peer, %error, "a connection is not relayed");
        }
    };
    // what began it may go: a long connection does not hold an old configuration
    drop(config);
    let _active = Active::new(cluster);
    let relayed = relay(stream, connected, options).await;
    tracing::debug!(
        listener = listener.as_str(),
        ?peer,
        sent = relayed.sent,
        received = relayed.received,
        end = %relayed.end,
        "a relayed connection has ended"
    );
}

/// A connection to an endpoint, in the metrics.
struct Active(metrics::Gauge);

impl Active {
    fn new(cluster: Name) -> Self {
        let gauge = metrics::gauge!("mesh_upstream_connections", "cluster" => cluster.as_str(), "state" => "active");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
