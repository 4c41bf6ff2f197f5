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
    bind: "unix:run/a.sock"
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
    assert_eq!(host("a.b."), Some(HostPattern::Exact("a.b".into())));
    assert_eq!(host("[::1]"), Some(HostPattern::Exact("[::1]".into())));
    for bad in ["", "*", "*.", "a.*", "*a.b", "a:80", "[::1]:80", "http://a", "a/b", &"a.".repeat(130)] {
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
    assert_ne!(one, name("{ match: { path: { prefix: /a } }, cluster: x, rewrite: { prefix: / } }"));
    // as written down here: metrics and state go by it from one version to the next
    assert_eq!(name("{ cluster: x }"), name("{ cluster: x, match: {}, headers: {} }"));
    assert_eq!(
        name("{ match: { path: { prefix: /a }, methods: [ GET ] }, split: { x: 1, y: 2 } }"),
        "route-b7e0667cdf5f8bed"
    );
}

#[test]
fn matchers() {
    let read = |json: serde_json::Value| Node::from(json).deserialize::<StringMatcher>();
    assert_eq!(read("a".into()), Ok(StringMatcher::Exact("a".into())));
    assert_eq!(read(serde_json::json!({ "present": false })), Ok(StringMatcher::Present(false)));
    let refused = |json: serde_json::Value| read(json).expect_err("refused").to_string();
    assert!(refused(1.into()).contains("text in quotes"), "{}", refused(1.into()));
    assert!(refused(serde_json::json!({ "exat": "a" })).contains("did you mean `exact`?"));
    let two = refused(serde_json::json!({ "exact": "a", "prefix": "b" }));
    assert!(two.contains("prefix"), "{two}");
    let broken = refused(serde_json::json!({ "regex": "(a" }));
    assert!(broken.contains("unclosed group, at character 1"), "{broken}");
    let sneaky = refused(serde_json::json!({ "regex": "a)|(b" }));
    assert!(sneaky.contains("unopened group, at character 2"), "{sneaky}");
    let large = refused(serde_json::json!({ "regex": "(\\w{100}){100}" }));
    assert!(large.contains("more than 1048576 bytes"), "{large}");
    let pattern: Pattern = "a|bc".parse().expect("good");
    assert!(pattern.matches(b"bc") && !pattern.matches(b"abc") && !pattern.matches(b"bc\n"));
}

#[test]
fn every_fault_of_a_route_is_at_its_place() {
    let (_, faults) = read_spec(
        r#"listeners:
  web:
    bind: 127.0.0.1:1
    merge_slashes: maybe
    routes:
      - match:
          path: { template: "/users/{id" }
        cluster: a
      - match:
          path:
            regex: "(a"
        cluster: a
      - match:
          headers:
            x-a: { regex: "[" }
        cluster: a
      - match: { headers: { host: a } }
        cluster: a
      - match: { path: { exact: /a/../b } }
        cluster: a
      - match: { path: { template: "/users/{id}" } }
        redirect:
          path: /people/{di}
      - redirect: { status: 200, path: / }
      - redirect: {}
      - redirect: { path: "/a b" }
      - redirect: { path: / }
        rewrite: { host: b }
      - respond: {}
        headers: { request: { set: { a: b } } }
      - cluster: a
        rewrite:
          prefix: /x
      - cluster: a
        rewrite: { host: "http://b" }
      - cluster: a
        headers: { response: { remove: [ Content-Length ] } }
      - cluster: a
        headers:
          request:
            set: { x-a: b, X-A: c }
      - split: { a: 0 }
      - split: { a: 1, b: -1 }
      - { split: { a: 1 }, redirect: { path: / } }
clusters:
  a: { discovery: { static: [ "127.0.0.1:1" ] } }
"#,
    );
    let expected = [
        (4, "expected"),
        (7, "whole segment"),
        (11, "unclosed group"),
        (15, "unclosed character class"),
        (17, "did you mean `match.host`?"),
        (19, "did you mean `/b`?"),
        (23, "did you mean `{id}`?"),
        (24, "redirects nobody"),
        (25, "another `path`, `host` or `scheme`"),
        (26, "must be escaped"),
        (28, "answers itself"),
        (30, "answers itself"),
        (33, "prefix: /"),
        (35, "neither scheme nor path"),
        (37, "content-length"),
        (41, "given twice"),
        (42, "not 0"),
        (43, "whole number"),
        (44, "not both"),
    ];
    for (line, part) in expected {
        let found = faults.iter().any(|fault| fault.starts_with(&format!("{line}:")) && fault.contains(part));
        assert!(found, "{line} {part}: {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn binds() {
    let bind = |value: &str| {
        let (spec, faults) = read_spec(&format!("admin: {{ bind: {value} }}"));
        match spec.admin {
            Some(admin) => Ok((admin.bind.address.to_string(), admin.bind.mode)),
            None => Err(faults.join("\n")),
        }
    };
    assert_eq!(bind("127.0.0.1:80"), Ok(("127.0.0.1:80".into(), 0o600)));
    assert_eq!(bind("\"[::1]:80\""), Ok(("[::1]:80".into(), 0o600)));
    assert_eq!(bind("unix:/run/a.sock"), Ok(("unix:/run/a.sock".into(), 0o600)));
    assert_eq!(bind("{ address: unix:/a, mode: \"0660\" }"), Ok(("unix:/a".into(), 0o660)));
    assert_eq!(bind("{ address: unix:/a, mode: \"666\" }"), Ok(("unix:/a".into(), 0o666)));
    for (bad, place, why) in [
        ("localhost:80", "1:16 ", "did you mean `127.0.0.1:80`?"),
        ("\":80\"", "1:16 ", "did you mean `0.0.0.0:80`?"),
        ("/run/a.sock", "1:16 ", "did you mean `unix:/run/a.sock`?"),
        ("unix:a", "1:16 ", "expected `IP:PORT` or `unix:/PATH`"),
        ("80", "1:16 ", "found the number `80`"),
        ("{ mode: \"0660\" }", "1:16 ", "address"),
        ("{ address: unix:/a, mode: 0660 }", "1:42 ", "did you mean \"0660\", in quotes?"),
        ("{ address: unix:/a, mode: \"0888\" }", "1:42 ", "octal"),
        ("{ address: unix:/a, mode: \"1777\" }", "1:42 ", "octal"),
        ("{ address: 127.0.0.1:80, mode: \"0660\" }", "1:47 ", "only the file of a Unix socket has a mode"),
        ("{ address: unix:/a, mod: \"0660\" }", "1:36 ", "mode"),
        (&format!("unix:/{}", "a".repeat(107)), "1:16 ", "at the most 107 bytes, this one 108"),
    ] {
        let fault = bind(bad).expect_err(bad);
        assert!(fault.starts_with(place) && fault.contains(why), "{bad}: {fault}");
    }
}

#[test]
fn forwarded_is_off_on_unix_sockets_unless_asked_for() {
    let forwarded = |rest: &str| {
        let (spec, faults) = read_spec(&format!("listeners: {{ web: {{ {rest} }} }}"));
        assert_eq!(faults, [""; 0]);
        spec.listeners[0].forwarded
    };
    assert_eq!(forwarded("bind: 127.0.0.1:80"), Forwarded::Append);
    assert_eq!(forwarded("bind: unix:/a"), Forwarded::Off);
    assert_eq!(forwarded("bind: unix:/a, forwarded: append"), Forwarded::Append);
}

#[test]
fn connection_layers() {
    let read = |list: &str| {
        let (spec, faults) = read_spec(&format!("listeners: {{ a: {{ bind: unix:/a, connection: {list} }} }}"));
        (spec.listeners.into_iter().next().map(|listener| listener.connection), faults.join("\n"))
    };
    let of = |max| Some(vec![ConnectionLayer::MaxConnections(NonZeroUsize::new(max).unwrap())]);
    assert_eq!(read("[ max_connections: 10 ]"), (of(10), String::new()));
    assert_eq!(read("[]"), (Some(vec![]), String::new()));
    for (bad, place, why) in [
        ("[ max_connections: 0 ]", "1:65 ", "from 1 to"),
        ("[ max_connections: many ]", "1:65 ", "many"),
        ("[ max_connection: 1 ]", "1:48 ", "did you mean `max_connections`?"),
        ("[ max_connections ]", "1:48 ", "expected `max_connections: NUMBER`"),
        ("[ max_connections: 1, max_connections: 2 ]", "1:68 ", "twice"),
        ("{ max_connections: 1 }", "1:46 ", "expected a list"),
    ] {
        let (_, fault) = read(bad);
        assert!(fault.starts_with(place) && fault.contains(why), "{bad}: {fault}");
    }
}

#[test]
fn relays() {
    let read = |rest: &str| {
        let (spec, faults) = read_spec(&format!("listeners: {{ a: {{ bind: unix:/a, {rest} }} }}"));
        (spec.listeners.into_iter().next().and_then(|listener| listener.relay), faults.join("\n"))
    };
    let (relay, faults) = read("protocol: tcp, cluster: b");
    assert_eq!(faults, "");
    let relay = relay.unwrap();
    assert_eq!((relay.cluster.as_str(), relay.timeouts.idle), ("b", Duration::from_secs(3600)));
    let (relay, faults) = read("protocol: tcp, cluster: b, timeouts: { idle: 5s }");
    assert_eq!((relay.unwrap().timeouts.idle, faults.as_str()), (Duration::from_secs(5), ""));
    for (bad, place, why) in [
        ("protocol: tcp", "1:17 ", "needs a `cluster`"),
        ("protocol: tcp, cluster: b, routes: []", "1:69 ", "`cluster` in place of routes"),
        ("protocol: tcp, cluster: b, forwarded: off", "1:72 ", "that is for HTTP"),
        ("protocol: tcp, cluster: b, request_id: off", "1:73 ", "that is for HTTP"),
        ("protocol: tcp, cluster: b, timeouts: { idl: 5s }", "1:73 ", "idl"),
        ("cluster: b", "1:43 ", "is for listeners with `protocol: tcp`"),
    ] {
        let (_, fault) = read(bad);
        assert!(fault.starts_with(place) && fault.contains(why), "{bad}: {fault}");
    }
}

#[test]
fn dubbo_listeners() {
    let read = |rest: &str| {
        let (spec, faults) = read_spec(&format!("listeners: {{ a: {{ bind: unix:/a, protocol: dubbo, {rest} }} }}"));
        (spec.listeners.into_iter().next(), faults.join("\n"))
    };
    let (listener, faults) =
        read("limits: { body: 1MiB, calls: 7 }, timeouts: { heartbeat: 5s }, routes: [ cluster: b ]");
    assert_eq!(faults, "");
    let listener = listener.unwrap();
    let dubbo = listener.dubbo.unwrap();
    assert_eq!((dubbo.limits.calls.get(), dubbo.timeouts.heartbeat), (7, Duration::from_secs(5)));
    assert_eq!(listener.routes[0].dubbo, Some(DubboMatchSpec::default()));

    let (listener, faults) = read(
        "routes: [ { match: { service: a.*, method: { prefix: f }, attachments: { k: v }, arguments: { '1.id': x } }, \
         split: { b: 1, c: 2 } } ]",
    );
    assert_eq!(faults, "");
    let matches = listener.unwrap().routes[0].dubbo.clone().unwrap();
    assert_eq!(matches.service, Some(ServicePattern::Prefix("a.".into())));
    assert_eq!(matches.arguments, [("1.id".to_owned(), StringMatcher::Exact("x".into()))]);

    for (bad, why) in [
        ("forwarded: off", "that is for HTTP"),
        ("limits: { headers: 7 }", "headers"),
        ("timeouts: { idle: 1s }", "idle"),
        ("cluster: b", "is for listeners with `protocol: tcp`"),
        ("routes: [ { match: { path: { prefix: / } }, cluster: b } ]", "path"),
        ("routes: [ { respond: { status: 200 } } ]", "respond"),
        ("routes: [ { match: {} } ]", "needs `cluster` or `split`"),
        ("routes: [ { cluster: b, split: { c: 1 } } ]", "not both"),
        ("routes: [ { match: { service: 'a*b' }, cluster: b } ]", "one `*`, at the end or at the start"),
        ("routes: [ { match: { arguments: { x: y } }, cluster: b } ]", "the number of an argument"),
        ("routes: [ { match: { arguments: { '0..a': y } }, cluster: b } ]", "a field has no name"),
    ] {
        let (_, fault) = read(bad);
        assert!(fault.starts_with("1:") && fault.contains(why), "{bad}: {fault}");
    }
}

#[test]
fn services_are_matched_by_their_names() {
    let takes = |pattern: &str, service: &str| {
        Node::from(serde_json::Value::from(pattern)).deserialize::<ServicePattern>().unwrap().takes(service)
    };
    assert!(takes("a.B", "a.B") && !takes("a.B", "a.Bc"));
    assert!(takes("a.*", "a.B") && !takes("a.*", "b.B"));
    assert!(takes("*.B", "a.B") && !takes("*.B", "a.C"));
    assert!(takes("*", "anything"));
}
