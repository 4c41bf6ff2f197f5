//! A plan as a person reads it: every pipeline with every default filled in, the runs marked.

mod json;
mod mermaid;
mod route;

pub use json::explain_json;
pub use mermaid::explain_mermaid;

use crate::{
    plan::Plan,
    spec::{ClusterSpec, ConnectionLayer, ListenerSpec, RouteSpec},
};
use mesh_core::{
    Protocol,
    pipeline::{CheckedPipeline, Shape},
    units::format_duration,
};
use std::fmt::Write as _;

/// The effective pipelines of a plan, as a tree.
///
/// Gates that stand together are one *run*, passed in one loop; what waits, repeats or replaces stands by itself.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    let spec = plan.spec();
    let workers = spec.workers.map_or("one per processor".into(), |workers| workers.to_string());
    let _ = writeln!(text, "workers: {workers}");
    let shutdown = spec.shutdown;
    let _ = writeln!(
        text,
        "shutdown: delay {}, timeout {}",
        format_duration(shutdown.delay),
        format_duration(shutdown.timeout)
    );
    match &spec.admin {
        Some(admin) => _ = writeln!(text, "admin on {}", admin.bind.value),
        None => text.push_str("admin: off\n"),
    }
    for (listener, planned) in spec.listeners.iter().zip(&plan.listeners) {
        let (protocol, forwarded) = (word(&listener.protocol), word(&listener.forwarded));
        let (request_id, drain) = (word(&listener.request_id), word(&listener.drain));
        let merge_slashes = word(&listener.merge_slashes);
        let of_http = format!("forwarded: {forwarded}, request_id: {request_id}, merge_slashes: {merge_slashes}, ");
        let of_http = if listener.dubbo.is_some() { "" } else { &of_http };
        let mut node = Tree::new(format!(
            "listener {} on {} (protocol: {protocol}, {of_http}drain: {drain})",
            listener.name, listener.bind.value
        ));
        for ConnectionLayer::MaxConnections(max) in &listener.connection {
            node.children.push(Tree::new(format!("max_connections {max}")));
        }
        match (&listener.relay, &listener.dubbo) {
            (None, None) => node.children.push(Tree::new(bounds(listener))),
            (_, Some(dubbo)) => node.children.push(Tree::new(format!(
                "limits: body {}, {} calls; timeouts: heartbeat {}",
                dubbo.limits.body,
                dubbo.limits.calls,
                format_duration(dubbo.timeouts.heartbeat)
            ))),
            (Some(_), None) => {}
        }
        node.pipeline(&planned.pipeline);
        if let (Some(relay), Some(planned)) = (&listener.relay, &planned.relay) {
            node.pipeline(&planned.pipeline);
            let idle = format_duration(relay.timeouts.idle);
            node.children.push(Tree::new(format!("relay → cluster {} (timeouts: idle {idle})", *relay.cluster)));
        }
        for (route, planned) in listener.routes.iter().zip(&planned.routes) {
            node.children.push(route_branch(route, &planned.pipeline));
        }
        if let Some(calls) = &planned.calls {
            node.pipeline(&calls.pipeline);
            for (route, planned) in listener.routes.iter().zip(&calls.routes) {
                node.children.push(route_branch(route, &planned.pipeline));
            }
        }
        node.write(&mut text);
    }
    for (cluster, planned) in spec.clusters.iter().zip(&plan.clusters) {
        let mut node = Tree::new(cluster_line(cluster));
        planned.http.iter().for_each(|way| node.pipeline(&way.pipeline));
        planned.dubbo.iter().for_each(|way| node.pipeline(&way.pipeline));
        planned.tcp.iter().for_each(|way| node.pipeline(&way.pipeline));
        match planned.discovery.as_ref().map(|source| (source, source.fixed_targets())) {
            Some((_, Some(targets))) => node.children.extend(
                targets
                    .iter()
                    .map(|target| Tree::new(format!("endpoint {} (weight {})", target.address, target.weight))),
            ),
            Some((source, None)) => {
                node.children.push(Tree::new(format!("endpoints by {} {}", source.name(), source.effective())));
            }
            None => {}
        }
        let mut each = Tree::new("before each endpoint".into());
        planned.http.iter().for_each(|way| each.pipeline(&way.endpoint_pipeline));
        planned.dubbo.iter().for_each(|way| each.pipeline(&way.endpoint_pipeline));
        planned.tcp.iter().for_each(|way| each.pipeline(&way.endpoint_pipeline));
        if !each.children.is_empty() {
            node.children.push(each);
        }
        node.write(&mut text);
    }
    for (registration, registrar) in spec.registrations.iter().zip(&plan.registrations) {
        let (name, address) = (&registration.name, &registration.instance.address);
        let _ = writeln!(text, "registration {name} of {address} with {} {}", registrar.name(), registrar.effective());
    }
    text
}

fn route_branch<P: Protocol>(route: &RouteSpec, pipeline: &CheckedPipeline<P>) -> Tree {
    let mut branch = Tree::new(route::line(route));
    branch.pipeline(pipeline);
    branch
}

fn bounds(listener: &ListenerSpec) -> String {
    let (limits, timeouts) = (&listener.limits, &listener.timeouts);
    let any = || "any".to_owned();
    format!(
        "limits: {} headers, {} in a head, {} streams, body {}; timeouts: header {}, idle {}, max_age {}; trusted_hops: {}",
        limits.headers,
        limits.header_bytes,
        limits.streams,
        limits.body.map_or_else(any, |body| body.to_string()),
        format_duration(timeouts.header),
        format_duration(timeouts.idle),
        timeouts.max_age.map_or_else(any, |age| format_duration(age).to_string()),
        listener.trusted_hops,
    )
}

fn cluster_line(cluster: &ClusterSpec) -> String {
    let protocol = cluster.protocol.map_or("as the request came".into(), |protocol| word(&protocol));
    let connect = cluster.connect;
    format!(
        "cluster {} (load_balancer: {}, panic_threshold: {}, protocol: {protocol}, connect: timeout {}, idle {}, max_age {}, max_connections {}, \
         max_pending {})",
        cluster.name,
        word(&cluster.load_balancer),
        cluster.panic_threshold,
        format_duration(connect.timeout),
        format_duration(connect.idle),
        connect.max_age.map_or_else(|| "any".to_owned(), |age| format_duration(age).to_string()),
        connect.max_connections,
        connect.max_pending,
    )
}

/// A value as the spec writes it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

struct Tree {
    line: String,
    children: Vec<Tree>,
}

impl Tree {
    fn new(line: String) -> Self {
        Self { line, children: Vec::new() }
    }

    fn pipeline<P: Protocol>(&mut self, pipeline: &CheckedPipeline<P>) {
        let mut run: Option<Tree> = None;
        for layer in pipeline.effective() {
            let mut line = format!("{} {}", layer.name, layer.settings);
            if layer.shadow {
                line.push_str(" shadow");
            }
            if let Some(id) = &layer.id {
                let _ = write!(line, " id: {id}");
            }
            match layer.shape {
                Shape::Gate | Shape::PausingGate => {
                    run.get_or_insert_with(|| Tree::new("run".into())).children.push(Tree::new(line));
                }
                Shape::Layer => {
                    self.children.extend(run.take());
                    self.children.push(Tree::new(line));
                }
            }
        }
        self.children.extend(run);
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "{}", self.line);
        self.write_children("", text);
    }

    fn write_children(&self, indent: &str, text: &mut String) {
        for (index, child) in self.children.iter().enumerate() {
            let last = index + 1 == self.children.len();
            let _ = writeln!(text, "{indent}{} {}", if last { "└─" } else { "├─" }, child.line);
            child.write_children(&format!("{indent}{}  ", if last { " " } else { "│" }), text);
        }
    }
}
