//! What discovery reads: the value of a key in etcd, and a file of endpoints in JSON and in YAML.
#![no_main]
#![allow(clippy::unwrap_used, reason = "what is written is read again")]

use libfuzzer_sys::fuzz_target;
use mesh_discovery::Static;

#[path = "../../mesh-discovery/etcd/src/value.rs"]
mod value;

fuzz_target!(|data: &[u8]| {
    if let Ok(target) = value::read(data) {
        assert_eq!(value::read(&value::write(&target)).unwrap(), target);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(invalid) = mesh_discovery::read_json(text) {
        drop(invalid.to_string());
    }
    if let Ok(document) = mesh_proxy::read::read(text, "endpoints.yaml", &|_| None) {
        drop(document.root.deserialize::<Static>());
    }
});
