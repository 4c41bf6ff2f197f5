use crate::{Sources, Static, register};
use mesh_core::{Address, Target, spec::Node};
use serde_json::{Value, json};

fn read(value: Value) -> Result<Vec<Target>, String> {
    let mut sources = Sources::new();
    register(&mut sources);
    let source = sources.check(&value.into()).map_err(|invalid| invalid.to_string())?;
    Ok(source.fixed_targets().unwrap().to_vec())
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn endpoints_are_addresses_or_mappings() {
    let targets = read(json!({ "static": [
        "127.0.0.1:9001",
        { "address": "[::1]:9002", "weight": 2, "zone": "a", "metadata": { "version": "v2" } },
        "unix:/run/app.sock",
        { "address": "127.0.0.1:9003", "weight": 0 },
    ] }));
    let full = Target {
        address: address("[::1]:9002"),
        weight: 2,
        zone: Some("a".into()),
        metadata: [("version".into(), "v2".into())].into(),
    };
    let expected = vec![
        Target::new(address("127.0.0.1:9001")),
        full,
        Target::new(address("unix:/run/app.sock")),
        Target::new(address("127.0.0.1:9003")).with_weight(0),
    ];
    assert_eq!(targets, Ok(expected));
    assert_eq!(read(json!({ "static": [] })), Ok(vec![]));
}

#[test]
fn faults_say_what_and_where() {
    for (value, message) in [
        (
            json!({ "static": ["127.0.0.1:1", "127.0.0.1:2", { "address": "127.0.0.1:1" }] }),
            "static[2]: the address `127.0.0.1:1` is given twice",
        ),
        (
            json!({ "static": ["localhost:80"] }),
            "static[0]: `localhost` is a name, and names are not looked up here: expected an IP address, as in `127.0.0.1:80`",
        ),
        (
            json!({ "static": [{ "address": "orders.default.svc" }] }),
            "static[0].address: `orders.default.svc` is a name, and names are not looked up here: expected an IP address, as in `127.0.0.1:80`",
        ),
        (
            json!({ "static": ["127.0.0.1"] }),
            "static[0]: `127.0.0.1` is not an address: expected `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`",
        ),
        (
            json!({ "static": ["unix:app.sock"] }),
            "static[0]: `unix:app.sock` is not an address: expected `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`",
        ),
        (
            json!({ "static": [9001] }),
            "static[0]: expected an address such as `127.0.0.1:9001`, or a mapping with `address`, found the number `9001`",
        ),
        (
            json!({ "static": [{ "address": "127.0.0.1:1", "wieght": 2 }] }),
            "static[0]: unknown key `wieght`; did you mean `weight`?",
        ),
        (json!({ "static": [{ "weight": 2 }] }), "static[0]: missing key `address`"),
        (
            json!({ "static": [{ "address": "127.0.0.1:1", "weight": -1 }] }),
            "static[0].weight: expected a whole number from 0 to 4294967295, found the number `-1`",
        ),
        (
            json!({ "static": [{ "address": "127.0.0.1:1", "weight": 4294967296_u64 }] }),
            "static[0].weight: expected a whole number from 0 to 4294967295, found the number `4294967296`",
        ),
        (json!({ "static": "127.0.0.1:1" }), "static: expected a list of endpoints, found text `127.0.0.1:1`"),
    ] {
        let found = read(value.clone()).unwrap_err();
        // the reader may add what to do about it
        assert!(found.starts_with(message), "{value}: {found}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let value = json!(["127.0.0.1:9001", { "address": "[::1]:9002", "weight": 2, "zone": "a" }]);
    let list: Static = Node::from(value).deserialize().unwrap();
    let written = serde_json::to_value(&list).unwrap();
    assert_eq!(
        written,
        json!([{ "address": "127.0.0.1:9001", "weight": 1 }, { "address": "[::1]:9002", "weight": 2, "zone": "a" }])
    );
    assert_eq!(Node::from(written).deserialize::<Static>().unwrap(), list);
}
