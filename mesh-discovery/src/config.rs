//! Reading a list of endpoints, and the sources of this crate by name (feature `config`).

use crate::{DuplicateAddress, Sources, Static};
use mesh_core::{Address, Target, pipeline::Validate};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
};

/// Adds the sources of this crate: `static`, and with the feature `file` that for JSON.
pub fn register(sources: &mut Sources) {
    sources.add("static", "Endpoints that the spec itself lists", |source: Static| source);
    #[cfg(feature = "file")]
    crate::register_file(sources, crate::read_json);
}

/// Whatever can be read is a source.
impl Validate for Static {}

/// A list; an address that is there twice is refused where it stands.
impl<'de> Deserialize<'de> for Static {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Static;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of endpoints")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Static, A::Error> {
        let mut seen = HashSet::new();
        let mut targets = Vec::new();
        while let Some(target) = list.next_element_seed(Item { seen: &mut seen, index: targets.len() })? {
            targets.push(target);
        }
        Ok(Static { targets })
    }
}

/// One endpoint of the list, at `index`.
struct Item<'a> {
    seen: &'a mut HashSet<Address>,
    index: usize,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Target;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Target, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Item<'_> {
    fn first<E: de::Error>(self, target: Target) -> Result<Target, E> {
        if self.seen.insert(target.address.clone()) {
            return Ok(target);
        }
        Err(E::custom(DuplicateAddress { address: target.address, index: self.index }))
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as `127.0.0.1:9001`, or a mapping with `address`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
        let address = parse(text)?;
        self.first(Target::new(address))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
        let Mapping { address, weight, zone, metadata } = Mapping::deserialize(MapAccessDeserializer::new(map))?;
        self.first(Target { address, weight, zone, metadata })
    }
}

/// The mapping form of an endpoint.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StaticEndpoint")]
struct Mapping {
    /// Where it listens: `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`.
    #[serde(deserialize_with = "address", serialize_with = "as_text")]
    #[schemars(schema_with = "address_schema")]
    address: Address,
    /// Its share of the load beside the others; 0 gets none.
    #[serde(default = "one")]
    weight: u32,
    /// The zone it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

const fn one() -> u32 {
    1
}

fn parse<E: de::Error>(text: &str) -> Result<Address, E> {
    text.parse().map_err(|error| match host_of(text) {
        Some(host) => E::custom(format_args!(
            "`{host}` is a name, and names are not looked up here: expected an IP address, as in `127.0.0.1:80`"
        )),
        None => E::custom(error),
    })
}

/// The host of `host:port` or `host`, if it looks like a name and not like a mistyped IP address.
fn host_of(text: &str) -> Option<&str> {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let named = host.contains(|c: char| c.is_ascii_alphabetic());
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    (named && plain && host != "unix").then_some(host)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Address;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address such as `127.0.0.1:9001`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Address, E> {
            parse(text)
        }
    }

    deserializer.deserialize_str(Text)
}

fn as_text<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

/// The mapping form, with the defaults filled in.
impl Serialize for Static {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.targets().iter().cloned().map(|target| {
            let Target { address, weight, zone, metadata } = target;
            Mapping { address, weight, zone, metadata }
        }))
    }
}

fn address_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "description": "An IP address and a port, or the path of a Unix socket.",
        "examples": ["127.0.0.1:9001", "[::1]:9001", "unix:/run/app.sock"],
    })
}

impl JsonSchema for Static {
    fn schema_name() -> Cow<'static, str> {
        "Static".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, mapping) = (address_schema(generator), generator.subschema_for::<Mapping>());
        json_schema!({
            "type": "array",
            "description": "Endpoints, each an address or a mapping with its weight, zone and metadata.",
            "items": { "anyOf": [text, mapping] },
        })
    }
}
