//! The effective spec as JSON: what was written, and every default.

use crate::{
    plan::{Plan, PlannedRoute, PlannedWay},
    spec::RouteSpec,
};
use mesh_core::{
    Protocol,
    pipeline::{CheckedPipeline, Shape},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The effective spec: what was written with every default filled in. What came from the environment is shown by its
/// name. A pipeline is a list of stages: a run of gates is `{ "run": [LAYER, …] }`, what stands by itself a `LAYER`,
/// which is `{ "layer": NAME, "settings": … }`.
pub fn explain_json(plan: &Plan) -> Value {
    let spec = plan.spec();
    let mut root = object(plan.to_json());
    absent(&mut root, "admin", &Value::Null);
    absent(&mut root, "workers", &spec.workers);
    let shutdown = json!({
        "delay": mesh_core::units::format_duration(spec.shutdown.delay),
        "timeout": mesh_core::units::format_duration(spec.shutdown.timeout),
    });
    fill(&mut root, "shutdown", shutdown);
    edit(&mut root, "listeners", |listeners| {
        for (listener, planned) in spec.listeners.iter().zip(&plan.listeners) {
            edit(listeners, &listener.name, |node| {
                absent(node, "protocol", &listener.protocol);
                absent(node, "connection", &json!([]));
                absent(node, "drain", &listener.drain);
                if let (Some(relay), Some(planned)) = (&listener.relay, &planned.relay) {
                    fill(node, "timeouts", serde_json::to_value(relay.timeouts).unwrap_or_default());
                    node.insert("pipeline".into(), pipeline(&planned.pipeline));
                    return;
                }
                if let (Some(dubbo), Some(planned)) = (&listener.dubbo, &planned.calls) {
                    fill(node, "limits", serde_json::to_value(dubbo.limits).unwrap_or_default());
                    fill(node, "timeouts", serde_json::to_value(dubbo.timeouts).unwrap_or_default());
                    node.insert("pipeline".into(), pipeline(&planned.pipeline));
                    routes(node, &listener.routes, &planned.routes);
                    return;
                }
                absent(node, "forwarded", &listener.forwarded);
                absent(node, "request_id", &listener.request_id);
                absent(node, "trusted_hops", &listener.trusted_hops);
                absent(node, "merge_slashes", &listener.merge_slashes);
                fill(node, "limits", serde_json::to_value(listener.limits).unwrap_or_default());
                fill(node, "timeouts", serde_json::to_value(listener.timeouts).unwrap_or_default());
                node.insert("pipeline".into(), pipeline(&planned.pipeline));
                routes(node, &listener.routes, &planned.routes);
            });
        }
    });
    edit(&mut root, "clusters", |clusters| {
        for (cluster, planned) in spec.clusters.iter().zip(&plan.clusters) {
            edit(clusters, &cluster.name, |node| {
                absent(node, "load_balancer", &cluster.load_balancer);
                absent(node, "panic_threshold", &cluster.panic_threshold);
                absent(node, "protocol", &cluster.protocol);
                fill(node, "connect", serde_json::to_value(cluster.connect).unwrap_or_default());
                if let Some(source) = &planned.discovery {
                    node.insert("discovery".into(), json!({ source.name(): source.effective() }));
                }
                // the layers are those of requests, or those of relays
                let (http, dubbo, tcp) = (planned.http.as_ref(), planned.dubbo.as_ref(), planned.tcp.as_ref());
                let ways = [http.map(of_way), dubbo.map(of_way), tcp.map(of_way)];
                let (before, at_endpoint) = longest(ways.into_iter().flatten());
                node.insert("pipeline".into(), before);
                node.insert("endpoint_pipeline".into(), at_endpoint);
            });
        }
    });
    edit(&mut root, "registrations", |registrations| {
        for (registration, registrar) in spec.registrations.iter().zip(&plan.registrations) {
            edit(registrations, &registration.name, |node| {
                node.insert("with".into(), json!({ registrar.name(): registrar.effective() }));
            });
        }
    });
    Value::Object(root)
}

fn routes<P: Protocol>(node: &mut Map<String, Value>, routes: &[RouteSpec], planned: &[PlannedRoute<P>]) {
    let written = match node.remove("routes") {
        Some(Value::Array(routes)) => routes,
        _ => Vec::new(),
    };
    let routes = routes.iter().zip(planned).zip(written).map(|((route, planned), written)| {
        let mut node = object(written);
        absent(&mut node, "name", &route.name);
        absent(&mut node, "match", &json!({}));
        node.insert("pipeline".into(), pipeline(&planned.pipeline));
        Value::Object(node)
    });
    node.insert("routes".into(), routes.collect());
}

/// The pipelines before the balancer and at an endpoint.
fn of_way<P: Protocol>(way: &PlannedWay<P>) -> (Value, Value) {
    (pipeline(&way.pipeline), pipeline(&way.endpoint_pipeline))
}

/// Those that have layers: of the ways to a cluster only one has.
fn longest(ways: impl Iterator<Item = (Value, Value)>) -> (Value, Value) {
    let layers = |value: &Value| value.as_array().map_or(0, Vec::len);
    ways.max_by_key(|(before, at_endpoint)| layers(before) + layers(at_endpoint)).unwrap_or((json!([]), json!([])))
}

fn pipeline<P: Protocol>(pipeline: &CheckedPipeline<P>) -> Value {
    let mut stages: Vec<Value> = Vec::new();
    let mut run: Vec<Value> = Vec::new();
    let end = |run: &mut Vec<Value>, stages: &mut Vec<Value>| {
        if !run.is_empty() {
            stages.push(json!({ "run": std::mem::take(run) }));
        }
    };
    for layer in pipeline.effective() {
        let mut shown = json!({ "layer": layer.name.as_str(), "settings": layer.settings });
        if layer.shadow {
            shown["shadow"] = Value::Bool(true);
        }
        if let Some(id) = layer.id {
            shown["id"] = Value::String(id);
        }
        match layer.shape {
            Shape::Gate | Shape::PausingGate => run.push(shown),
            Shape::Layer => {
                end(&mut run, &mut stages);
                stages.push(shown);
            }
        }
    }
    end(&mut run, &mut stages);
    Value::Array(stages)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Looks into the mapping of this name, which is empty where there is none.
fn edit(parent: &mut Map<String, Value>, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut child = object(parent.remove(name).unwrap_or_default());
    change(&mut child);
    parent.insert(name.to_owned(), Value::Object(child));
}

/// Adds a default, where nothing was written.
fn absent(node: &mut Map<String, Value>, key: &str, default: &impl Serialize) {
    node.entry(key).or_insert_with(|| serde_json::to_value(default).unwrap_or_default());
}

/// Adds the defaults of a mapping, where they were not written.
fn fill(node: &mut Map<String, Value>, key: &str, defaults: Value) {
    edit(node, key, |written| {
        for (name, default) in object(defaults) {
            written.entry(name).or_insert(default);
        }
    });
}
