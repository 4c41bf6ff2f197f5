//! A plan as a person reads it: every pipeline with every default filled in, the runs marked.

use crate::{
    plan::Plan,
    spec::{ActionSpec, ClusterSpec, HostPattern, ListenerSpec, MatchSpec, PathPattern},
};
use mesh_codec_http::Http;
use mesh_core::{
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
        let (protocol, forwarded, request_id) =
            (word(&listener.protocol), word(&listener.forwarded), word(&listener.request_id));
        let mut node = Tree::new(format!(
            "listener {} on {} (protocol: {protocol}, forwarded: {forwarded}, request_id: {request_id})",
            listener.name, listener.bind.value
        ));
        node.children.push(Tree::new(bounds(listener)));
        node.pipeline(&planned.pipeline);
        for (route, planned) in listener.routes.iter().zip(&planned.routes) {
            let action = match &route.action {
                ActionSpec::Cluster(cluster) => format!("cluster {}", cluster.value),
                ActionSpec::Respond(respond) => {
                    format!("respond {} with {} bytes", respond.status.as_u16(), respond.body.len())
                }
            };
            let mut branch = Tree::new(format!("route {}: {} → {action}", route.name, conditions(&route.matches)));
            branch.pipeline(&planned.pipeline);
            node.children.push(branch);
        }
        node.write(&mut text);
    }
    for (cluster, planned) in spec.clusters.iter().zip(&plan.clusters) {
        let mut node = Tree::new(cluster_line(cluster));
        node.pipeline(&planned.pipeline);
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
        if !planned.endpoint_pipeline.is_empty() {
            let mut each = Tree::new("before each endpoint".into());
            each.pipeline(&planned.endpoint_pipeline);
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
        "cluster {} (load_balancer: {}, protocol: {protocol}, connect: timeout {}, idle {}, max_age {}, max_connections {}, max_pending {})",
        cluster.name,
        word(&cluster.load_balancer),
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

fn conditions(matches: &MatchSpec) -> String {
    let mut conditions = Vec::new();
    match &matches.host {
        Some(HostPattern::Exact(host)) => conditions.push(format!("host {host}")),
        Some(HostPattern::Below(domain)) => conditions.push(format!("host *{domain}")),
        None => {}
    }
    match &matches.path {
        Some(PathPattern::Exact(path)) => conditions.push(format!("path = {}", path.0)),
        Some(PathPattern::Prefix(path)) => conditions.push(format!("path {}…", path.0)),
        None => {}
    }
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(http::Method::as_str).collect();
        conditions.push(methods.join("|"));
    }
    if conditions.is_empty() { "everything".into() } else { conditions.join(", ") }
}

struct Tree {
    line: String,
    children: Vec<Tree>,
}

impl Tree {
    fn new(line: String) -> Self {
        Self { line, children: Vec::new() }
    }

    fn pipeline(&mut self, pipeline: &CheckedPipeline<Http>) {
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
                Shape::Gate => run.get_or_insert_with(|| Tree::new("run".into())).children.push(Tree::new(line)),
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
