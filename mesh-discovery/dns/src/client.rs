//! Asking real servers, by hickory.

use crate::{
    DnsSettings,
    resolve::{Ask, Kind, Question, Record, Reply, Service},
};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use std::{net::IpAddr, time::Duration};

/// A resolver without a cache: the time to ask again is decided elsewhere.
pub(crate) struct Client {
    resolver: TokioResolver,
    search: Vec<Name>,
    dots: usize,
}

impl Client {
    /// Reads the configuration of the system, unless the settings name a server.
    pub(crate) fn new(settings: &DnsSettings) -> Result<Self, String> {
        let (config, mut options) = match settings.server {
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let mut options = ResolverOpts::default();
                options.use_hosts_file = ResolveHosts::Never;
                (ResolverConfig::from_name_servers(vec![server]), options)
            }
            None => read_system_conf().map_err(|error| format!("the system's configuration: {error}"))?,
        };
        options.cache_size = 0;
        options.timeout = settings.timeout;
        let search = match (config.search(), config.domain()) {
            ([], domain) => domain.into_iter().cloned().collect(),
            (search, _) => search.to_vec(),
        };
        let dots = options.ndots;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, search, dots })
    }

    /// The complete names that a name may stand for, in the order of resolv.conf(5).
    fn candidates(&self, name: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_utf8(name).map_err(|error| format!("`{name}` is not a name: {error}"))?;
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() || self.search.is_empty() {
            return Ok(vec![whole]);
        }
        let mut candidates: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        // one dot less than labels
        let first = usize::from(name.num_labels()) > self.dots;
        candidates.insert(if first { 0 } else { candidates.len() }, whole);
        Ok(candidates)
    }
}

impl Ask for Client {
    async fn ask(&self, Question { name, kind }: Question) -> Reply {
        let candidates = match self.candidates(&name) {
            Ok(candidates) => candidates,
            Err(error) => return Reply::Failed(error),
        };
        let record = match kind {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Srv => RecordType::SRV,
        };
        // hickory would take a failure for a reason to go on with the search, too, and so end with "no such name"
        let mut missing = Reply::Missing { ttl: None };
        for candidate in candidates {
            let reply = match self.resolver.lookup(candidate, record).await {
                Ok(lookup) => found(&lookup, kind),
                Err(error) => not_found(error),
            };
            match reply {
                Reply::Missing { .. } => missing = reply,
                reply => return reply,
            }
        }
        missing
    }
}

fn found(lookup: &Lookup, kind: Kind) -> Reply {
    // aliases on the way count: the shortest of them ends the answer
    let ttl = lookup.answers().iter().map(|record| record.ttl).min();
    let ttl = ttl.map(|seconds| Duration::from_secs(seconds.into()));
    let records = lookup.answers().iter().filter_map(|record| match (&record.data, kind) {
        (RData::A(ip), Kind::A) => Some(Record::Address(IpAddr::V4(ip.0))),
        (RData::AAAA(ip), Kind::Aaaa) => Some(Record::Address(IpAddr::V6(ip.0))),
        (RData::SRV(service), Kind::Srv) => Some(Record::Service(Service {
            priority: service.priority,
            weight: service.weight,
            port: service.port,
            target: service.target.to_string(),
        })),
        _ => None,
    });
    let records: Vec<Record> = records.collect();
    match ttl {
        Some(ttl) if !records.is_empty() => Reply::Found { records, ttl },
        ttl => Reply::Missing { ttl },
    }
}

fn not_found(error: NetError) -> Reply {
    match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            // a server that only knows whom else to ask does not know
            ResponseCode::NoError if none.ns.is_some() && none.soa.is_none() => {
                Reply::Failed("the server refers to others; it has to ask them itself".into())
            }
            ResponseCode::NXDomain | ResponseCode::NoError => {
                Reply::Missing { ttl: none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into())) }
            }
            code => Reply::Failed(code.to_string()),
        },
        _ => Reply::Failed(error.to_string()),
    }
}

/// Whether this can be a name at all; if not, why.
#[cfg(feature = "config")]
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match Name::from_utf8(name) {
        _ if name.is_empty() || name == "." => Err("expected a name, found none".into()),
        _ if name.parse::<IpAddr>().is_ok() => Err(format!("`{name}` is an address and needs no DNS")),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{name}` is not a name: {error}")),
    }
}
