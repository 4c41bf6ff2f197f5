use super::*;
use crate::{DnsQuery, Family, register};
use mesh_core::spec::Node;
use mesh_discovery::Sources;
use serde_json::{Value, json};

fn read(value: Value) -> Result<DnsSettings, String> {
    let mut sources = Sources::new();
    register(&mut sources);
    let node = Node::from(json!({ "dns": value }));
    sources.check(&node).map_err(|invalid| invalid.to_string())?;
    Ok(node.get("dns").unwrap().deserialize().unwrap())
}

#[test]
fn settings_are_a_name_with_its_port_or_a_service() {
    let host = DnsSettings::host("orders.default.svc", 8080);
    assert_eq!(read(json!("orders.default.svc:8080")), Ok(host.clone()));
    assert_eq!(read(json!({ "name": "orders.default.svc", "port": 8080 })), Ok(host));
    let full = json!({
        "srv": "_grpc._tcp.orders", "server": "127.0.0.1:5353", "family": "both",
        "min_ttl": "5s", "max_ttl": "1m", "grace": "0s", "timeout": "500ms",
    });
    let expected = DnsSettings {
        query: DnsQuery::Srv { name: "_grpc._tcp.orders".into() },
        server: Some("127.0.0.1:5353".parse().unwrap()),
        family: Family::Both,
        min_ttl: 5 * SECOND,
        max_ttl: 60 * SECOND,
        grace: Duration::ZERO,
        timeout: SECOND / 2,
    };
    assert_eq!(read(full.clone()), Ok(expected.clone()));
    assert_eq!(serde_json::to_value(&expected).unwrap(), full, "what is written is read back");
    let server = |text: &str| read(json!({ "srv": "s", "server": text })).unwrap().server.unwrap().to_string();
    assert_eq!((server("10.0.0.10"), server("::1")), ("10.0.0.10:53".into(), "[::1]:53".into()));
    assert_eq!(
        serde_json::to_value(DnsSettings::host("a", 1)).unwrap(),
        json!({
            "name": "a", "port": 1, "family": "prefer_ip4",
            "min_ttl": "1s", "max_ttl": "5m", "grace": "30s", "timeout": "2s",
        })
    );
}

#[test]
fn faults_say_what_and_where() {
    for (value, message) in [
        (json!("orders"), "dns: expected a name and a port such as `orders.default.svc:8080`"),
        (json!({ "name": "orders" }), "dns: missing key `port`: A and AAAA records say none"),
        (json!({ "name": "a", "port": 1, "srv": "b" }), "dns: expected `name` or `srv`, found both"),
        (json!({ "srv": "a", "port": 1 }), "dns: expected `srv` without `port`: SRV records say it themselves"),
        (json!({}), "dns: expected `name` and `port`, or `srv`, found neither"),
        (json!({ "name": "a", "port": 0 }), "dns.port: expected a port from 1 to 65535, found 0"),
        (json!({ "name": "", "port": 1 }), "dns.name: expected a name, found none"),
        (json!({ "name": "10.0.0.1", "port": 1 }), "dns.name: `10.0.0.1` is an address and needs no DNS"),
        (json!({ "srv": "a..b" }), "dns.srv: `a..b` is not a name: "),
        (json!({ "srv": "a", "min_ttl": "0s" }), "dns.min_ttl: must be at least 10ms"),
        (json!({ "srv": "a", "max_ttl": "500ms" }), "dns.max_ttl: must be at least `min_ttl`"),
        (json!({ "srv": "a", "sever": "b" }), "dns: unknown key `sever`; did you mean `server`?"),
        (
            json!({ "srv": "a", "server": "localhost" }),
            "dns.server: `localhost` is not the address of a server: expected `IP` or `IP:PORT`, as in `127.0.0.1:5353`",
        ),
        (json!({ "srv": "a", "family": "ip5" }), "dns.family: unknown value `ip5`; did you mean `ip"),
    ] {
        let found = read(value.clone()).unwrap_err();
        assert!(found.starts_with(message), "{value}: {found}");
    }
}
