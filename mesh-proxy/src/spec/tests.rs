use super::*;
use crate::read;
use mesh_core::units::Size;

fn read_spec(text: &str) -> (Spec, Vec<String>) {
    let document = read::read(text, "t.yaml", &|_| None).expect("well-formed YAML");
    let (spec, faults) = Spec::read(&document.root);
    let faults =
        faults.iter().map(|invalid| format!("{}:{} {}", invalid.position.line, invalid.position.column, invalid));
    (spec, faults.collect())
}

#[test]
fn defaults() {
    let (spec, faults) = read_spec(
        r#"
listeners:
  web:
    bind: 127.0.0.1:0
    routes: [ { cluster: a }, { respond: {} } ]
clusters:
  a: { discovery: { static: [ "127.0.0.1:1" ] } }
"#,
    );
    assert_eq!(faults, [""; 0]);
    let web = &spec.listeners[0];
    assert_eq!((web.protocol, web.forwarded, web.request_id), Default::default());
    assert_eq!(web.routes[0].matches, MatchSpec::default());
    assert!(web.routes[0].name.starts_with("route-") && web.routes[0].name != web.routes[1].name);
    assert_eq!(spec.clusters[0].connect, ConnectSpec::default());
    assert_eq!(spec.shutdown, ShutdownSpec { delay: Duration::ZERO, timeout: Duration::from_secs(30) });
    assert!(spec.admin.is_none() && spec.workers.is_none());
    let (empty, faults) = read_spec("");
    assert!(empty.listeners.is_empty() && faults.is_empty());
}

#[test]
fn every_faulty_subtree_is_reported_at_its_place() {
    let (_, faults) = read_spec(
        r#"admin: { bind: localhost }
workers: 0
shutdown: { delay: 5 }
listeners:
  web:
    bind: "unix:/run/a.sock"
    protocol: htpp
    routes:
      - match: { path: { prefix: v1 } }
        cluster: a
      - match: { host: "a:80" }
        cluster: a
      - match: { methods: [ get ] }
        respond: { status: 99 }
      - { cluster: a, respond: {} }
      - {}
      - { clutser: a }
clusters:
  a: { discovery: { static: [ "127.0.0.1:1" ] }, conect: { timeout: 1s } }
listenres: {}
"#,
    );
    let lines: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap_or("")).collect();
    let mut sorted: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 6, 7, 9, 11, 13, 14, 15, 16, 17, 19, 20], "{faults:#?}");
}

#[test]
fn limits_and_timeouts_of_a_listener() {
    let listener = |rest: &str| format!("listeners: {{ web: {{ bind: \"127.0.0.1:1\", {rest} }} }}");
    let (spec, faults) = read_spec(&listener(
        "limits: { headers: 50, header_bytes: 16KiB, streams: 7, body: 1MiB }, \
         timeouts: { header: 1s, idle: 2s, max_age: 3s }, trusted_hops: 2, forwarded: replace, request_id: always",
    ));
    assert_eq!(faults, [""; 0]);
    let web = &spec.listeners[0];
    let limits =
        LimitsSpec { headers: 50, header_bytes: Size::from_kib(16), streams: 7, body: Some(Size::from_mib(1)) };
    let seconds = Duration::from_secs;
    let timeouts = TimeoutsSpec { header: seconds(1), idle: seconds(2), max_age: Some(seconds(3)) };
    assert_eq!((web.limits, web.timeouts, web.trusted_hops), (limits, timeouts, 2));
    assert_eq!((web.forwarded, web.request_id), (Forwarded::Replace, RequestId::Always));
    for (faulty, told) in [
        ("limits: { headers: 0 }", "1:61: listeners.web.limits.headers: expected 1 to 10000, found 0"),
        ("limits: { header_bytes: 1KiB }", "expected 8KiB to 16MiB, found 1KiB"),
        ("limits: { streams: 0 }", "expected 1 to"),
        ("limits: { stream: 1 }", "streams"),
        ("timeouts: { idle: 0s }", "listeners.web.timeouts.idle: expected more than 0s"),
        ("timeouts: { header: 5 }", "did you mean `5s`?"),
        ("timeouts: { max_age: 0s }", "expected more than 0s"),
        ("trusted_hops: -1", "listeners.web.trusted_hops"),
        ("forwarded: replaced", "replace"),
    ] {
        let (_, faults) = read_spec(&listener(faulty));
        assert!(faults.len() == 1 && faults[0].contains(told), "{faulty}: {faults:?}");
    }
}

#[test]
fn connections_of_a_cluster() {
    let cluster = |connect: &str| {
        format!("clusters: {{ a: {{ discovery: {{ static: [ \"127.0.0.1:1\" ] }}, connect: {{ {connect} }} }} }}")
    };
    let (spec, faults) = read_spec(&cluster("timeout: 1s, idle: 2s, max_age: 3s, max_connections: 4, max_pending: 5"));
    assert_eq!(faults, [""; 0]);
    let connect = spec.clusters[0].connect;
    assert_eq!(
        (connect.max_age, connect.max_connections.get(), connect.max_pending),
        (Some(Duration::from_secs(3)), 4, 5)
    );
    for (faulty, told) in [
        ("timeout: 0s", "connect.timeout: expected more than 0s"),
        ("max_age: 0s", "connect.max_age: expected more than 0s"),
        ("max_connections: 0", "connect.max_connections"),
        ("max_pending: -1", "connect.max_pending"),
        ("max_connection: 1", "max_connections"),
    ] {
        let (_, faults) = read_spec(&cluster(faulty));
        assert!(faults.len() == 1 && faults[0].contains(told), "{faulty}: {faults:?}");
    }
}

#[test]
fn hosts() {
    let host = |text: &str| Node::from(serde_json::json!(text)).deserialize::<HostPattern>().ok();
    assert_eq!(host("A.b"), Some(HostPattern::Exact("a.b".into())));
    assert_eq!(host("*.A.b"), Some(HostPattern::Below(".a.b".into())));
    assert_eq!(host("[::1]"), Some(HostPattern::Exact("[::1]".into())));
    for bad in ["", "*", "*.", "a.*", "*a.b", "a:80", "[::1]:80", "http://a", "a/b"] {
        assert_eq!(host(bad), None, "{bad}");
    }
}

#[test]
fn a_route_keeps_its_name_while_it_is_the_same() {
    let name = |route: &str| {
        read_spec(&format!("listeners: {{ web: {{ bind: \"127.0.0.1:1\", routes: [ {route} ] }} }}")).0.listeners[0]
            .routes[0]
            .name
            .clone()
    };
    let one = name("{ match: { path: { prefix: /a } }, cluster: x }");
    assert_eq!(one, name("{ cluster: x, match: { path: { prefix: /a } }, pipeline: [ metrics ] }"));
    assert_ne!(one, name("{ match: { path: { prefix: /b } }, cluster: x }"));
    assert_ne!(one, name("{ match: { path: { prefix: /a } }, cluster: y }"));
}
