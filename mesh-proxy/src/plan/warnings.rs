//! What is allowed and probably not meant.

use super::Use;
use crate::spec::{ClusterSpec, DubboMatchSpec, HostPattern, ListenerSpec, PathPattern, RouteSpec, Spec};
use mesh_core::spec::{Invalid, LayerSpec};
use std::collections::HashMap;

/// Orders that are known to be harmful, each with the reason.
const HARMFUL: [(&str, &str, &str); 6] = [
    (
        "rate_limit",
        "access_log",
        "access_log inside rate_limit does not see what it refuses; put access_log further out",
    ),
    ("rate_limit", "metrics", "metrics inside rate_limit does not see what it refuses; put metrics further out"),
    (
        "concurrency_limit",
        "fault_injection",
        "a delay inside concurrency_limit holds its permits; put fault_injection further out",
    ),
    ("retry", "rate_limit", "rate_limit inside retry counts every attempt; put retry further in"),
    ("retry", "metrics", "metrics inside retry counts every attempt as a request; put metrics further out"),
    ("rate_limit", "timeout", "timeout inside rate_limit is not what bounds the whole call; put timeout further out"),
];

pub(super) fn warnings(spec: &Spec) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut pipeline = |layers: &[LayerSpec], path: &str| {
        for (outer, inner, reason) in HARMFUL {
            let outer = layers.iter().position(|layer| layer.name == outer);
            let inner = layers.iter().position(|layer| layer.name == inner);
            if let (Some(outer), Some(inner)) = (outer, inner)
                && outer < inner
            {
                found.push(Invalid::new(reason).at_position(layers[inner].position).in_path(path));
            }
        }
        for layer in layers.iter().filter(|layer| layer.name == "load_shed") {
            let reason = "load_shed acts on readiness, and a stage is always ready: it does nothing here";
            found.push(Invalid::new(reason).at_position(layer.position).in_path(path));
        }
    };
    for listener in &spec.listeners {
        pipeline(&listener.pipeline, &format!("listeners.{}.pipeline", listener.name));
        listener.routes.iter().for_each(|route| pipeline(&route.pipeline, &format!("{}.pipeline", route.path)));
    }
    for cluster in &spec.clusters {
        pipeline(&cluster.pipeline, &format!("clusters.{}.pipeline", cluster.name));
        pipeline(&cluster.endpoint_pipeline, &format!("clusters.{}.endpoint_pipeline", cluster.name));
    }
    let uses = Use::of_all(spec);
    for relay in spec.listeners.iter().filter_map(|listener| Some((listener, listener.relay.as_ref()?))) {
        let (listener, cluster) = (relay.0, &relay.1.cluster);
        let has_layers = |of: &ClusterSpec| !of.pipeline.is_empty() || !of.endpoint_pipeline.is_empty();
        let layers = spec.clusters.iter().any(|of| of.name == **cluster && has_layers(of));
        if layers && uses.get(cluster.as_str()).is_some_and(|usage| usage.by_routes) {
            let reason = format!(
                "the layers of cluster `{}` are for requests, which come to it, too: a relay passes them by",
                cluster.value
            );
            let invalid = Invalid::new(reason).at_position(cluster.position);
            found.push(invalid.in_path(format!("listeners.{}.cluster", listener.name)));
        }
    }
    spec.listeners.iter().for_each(|listener| unreachable(listener, &mut found));
    found
}

/// Routes behind one that takes everything, of all hosts or of theirs.
fn unreachable(listener: &ListenerSpec, found: &mut Vec<Invalid>) {
    let mut everything = HashMap::<Option<&HostPattern>, &RouteSpec>::new();
    for route in &listener.routes {
        let matches = &route.matches;
        let first = everything.get(&None).or_else(|| everything.get(&matches.host.as_ref()));
        // a request for `*` has no path that begins with a slash
        if let Some(first) = first.filter(|first| first.matches.path.is_none() || matches.path.is_some()) {
            let invalid = Invalid::new(format!("never reached: the route at line {} takes all", first.position.line));
            found.push(invalid.at_position(route.position).in_path(&route.path));
        }
        let all_paths = match &matches.path {
            None => route.dubbo.as_ref().is_none_or(|calls| *calls == DubboMatchSpec::default()),
            Some(PathPattern::Prefix(path)) => path.0 == "/",
            Some(_) => false,
        };
        if all_paths && matches.methods.is_empty() && matches.headers.is_empty() && matches.query.is_empty() {
            everything.entry(matches.host.as_ref()).or_insert(route);
        }
    }
}
