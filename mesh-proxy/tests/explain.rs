//! A plan as JSON and as a diagram, and the list of layers.

use mesh_proxy::{Layers, Plan, describe, explain, explain_json, explain_mermaid, read, schema};
use serde_json::{Value, json};

const SPEC: &str = r#"
workers: ${WORKERS}
listeners:
  web:
    bind: 127.0.0.1:8080
    pipeline:
      - metrics
      - rate_limit: { rate: 10/s, shadow: true, id: mine }
      - timeout: "${PATIENCE}"
      - concurrency_limit: 7
    routes:
      - match: { path: { exact: /healthz } }
        respond: { body: "${GREETING}" }
      - { name: 'a "b" <c>', cluster: app }
clusters:
  app:
    discovery: { static: [ "127.0.0.1:9001", { address: "127.0.0.1:9002", weight: 2 } ] }
    endpoint_pipeline: [ circuit_breaker ]
  far:
    discovery: { etcd: { endpoints: ["http://127.0.0.1:2379"], prefix: /far/, user: u, password: "${SECRET}" } }
    connect: { idle: 5s }
registrations:
  app:
    with: { etcd: { endpoints: ["http://127.0.0.1:2379"], prefix: "${PREFIX}" } }
    instance: "127.0.0.1:8080"
"#;

fn plan() -> Plan {
    let env = |name: &str| {
        let known =
            [("WORKERS", "2"), ("PATIENCE", "1500ms"), ("GREETING", "hi"), ("SECRET", "s3cret"), ("PREFIX", "/in/")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let document = read::read(SPEC, "test.yaml", &env).expect("well-formed");
    Plan::check(&document, &Layers::stock()).expect("a good spec")
}

#[test]
fn json_has_every_default_and_no_secret() {
    let shown = explain_json(&plan());
    let text = shown.to_string();
    for secret in ["s3cret", "1.5s", "1500ms", "/in/", "\"hi\""] {
        assert!(!text.contains(secret), "{secret} is in {shown:#}");
    }
    assert!(!explain(&plan()).contains("s3cret"));
    assert_eq!(shown["workers"], json!("${WORKERS}"));
    assert_eq!((&shown["admin"], &shown["shutdown"]), (&Value::Null, &json!({ "delay": "0s", "timeout": "30s" })));
    let web = &shown["listeners"]["web"];
    assert_eq!(
        (&web["protocol"], &web["forwarded"], &web["request_id"]),
        (&json!("http"), &json!("append"), &json!("keep"))
    );
    assert_eq!((&web["limits"]["headers"], &web["timeouts"]["header"]), (&json!(100), &json!("10s")));
    // two gates in a run, what stands by itself, and another run
    let pipeline = web["pipeline"].as_array().expect("stages");
    assert_eq!(pipeline.len(), 3, "{web:#}");
    assert_eq!(pipeline[0]["run"][0], json!({ "layer": "metrics", "settings": { "labels": {} } }));
    assert_eq!(
        pipeline[0]["run"][1],
        json!({ "layer": "rate_limit", "settings": { "rate": "10/s", "burst": 10 }, "shadow": true, "id": "mine" })
    );
    assert_eq!(pipeline[1]["layer"], json!("timeout"));
    assert_eq!(pipeline[2]["run"][0]["layer"], json!("concurrency_limit"));
    let routes = web["routes"].as_array().expect("routes");
    assert!(routes[0]["name"].as_str().is_some_and(|name| name.starts_with("route-")));
    assert_eq!(routes[0]["respond"]["body"], json!("${GREETING}"));
    assert_eq!((&routes[1]["match"], &routes[1]["pipeline"]), (&json!({}), &json!([])));
    let (app, far) = (&shown["clusters"]["app"], &shown["clusters"]["far"]);
    assert_eq!(app["discovery"]["static"][0], json!({ "address": "127.0.0.1:9001", "weight": 1 }));
    assert_eq!((&app["protocol"], &app["pipeline"]), (&Value::Null, &json!([])));
    assert_eq!(app["endpoint_pipeline"][0]["run"][0]["layer"], json!("circuit_breaker"));
    assert_eq!((&far["connect"]["timeout"], &far["connect"]["idle"]), (&json!("5s"), &json!("5s")));
    assert_eq!(far["discovery"]["etcd"]["user"], json!("u"));
    assert_eq!(shown["registrations"]["app"]["with"]["etcd"]["prefix"], json!("${PREFIX}"));
}

#[test]
fn the_diagram_leads_from_listeners_to_endpoints() {
    let chart = explain_mermaid(&plan());
    let node = |label: &str| {
        let line = chart.lines().find(|line| line.contains(label) && !line.contains("--"));
        let line = line.unwrap_or_else(|| panic!("{label} is not in\n{chart}"));
        line.trim().split(['(', '[', '{']).next().expect("a name").to_owned()
    };
    let leads = |from: &str, to: &str| {
        let (from, to) = (node(from), node(to));
        let edge = chart.lines().any(|line| {
            let line = line.trim();
            line.starts_with(&format!("{from} --")) && line.ends_with(&format!("--> {to}"))
        });
        assert!(edge, "no way from {from} to {to} in\n{chart}");
    };
    leads("listener web on 127.0.0.1:8080", "metrics ▸ rate_limit (shadow)");
    leads("metrics ▸ rate_limit (shadow)", "\"timeout\"");
    leads("\"timeout\"", "concurrency_limit");
    leads("concurrency_limit", "route a #34;b#34; #60;c#62;");
    leads("route a #34;b#34; #60;c#62;", "cluster app");
    leads("circuit_breaker", "127.0.0.1:9002");
    assert!(chart.contains("-- \"weight 2\" -->") && chart.contains("-- \"path = /healthz\" -->"), "{chart}");
    node("endpoints by etcd");
    node("respond 200");
    // nothing ends a label or begins markup of its own
    for line in chart.lines().skip(1) {
        let outside: String = line.split('"').step_by(2).collect();
        assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || " -->()[]{}/".contains(c)), "{line}");
    }
}

#[test]
fn layers_and_schema_are_those_that_are_registered() {
    let mut layers = Layers::none();
    assert_eq!(describe(&layers), "");
    layers.http.gate("mine", "does nothing", |_: mesh_core::pipeline::NoSettings, _, _| {
        std::sync::Arc::new(mesh_core::gate_fn(|_: &mut mesh_proxy::Request| Ok(())))
    });
    assert_eq!(describe(&layers).trim_end(), "mine  http    does nothing");
    let own = schema(&layers);
    let items = &own["definitions"]["Pipeline"]["items"]["anyOf"];
    assert_eq!(items[1]["properties"].as_object().expect("layers").keys().collect::<Vec<_>>(), ["mine"]);
    let common = &own["definitions"]["NoSettings"]["properties"];
    assert!(common["id"].is_object() && common["shadow"].is_object(), "{own:#}");
}
