//! Reading the settings, and the registration for specs (feature `config`).

use crate::{Dns, DnsQuery, DnsSettings, Family, client::check_name};
use mesh_core::{
    pipeline::Validate,
    spec::{Invalid, shorthand},
    units::duration,
};
use mesh_discovery::Sources;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Adds the source `dns`.
pub fn register(sources: &mut Sources) {
    sources.add("dns", "Endpoints by DNS: A and AAAA, or SRV records, for as long as they live", Dns::new);
}

/// No limit here is shorter.
const SHORTEST: Duration = Duration::from_millis(10);

impl Validate for DnsSettings {
    fn validate(&self) -> Result<(), Invalid> {
        let key = match self.query {
            DnsQuery::Host { .. } => "name",
            DnsQuery::Srv { .. } => "srv",
        };
        check_name(self.name()).map_err(|message| Invalid::new(message).in_path(key))?;
        if matches!(self.query, DnsQuery::Host { port: 0, .. }) {
            return Err(Invalid::new("expected a port from 1 to 65535, found 0").in_path("port"));
        }
        for (key, time) in [("min_ttl", self.min_ttl), ("timeout", self.timeout)] {
            if time < SHORTEST {
                return Err(Invalid::new("must be at least 10ms").in_path(key));
            }
        }
        if self.max_ttl < self.min_ttl {
            return Err(Invalid::new("must be at least `min_ttl`").in_path("max_ttl"));
        }
        Ok(())
    }
}

/// The mapping form.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "DnsMapping")]
struct Mapping {
    /// A name whose addresses (A, AAAA) are the endpoints; with `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The port that the endpoints of `name` listen at.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// A service (SRV) whose targets are the endpoints, in place of `name` and `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    srv: Option<String>,
    /// The server that is asked: an IP address, or one with a port (default 53). Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
    /// Which addresses of a name are endpoints. Default: prefer_ip4.
    family: Family,
    /// An answer is good for so long even where its TTL is shorter; at least 10ms. Default 1s.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    min_ttl: Duration,
    /// An answer is good for so long even where its TTL is longer; at least `min_ttl`. Default 5m.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    max_ttl: Duration,
    /// Endpoints stay for so long after the name has begun to have none. Default 30s.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    grace: Duration,
    /// How long a server may take to answer; it is asked twice. At least 10ms. Default 2s.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    timeout: Duration,
}

impl Default for Mapping {
    fn default() -> Self {
        let DnsSettings { query: _, server: _, family, min_ttl, max_ttl, grace, timeout } = DnsSettings::srv("");
        Self { name: None, port: None, srv: None, server: None, family, min_ttl, max_ttl, grace, timeout }
    }
}

impl From<DnsSettings> for Mapping {
    fn from(settings: DnsSettings) -> Self {
        let DnsSettings { query, server, family, min_ttl, max_ttl, grace, timeout } = settings;
        let (name, port, srv) = match query {
            DnsQuery::Host { name, port } => (Some(name), Some(port), None),
            DnsQuery::Srv { name } => (None, None, Some(name)),
        };
        Self { name, port, srv, server: server.map(Server), family, min_ttl, max_ttl, grace, timeout }
    }
}

impl TryFrom<Mapping> for DnsSettings {
    type Error = &'static str;

    fn try_from(mapping: Mapping) -> Result<Self, &'static str> {
        let Mapping { name, port, srv, server, family, min_ttl, max_ttl, grace, timeout } = mapping;
        let query = match (name, port, srv) {
            (Some(name), Some(port), None) => DnsQuery::Host { name, port },
            (None, None, Some(name)) => DnsQuery::Srv { name },
            (Some(_), _, Some(_)) => return Err("expected `name` or `srv`, found both"),
            (Some(_), None, None) => return Err("missing key `port`: A and AAAA records say none"),
            (None, Some(_), Some(_)) => return Err("expected `srv` without `port`: SRV records say it themselves"),
            (None, _, None) => return Err("expected `name` and `port`, or `srv`, found neither"),
        };
        Ok(Self { query, server: server.map(|server| server.0), family, min_ttl, max_ttl, grace, timeout })
    }
}

/// The mapping form, with the defaults filled in.
impl Serialize for DnsSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Mapping::from(self.clone()).serialize(serializer)
    }
}

/// A mapping, or `NAME:PORT`.
impl<'de> Deserialize<'de> for DnsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mapping = shorthand::<Mapping, Mapping, _, _>(
            deserializer,
            "a name and a port such as `orders.default.svc:8080`, or a mapping with `name` and `port`, or with `srv`",
            |text| match text.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
                Some((name, Ok(port))) => Ok(Mapping::from(DnsSettings::host(name, port))),
                _ => Err("expected a name and a port such as `orders.default.svc:8080`"),
            },
        )?;
        mapping.try_into().map_err(D::Error::custom)
    }
}

impl JsonSchema for DnsSettings {
    fn schema_name() -> Cow<'static, str> {
        "DnsSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mapping = generator.subschema_for::<Mapping>();
        json_schema!({
            "description": "A name and a port, or a mapping.",
            "anyOf": [{ "type": "string", "examples": ["orders.default.svc:8080"] }, mapping],
        })
    }
}

/// An address of a server; its port is 53 where none is given.
#[derive(Clone, Copy)]
struct Server(SocketAddr);

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
        address.map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "`{text}` is not the address of a server: expected `IP` or `IP:PORT`, as in `127.0.0.1:5353`"
            ))
        })
    }
}

impl JsonSchema for Server {
    fn schema_name() -> Cow<'static, str> {
        "DnsServer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["10.0.0.10", "127.0.0.1:5353", "[::1]:53"] })
    }
}
