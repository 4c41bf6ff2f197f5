//! The end of a configuration that another has replaced: on the control thread, since a large one takes its time.

use super::{calls::CallsListener, config::Config, worker::Workers};
use std::{sync::Arc, time::Duration};

/// Between two looks whether a request still uses it: the first, and the longest after doublings.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Drops a configuration, from the outside in, each part when no worker holds it any more: so the last holder, who has
/// the work of it, is this one. `replaced` are the places of its listeners that did not go on.
pub(super) async fn retire(mut config: Arc<Config>, replaced: Vec<usize>, workers: Arc<Workers>) {
    let mut pause = FIRST_PAUSE;
    workers.tidy().await;
    let config = loop {
        // requests that began with it
        let is_used = |place: &usize| config.listeners.get(*place).is_some_and(|kept| Arc::strong_count(kept) > 1);
        if !replaced.iter().any(is_used) {
            match Arc::try_unwrap(config) {
                Ok(config) => break config,
                Err(shown) => config = shown,
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let Config { plan, clusters, listeners, states, .. } = config;
    // what the stages of workers hold besides
    let routers: Vec<_> = listeners
        .iter()
        .map(|listener| (listener.router.clone(), listener.calls().map(CallsListener::router)))
        .collect();
    let endpoint_states: Vec<_> = clusters.values().flat_map(|cluster| cluster.endpoint_states()).collect();
    drop(listeners);
    workers.tidy().await;
    // the routes' stages hold clusters
    drop(routers);
    workers.tidy().await;
    // those of clusters and endpoints hold layers
    drop(clusters);
    workers.tidy().await;
    drop((plan, states, endpoint_states));
}
