//! The value under a key: an endpoint, as JSON or as its bare address.

use mesh_core::{Address, Target};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// The JSON form. What it has besides is left alone, so that other readers may find more in it.
#[derive(Deserialize, Serialize)]
struct Json<'a> {
    address: Cow<'a, str>,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, serde_json::Value>,
}

const fn one() -> u32 {
    1
}

/// Reads a value; the error says what is wrong with it.
pub(crate) fn read(value: &[u8]) -> Result<Target, String> {
    let text = std::str::from_utf8(value).map_err(|_| "not UTF-8 text".to_owned())?.trim();
    if !text.starts_with('{') {
        return Ok(Target::new(address(text)?));
    }
    let Json { address: at, weight, zone, metadata } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let metadata = metadata.into_iter().map(|(name, value)| match value {
        serde_json::Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    Ok(Target { address: address(&at)?, weight, zone, metadata: metadata.collect() })
}

fn address(text: &str) -> Result<Address, String> {
    text.parse::<Address>().map_err(|error| error.to_string())
}

/// Writes the JSON form.
pub(crate) fn write(target: &Target) -> Vec<u8> {
    let Target { address, weight, zone, metadata } = target;
    let metadata = metadata.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let json = Json { address: address.to_string().into(), weight: *weight, zone: zone.clone(), metadata };
    serde_json::to_vec(&json).expect("text keys and plain values are always JSON")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::{collection::btree_map, option, prelude::*};

    fn target(port: u16) -> Target {
        Target::new(std::net::SocketAddr::from(([10, 0, 0, 1], port)))
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(read(b"10.0.0.1:80"), Ok(target(80)));
        assert_eq!(read(b" 10.0.0.1:80\n"), Ok(target(80)));
        assert_eq!(read(b"unix:/run/app.sock").unwrap().address.to_string(), "unix:/run/app.sock");
        assert_eq!(read(br#"{"address":"10.0.0.1:80"}"#), Ok(target(80)));
        let full = read(br#" {"address":"10.0.0.1:80","weight":3,"zone":"a","metadata":{"v":"2","n":7},"more":[]} "#);
        let metadata = [("v".into(), "2".into()), ("n".into(), "7".into())].into();
        assert_eq!(full, Ok(Target { weight: 3, zone: Some("a".into()), metadata, ..target(80) }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (value, error) in [
            (&b"app:80"[..], "`app:80` is not an address"),
            (b"", "`` is not an address"),
            (b"\xff", "not UTF-8"),
            (b"{}", "missing field `address`"),
            (b"{\"address\":\"10.0.0.1\"}", "`10.0.0.1` is not an address"),
            (b"{\"address\":\"10.0.0.1:80\",\"weight\":-1}", "-1"),
            (b"{\"address\":\"10.0.0.1:80\"", "EOF"),
        ] {
            assert!(read(value).unwrap_err().contains(error), "{:?}", read(value));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            (port, weight, zone) in (any::<u16>(), any::<u32>(), option::of(".*")),
            metadata in btree_map(".*", ".*", 0..4),
        ) {
            let target = Target { weight, zone, metadata, ..target(port) };
            prop_assert_eq!(read(&write(&target)), Ok(target));
        }

        #[test]
        fn nothing_panics(value in any::<Vec<u8>>()) {
            let _ = read(&value);
        }
    }
}
