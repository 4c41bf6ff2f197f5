//! From a query to endpoints: which questions it takes, and what the replies come to. Whoever asks them is a parameter.

use crate::{DnsQuery, DnsSettings, Family};
use futures_util::future::join_all;
use mesh_core::Target;
use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// So many targets of a service are asked for at a time.
const AT_A_TIME: usize = 16;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Srv,
}

/// One question to the servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Address(IpAddr),
    Service(Service),
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    /// Complete, with a dot at its end.
    pub(crate) target: String,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// At least one record, good for so long.
    Found { records: Vec<Record>, ttl: Duration },
    /// There is no such name, or it has no such record. Good for so long, where the answer says it.
    Missing { ttl: Option<Duration> },
    /// Nobody knows: no answer, or that of a server in trouble.
    Failed(String),
}

/// Asks servers.
pub(crate) trait Ask: Send + Sync {
    fn ask(&self, question: Question) -> impl Future<Output = Reply> + Send;
}

/// What became of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Endpoints, in the order of their addresses. Where a part of it could not be asked, what was known of that part
    /// is among them.
    Found { targets: Vec<Target>, ttl: Duration, failure: Option<String> },
    /// There are none.
    Missing { ttl: Option<Duration> },
    /// Nobody knows.
    Failed(String),
}

/// The last good answer to each question of a query: a failure of one of them is no change.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: HashMap<Question, Vec<Record>>,
}

/// The replies of one round.
#[derive(Default)]
struct Round {
    known: HashMap<Question, Vec<Record>>,
    ttl: Option<Duration>,
    missing: Option<Duration>,
    answered: bool,
    failure: Option<String>,
}

impl Memory {
    /// Asks all that the query takes.
    pub(crate) async fn resolve(&mut self, settings: &DnsSettings, ask: &impl Ask) -> Outcome {
        let mut round = Round::default();
        let mut found = BTreeMap::<SocketAddr, u32>::new();
        match &settings.query {
            DnsQuery::Host { name, port } => {
                let replies = self.ask_addresses(name, settings.family, ask).await;
                round.take(replies, self);
                found.extend(round.addresses(name, settings.family).map(|ip| (SocketAddr::new(ip, *port), 1)));
            }
            DnsQuery::Srv { name } => {
                let question = Question { name: name.clone(), kind: Kind::Srv };
                round.take([(question.clone(), ask.ask(question.clone()).await)], self);
                let services = preferred(round.known.get(&question));
                for some in services.chunks(AT_A_TIME) {
                    let asked =
                        some.iter().map(|(service, _)| self.ask_addresses(&service.target, settings.family, ask));
                    for replies in join_all(asked).await {
                        round.take(replies, self);
                    }
                }
                for (Service { target, port, .. }, weight) in &services {
                    for ip in round.addresses(target, settings.family) {
                        // two targets at one place are one endpoint with the share of both
                        let sum = found.entry(SocketAddr::new(ip, *port)).or_default();
                        *sum = sum.saturating_add(*weight);
                    }
                }
            }
        }
        let targets = found.into_iter().map(|(address, weight)| Target::new(address).with_weight(weight)).collect();
        // what was not asked any more is forgotten
        self.known = std::mem::take(&mut round.known);
        round.outcome(targets)
    }

    /// The addresses of a name, as far as the family needs them.
    async fn ask_addresses(&self, name: &str, family: Family, ask: &impl Ask) -> Vec<(Question, Reply)> {
        let of = async |kind: Kind| {
            let question = Question { name: name.to_owned(), kind };
            let reply = ask.ask(question.clone()).await;
            (question, reply)
        };
        match family {
            Family::Ip4 => vec![of(Kind::A).await],
            Family::Ip6 => vec![of(Kind::Aaaa).await],
            Family::Both => join_all([of(Kind::A), of(Kind::Aaaa)]).await,
            Family::PreferIp4 => {
                let first = of(Kind::A).await;
                let has = match &first.1 {
                    Reply::Found { .. } => true,
                    Reply::Missing { .. } => false,
                    Reply::Failed(_) => self.known.get(&first.0).is_some_and(|known| !known.is_empty()),
                };
                if has { vec![first] } else { vec![first, of(Kind::Aaaa).await] }
            }
        }
    }
}

impl Round {
    fn take(&mut self, replies: impl IntoIterator<Item = (Question, Reply)>, before: &Memory) {
        let shorter = |a: Option<Duration>, b: Duration| Some(a.map_or(b, |a| a.min(b)));
        for (question, reply) in replies {
            match reply {
                Reply::Found { records, ttl } => {
                    self.answered = true;
                    self.ttl = shorter(self.ttl, ttl);
                    self.known.insert(question, records);
                }
                Reply::Missing { ttl } => {
                    self.answered = true;
                    self.missing = ttl.map_or(self.missing, |ttl| shorter(self.missing, ttl));
                    self.known.insert(question, Vec::new());
                }
                Reply::Failed(failure) => {
                    if let Some(known) = before.known.get(&question) {
                        self.known.insert(question, known.clone());
                    }
                    self.failure.get_or_insert(failure);
                }
            }
        }
    }

    fn addresses(&self, name: &str, family: Family) -> impl Iterator<Item = IpAddr> {
        let of = |kind| self.known.get(&Question { name: name.to_owned(), kind }).map_or(&[][..], Vec::as_slice);
        let (ip4, ip6) = (of(Kind::A), of(Kind::Aaaa));
        let (ip4, ip6) = match family {
            Family::PreferIp4 if !ip4.is_empty() => (ip4, &[][..]),
            _ => (ip4, ip6),
        };
        ip4.iter().chain(ip6).filter_map(|record| match record {
            Record::Address(ip) => Some(*ip),
            Record::Service(_) => None,
        })
    }

    fn outcome(self, targets: Vec<Target>) -> Outcome {
        match self.failure {
            Some(failure) if !self.answered || targets.is_empty() => Outcome::Failed(failure),
            failure if !targets.is_empty() => Outcome::Found { targets, ttl: self.ttl.unwrap_or_default(), failure },
            _ => Outcome::Missing { ttl: self.missing.or(self.ttl) },
        }
    }
}

/// The services of the lowest priority, and the weight of each. RFC 2782: weight 0 has "a very small chance" beside
/// others, so those get a hundredth of weight 1; where all are 0 they share alike.
fn preferred(records: Option<&Vec<Record>>) -> Vec<(Service, u32)> {
    let services = records.into_iter().flatten().filter_map(|record| match record {
        // a dot alone: the service is decidedly not available there
        Record::Service(service) if service.target != "." => Some(service.clone()),
        _ => None,
    });
    let mut services: Vec<Service> = services.collect();
    let lowest = services.iter().map(|service| service.priority).min();
    services.retain(|service| Some(service.priority) == lowest);
    let zero = services.iter().any(|service| service.weight == 0);
    let scale = if zero && services.iter().any(|service| service.weight != 0) { 100 } else { 1 };
    let weighted = services.into_iter().map(|service| {
        let weight = (u32::from(service.weight) * scale).max(1);
        (service, weight)
    });
    weighted.collect()
}
