use super::*;
use crate::read;

fn faults(text: &str) -> Vec<String> {
    let document = read::read(text, "t.yaml", &|_| None).expect("well-formed YAML");
    let faults = Plan::check(&document, &Layers::stock()).expect_err("it has faults");
    faults.iter().map(|fault| format!("{}: {} {:?}", fault.position.line, fault.message, fault.suggestion)).collect()
}

#[test]
fn references_and_layers_are_told_in_one_go() {
    let faults = faults(
        r#"admin: { bind: 127.0.0.1:8080 }
listeners:
  web:
    bind: 127.0.0.1:8080
    pipeline: [ metrisc, { timeout: { response: 2s, id: a } } ]
    routes:
      - { match: { path: { prefix: / } }, cluster: order }
      - { match: { path: { prefix: / } }, cluster: order }
      - { cluster: orders, pipeline: [ { timeout: { response: 1s, shadow: true } }, { timeout: { response: 1s, id: a } } ] }
clusters:
  orders:
    discovery: { static: [ "unix:/run/a.sock" ] }
    endpoint_pipeline: [ { rate_limit: { rate: 1/s, id: b } } ]
"#,
    );
    let expected = [
        (4, "is taken by admin already"),
        (5, "unknown layer `metrisc`"),
        (7, "no cluster `order`"),
        (8, "no cluster `order`"),
        (8, "same name"),
        (9, "cannot be a shadow"),
        (9, "used at"),
        (13, "`id` is not possible here"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (line, part) in expected {
        assert!(
            faults.iter().any(|fault| fault.starts_with(&format!("{line}:")) && fault.contains(part)),
            "{line} {part}: {faults:#?}"
        );
    }
}

#[test]
fn the_layers_of_what_is_faulty_itself_are_told_too() {
    let faults = faults(
        r#"listeners:
  web:
    bind: nowhere
    pipeline: [ metrisc ]
    routes:
      - match: { path: { perfix: / } }
        cluster: b
        pipeline: [ { timeout: soon } ]
clusters:
  a:
    discovery: { static: [ nowhere ] }
    endpoint_pipeline: [ { rate_limti: 1/s } ]
"#,
    );
    let lines: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(lines, ["3", "4", "6", "7", "8", "11", "12"], "{faults:#?}");
}

#[test]
fn a_harmful_order_is_warned_of() {
    let document = read::read(
        "listeners: { web: { bind: \"127.0.0.1:1\", pipeline: [ rate_limit: 1/s, metrics ] } }",
        "t.yaml",
        &|_| None,
    )
    .expect("well-formed YAML");
    let plan = Plan::check(&document, &Layers::stock()).expect("good");
    assert_eq!(plan.warnings().len(), 1);
}

#[test]
fn a_relay_has_the_layers_of_its_protocol() {
    let spec = |relay: &str, cluster: &str, routes: &str| {
        format!(
            "listeners:\n  relay: {{ bind: 127.0.0.1:1, protocol: tcp, cluster: app, {relay} }}\n  \
             web: {{ bind: 127.0.0.1:2, routes: [ {routes} ] }}\n\
             clusters:\n  app: {{ discovery: {{ static: [] }}, {cluster} }}\n"
        )
    };
    let check = |text: &str| {
        let document = crate::read::read(text, "t.yaml", &|_| None).expect("YAML");
        match Plan::check(&document, &Layers::stock()) {
            Ok(plan) => plan.warnings().iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    };
    let all = "pipeline: [ metrics, timeout: 1m, rate_limit: 5/s, concurrency_limit: 5, circuit_breaker: 5, retry: 2 ]";
    assert_eq!(check(&spec(all, all, "{ respond: {} }")), [""; 0]);
    let endpoints = "endpoint_pipeline: [ circuit_breaker: 5 ]";
    assert_eq!(check(&spec("", endpoints, "{ respond: {} }")), [""; 0]);
    for told in [
        check(&spec("pipeline: [ fault_injection: {} ]", "", "{ respond: {} }")),
        check(&spec("", "endpoint_pipeline: [ tracing ]", "{ respond: {} }")),
    ] {
        assert!(told.len() == 1 && told[0].contains("for protocol tcp"), "{told:?}");
    }
    // what requests come to has layers for requests
    assert_eq!(check(&spec("", "", "{ cluster: app }")), [""; 0]);
    let told = check(&spec("", "pipeline: [ tracing ]", "{ cluster: app }"));
    assert!(told.len() == 1 && told[0].starts_with("warning: ") && told[0].contains("passes them by"), "{told:?}");
    let told = check(&spec("", "", "{ respond: {} }").replace("cluster: app", "cluster: ap"));
    assert!(told.len() == 1 && told[0].contains("did you mean `app`?"), "{told:?}");
}

#[test]
fn a_route_that_is_never_reached_is_warned_of() {
    let document = read::read(
        r#"listeners:
  web:
    bind: 127.0.0.1:1
    routes:
      - { match: { host: a, path: { prefix: / }, methods: [ GET ] }, respond: { body: get } }
      - { match: { host: a, path: { prefix: / } }, respond: { body: a } }
      - { match: { host: a }, respond: { body: star } }
      - { match: { host: a, path: { exact: /x } }, respond: { body: x } }
      - { match: { host: b, path: { exact: /x } }, respond: { body: x } }
      - { respond: { body: all } }
      - { match: { host: b }, respond: { body: b } }
"#,
        "t.yaml",
        &|_| None,
    )
    .expect("well-formed YAML");
    let plan = Plan::check(&document, &Layers::stock()).expect("good");
    let lines: Vec<u32> = plan.warnings().iter().map(|warning| warning.position.line).collect();
    assert_eq!(lines, [8, 11], "{:#?}", plan.warnings());
}
