use std::{net::SocketAddr, time::Duration};

/// The settings of a [`Dns`](crate::Dns) source.
///
/// In a spec (feature `config`) a mapping with `name` and `port` or with `srv`, and `server`, `family`, `min_ttl`,
/// `max_ttl`, `grace`, `timeout`; or, as a shorthand, `NAME:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// What is asked for.
    pub query: DnsQuery,
    /// The server that is asked, and no other; names are then complete. Default: those of the system
    /// (`/etc/resolv.conf`), with its search list and its hosts file.
    pub server: Option<SocketAddr>,
    /// Which addresses of a name are endpoints. Default: [`Family::PreferIp4`].
    pub family: Family,
    /// An answer is good for so long even where its TTL is shorter. Default 1 s, at least 10 ms.
    pub min_ttl: Duration,
    /// An answer is good for so long even where its TTL is longer. Default 5 min, at least `min_ttl`.
    pub max_ttl: Duration,
    /// Endpoints that were there stay for so long after the name has begun to have none. Default 30 s; zero drops them
    /// with the first such answer.
    pub grace: Duration,
    /// How long a server may take to answer; it is asked twice. Default 2 s, at least 10 ms.
    pub timeout: Duration,
}

/// What a source asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsQuery {
    /// The addresses of a name (A and AAAA records), each with this port.
    Host {
        /// The name: `orders.default.svc`.
        name: String,
        /// The port that the endpoints listen at.
        port: u16,
    },
    /// The targets of a service (SRV records), which say ports and weights themselves.
    Srv {
        /// The name of the service: `_grpc._tcp.orders.default.svc`.
        name: String,
    },
}

/// Which addresses of a name are endpoints. A host that has both kinds listens at both, as a rule, so to take both
/// counts it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"), schemars(rename = "DnsFamily"))]
pub enum Family {
    /// IPv4 addresses (A), or of a name that has none its IPv6 addresses (AAAA).
    #[default]
    PreferIp4,
    /// IPv4 addresses only.
    Ip4,
    /// IPv6 addresses only.
    Ip6,
    /// All.
    Both,
}

impl DnsSettings {
    /// These defaults for a query.
    pub const fn new(query: DnsQuery) -> Self {
        Self {
            query,
            server: None,
            family: Family::PreferIp4,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            grace: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
        }
    }

    /// The addresses of `name`, each with `port`.
    pub fn host(name: impl Into<String>, port: u16) -> Self {
        Self::new(DnsQuery::Host { name: name.into(), port })
    }

    /// The targets of the service `name`.
    pub fn srv(name: impl Into<String>) -> Self {
        Self::new(DnsQuery::Srv { name: name.into() })
    }

    pub(crate) fn name(&self) -> &str {
        match &self.query {
            DnsQuery::Host { name, .. } | DnsQuery::Srv { name } => name,
        }
    }
}
