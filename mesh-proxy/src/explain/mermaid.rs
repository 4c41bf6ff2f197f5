//! A plan as a diagram of Mermaid's: the ways that requests can take.

use super::route::conditions;
use crate::{
    plan::Plan,
    spec::{ActionSpec, RouteSpec},
};
use mesh_core::{
    Protocol,
    pipeline::{CheckedPipeline, Shape},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// The ways that requests can take, as a flowchart of Mermaid's: from listeners through pipelines and routes to clusters
/// and endpoints. A run of gates is one box.
pub fn explain_mermaid(plan: &Plan) -> String {
    let spec = plan.spec();
    let mut chart = Chart { text: "flowchart LR\n".into(), nodes: 0 };
    let mut clusters = BTreeMap::new();
    for (cluster, planned) in spec.clusters.iter().zip(&plan.clusters) {
        let entry = chart.node("[[", &format!("cluster {}", cluster.name), "]]");
        let mut last = entry;
        if let Some(way) = &planned.http {
            last = chart.stages(last, &way.pipeline);
        }
        if let Some(way) = &planned.dubbo {
            last = chart.stages(last, &way.pipeline);
        }
        if let Some(way) = &planned.tcp {
            last = chart.stages(last, &way.pipeline);
        }
        let balancer = chart.node("{{", &policy(&cluster.load_balancer), "}}");
        chart.edge(last, "", balancer);
        let mut last = balancer;
        if let Some(way) = &planned.http {
            last = chart.stages(last, &way.endpoint_pipeline);
        }
        if let Some(way) = &planned.dubbo {
            last = chart.stages(last, &way.endpoint_pipeline);
        }
        if let Some(way) = &planned.tcp {
            last = chart.stages(last, &way.endpoint_pipeline);
        }
        match planned.discovery.as_ref().map(|source| (source.name(), source.fixed_targets())) {
            Some((_, Some(targets))) => {
                for target in targets {
                    let endpoint = chart.node("([", &target.address.to_string(), "])");
                    chart.edge(last, &format!("weight {}", target.weight), endpoint);
                }
            }
            Some((name, None)) => {
                let endpoints = chart.node("([", &format!("endpoints by {name}"), "])");
                chart.edge(last, "", endpoints);
            }
            None => {}
        }
        clusters.insert(cluster.name.as_str(), entry);
    }
    for (listener, planned) in spec.listeners.iter().zip(&plan.listeners) {
        let label = format!("listener {} on {}", listener.name, listener.bind.value);
        let entry = chart.node("([", &label, "])");
        let last = chart.stages(entry, &planned.pipeline);
        if let (Some(relay), Some(planned)) = (&listener.relay, &planned.relay) {
            let last = chart.stages(last, &planned.pipeline);
            if let Some(cluster) = clusters.get(relay.cluster.value.as_str()) {
                chart.edge(last, "relay", *cluster);
            }
        }
        for (route, planned) in listener.routes.iter().zip(&planned.routes) {
            chart.route(last, route, &planned.pipeline, &clusters);
        }
        if let Some(calls) = &planned.calls {
            let last = chart.stages(last, &calls.pipeline);
            for (route, planned) in listener.routes.iter().zip(&calls.routes) {
                chart.route(last, route, &planned.pipeline, &clusters);
            }
        }
    }
    chart.text
}

/// The name of a balancing policy, without its settings.
fn policy(policy: &impl serde::Serialize) -> String {
    match serde_json::to_value(policy) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(named)) => named.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

struct Chart {
    text: String,
    nodes: usize,
}

impl Chart {
    fn node(&mut self, open: &str, label: &str, close: &str) -> usize {
        self.nodes += 1;
        let _ = writeln!(self.text, "  n{}{open}\"{}\"{close}", self.nodes, escaped(label));
        self.nodes
    }

    fn edge(&mut self, from: usize, label: &str, to: usize) {
        let _ = match label {
            "" => writeln!(self.text, "  n{from} --> n{to}"),
            label => writeln!(self.text, "  n{from} -- \"{}\" --> n{to}", escaped(label)),
        };
    }

    /// A route behind a listener's last stage, and where it leads.
    fn route<P: Protocol>(
        &mut self,
        last: usize,
        route: &RouteSpec,
        pipeline: &CheckedPipeline<P>,
        clusters: &BTreeMap<&str, usize>,
    ) {
        let node = self.node("(", &format!("route {}", route.name), ")");
        self.edge(last, &conditions(route), node);
        let last = self.stages(node, pipeline);
        let status = match &route.action {
            ActionSpec::Cluster(_) | ActionSpec::Split(_) => None,
            ActionSpec::Redirect(redirect) => Some(redirect.status),
            ActionSpec::Respond(respond) => Some(respond.status),
        };
        if let Some(status) = status {
            let answer = self.node("([", &format!("{} {}", route.action.key(), status.as_u16()), "])");
            self.edge(last, "", answer);
        }
        let weights = match &route.action {
            ActionSpec::Split(split) => split.0.iter().map(|(_, weight)| format!("weight {weight}")).collect(),
            _ => vec![String::new()],
        };
        for (name, weight) in route.action.clusters().zip(weights) {
            if let Some(cluster) = clusters.get(name.value.as_str()) {
                self.edge(last, &weight, *cluster);
            }
        }
    }

    /// The stages of a pipeline one after the other; the last of them, or where they begin.
    fn stages<P: Protocol>(&mut self, from: usize, pipeline: &CheckedPipeline<P>) -> usize {
        let mut last = from;
        let mut run: Vec<String> = Vec::new();
        for layer in pipeline.effective() {
            let name = format!("{}{}", layer.name, if layer.shadow { " (shadow)" } else { "" });
            match layer.shape {
                Shape::Gate | Shape::PausingGate => run.push(name),
                Shape::Layer => {
                    last = self.run(last, &mut run);
                    let stage = self.node("[", &name, "]");
                    self.edge(last, "", stage);
                    last = stage;
                }
            }
        }
        self.run(last, &mut run)
    }

    fn run(&mut self, from: usize, gates: &mut Vec<String>) -> usize {
        if gates.is_empty() {
            return from;
        }
        let node = self.node("[/", &std::mem::take(gates).join(" ▸ "), "/]");
        self.edge(from, "", node);
        node
    }
}

/// A label in quotation marks: what ends it or is markup becomes an entity, as Mermaid writes them.
fn escaped(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' | ';' => _ = write!(text, "#{};", c as u32),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}
