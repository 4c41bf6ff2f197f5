//! The settings in a spec.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_core::spec::Node;
use mesh_discovery::Sources;
use mesh_discovery_etcd::{Etcd, EtcdRegistrar, EtcdRegistrarSettings, EtcdSettings};
use serde_json::{Value, json};
use std::time::Duration;

fn sources() -> Sources {
    let mut sources = Sources::new();
    mesh_discovery_etcd::register(&mut sources);
    sources
}

fn refused(settings: Value) -> String {
    sources().check(&Node::from(json!({ "etcd": settings }))).unwrap_err().to_string()
}

const ENDPOINTS: [&str; 2] = ["http://127.0.0.1:2379", "http://etcd.internal:2379/"];

#[test]
fn settings_are_read_with_their_defaults_and_without_their_secrets() {
    let settings = json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "user": "mesh", "password": "secret" });
    let source = sources().check(&Node::from(json!({ "etcd": settings }))).unwrap();
    let effective =
        json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "user": "mesh", "password": "***", "grace": "1m" });
    assert_eq!((source.name(), source.effective()), ("etcd", &effective));
    assert!(source.fixed_targets().is_none());

    let registrar = sources()
        .check_registrar(&Node::from(json!({ "etcd": { "endpoints": ENDPOINTS, "prefix": "/a/", "id": "me" } })))
        .unwrap();
    let effective = json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "id": "me", "ttl": "10s" });
    assert_eq!(registrar.effective(), &effective);
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let with = |endpoint: &str| refused(json!({ "endpoints": [ENDPOINTS[0], endpoint], "prefix": "/a/" }));
    assert!(with("https://127.0.0.1:2379").contains("asks for TLS"), "{}", with("https://127.0.0.1:2379"));
    assert!(with("https://x:1").contains("endpoints[1]"), "{}", with("https://x:1"));
    for wrong in ["127.0.0.1:2379", "http://", "http://etcd", "http://u:p@etcd:1", "http://etcd:1/v3", "unix:/x", ""] {
        assert!(with(wrong).contains("http://HOST:PORT"), "{wrong}: {}", with(wrong));
    }
    assert!(refused(json!({ "endpoints": [], "prefix": "/a/" })).contains("no server"));
    assert!(refused(json!({ "endpoints": ENDPOINTS, "prefix": "/a" })).contains("did you mean `/a/`?"));
    assert!(refused(json!({ "endpoints": ENDPOINTS })).contains("prefix"));
    assert!(refused(json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "user": "u" })).contains("`password`"));
    assert!(refused(json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "password": "p" })).contains("`user`"));
    assert!(refused(json!({ "endpoints": ENDPOINTS, "prefix": "/a/", "gracee": "1s" })).contains("grace"));
}

#[test]
fn rust_users_are_told_the_same() {
    let error = Etcd::new(EtcdSettings::new(["https://x:1"], "/a/")).unwrap_err();
    assert_eq!(error.key(), "endpoints[0]");
    assert!(error.to_string().contains("TLS"), "{error}");
    for (ttl, good) in [(0, false), (1, false), (2, true), (3600, true), (3601, false)] {
        let settings =
            EtcdRegistrarSettings { ttl: Duration::from_secs(ttl), ..EtcdRegistrarSettings::new(ENDPOINTS, "/a/") };
        assert_eq!(EtcdRegistrar::new(settings).is_ok(), good, "{ttl}");
    }
    let secret = EtcdSettings {
        user: Some("mesh".into()),
        password: Some("secret".into()),
        ..EtcdSettings::new(ENDPOINTS, "/a/")
    };
    assert!(!format!("{:?}", Etcd::new(secret).unwrap()).contains("secret"));
}
